"""What is no number, from whichever network, ends no run: it is counted, and the face counts as not judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines import Crop, EngineSpec
from engines.fake import FakeEngine
from engines.finite import Finite
from streamer.emotions import UNCERTAIN
from streamer.explain.maps import Explainer, MapSettings
from streamer.faces.decode import YUNET
from streamer.faces.detect import YuNetDetector, ZooDetector
from streamer.faces.landmarks import ZooLandmarker
from streamer.faces.track import Tracker
from streamer.photo.attention import attend
from streamer.pipeline import Pipeline
from streamer.sinks.log import LogSink
from streamer.stages.express import Expresser
from streamer.stages.hide import Hiding
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.stages.smoothing import ExpressionSettings
from tests.conftest import LABELS, ListSource, expression_spec
from tests.make import face, points_of_face
from tests.stages.test_express import result

SIDE = 80
SICK = range(10, 15)  # the answers that are poisoned, of FRAMES
FRAMES = 30
POISONS = (np.nan, np.inf, -np.inf, 1e30)
NO_NUMBERS = (np.nan, np.inf, -np.inf)


class Sick(FakeEngine):
    """Answer well, but for some of the answers, of which one output is spoilt."""

    def __init__(self, spec, answer, output="", poison=0.0):
        super().__init__(spec, answer)
        self.output, self.poison = output, poison

    def infer(self, batch):
        outputs = super().infer(batch)
        if self.output and len(self.batch_sizes) in SICK:
            outputs[self.output][..., 0] = self.poison
        return outputs


class Still(ListSource):
    """Show the same shaded picture all the time."""

    def frames(self, stop, report):
        image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        yield from (replace(frame, image=image) for frame in super().frames(stop, report))


def find(batch):
    """Find one face in a picture."""
    count = len(batch)
    boxes = np.tile(np.float32([8, 8, 40, 40]), (count, 2, 1))
    return {
        "scores": np.tile(np.float32([0.9, 0.0]), (count, 1)),
        "boxes": boxes,
        "points": np.tile(boxes[:, :, None, :2], (1, 1, 5, 1)),
    }


def locate(batch):
    points = np.tile(points_of_face(1), (len(batch), 1, 1))
    return {
        "points": points,
        "visibility": np.ones((len(batch), 68), np.float32),
        "usable": np.ones(len(batch), np.float32),
    }


def classify(batch):
    answer = np.full(len(LABELS), 0.01, np.float32)
    answer[1] = 1 - answer[1:].sum()
    maps = np.ones((len(batch), len(LABELS), 3, 3), np.float32)
    return {"probabilities": np.tile(answer, (len(batch), 1)), "cam": maps}


def network(task, **more):
    values = {"name": task, "task": task, "height": None, "width": None, "channels": 1} | more
    return EngineSpec.model_validate(values)


def run(tmp_path, sick, poison):
    """Analyse a stream with a network whose output is spoilt; return the frames logged, what maps came, and metrics."""
    ill, _, output = sick.partition(".")

    def engine(spec, answer):
        return Sick(spec, answer, output if spec.name == ill else "", poison)

    detector = ZooDetector(
        engine(network("detection", outputs=("scores", "boxes", "points")), find), min_face=20, coarse=()
    )
    spec = network(
        "landmarks", height=SIDE, width=SIDE, crop=Crop(margin=0.15), outputs=("points", "visibility", "usable")
    )
    landmarker = ZooLandmarker(engine(spec, locate))
    expression = expression_spec(name="expression", outputs=("probabilities", "cam"))
    own = engine(expression.model_copy(update={"name": "maps"}), classify) if ill == "maps" else None
    explainer = Explainer(MapSettings(interval=0.0), own)
    express = Expresser(engine(expression, classify), ExpressionSettings(interval=0.0), explainer)
    perceive = Perceiver(detector, Tracker, DetectionSettings(interval=0.0), landmarker)
    checks = [part.finite for part in (detector, landmarker, express, explainer)]
    with (
        LogSink(tmp_path / "log.jsonl") as log,
        Pipeline([Still("a", FRAMES)], perceive, Hiding(express, "faces"), checks=checks) as results,
    ):
        heats = []
        for one in results:
            log.write(one)
            heats.append([face.heat is not None and bool(np.isfinite(face.heat.values).all()) for face in one.faces])
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    return [one["faces"] for one in records if one["type"] == "frame"], heats, results.metrics


SPOILT = (
    *("detection.scores", "detection.boxes", "landmarks.points", "landmarks.visibility", "landmarks.usable"),
    *("expression.probabilities", "expression.cam", "maps.cam"),
)


@pytest.mark.parametrize("poison", POISONS, ids=str)
@pytest.mark.parametrize("sick", SPOILT)
def test_no_answer_that_is_no_number_ends_a_run_or_stays(tmp_path: Path, sick, poison):
    frames, heats, metrics = run(tmp_path, sick, poison)
    assert len(frames) == FRAMES
    last = frames[-1]
    assert [(face["label"], face["region"]) for face in last] == [("happiness", "face")]
    assert heats[-1] == [True]
    if poison in NO_NUMBERS or not np.isfinite(poison) or sick.endswith(("boxes", "points")):
        assert metrics.value("streamer_answers_refused_total", network=sick.partition(".")[0]) >= len(SICK) - 2


@pytest.mark.parametrize("output", ["probabilities", "cam"])
def test_a_face_without_an_answer_in_numbers_counts_as_not_judged(tmp_path: Path, output):
    frames, _, metrics = run(tmp_path, f"expression.{output}", np.nan)
    shown = [[(face["label"], face["region"], face["reliability"]) for face in faces] for faces in frames]
    assert shown[8] == [("happiness", "face", None)]
    assert shown[11] == [(UNCERTAIN, "none", None)]
    assert metrics.value("streamer_answers_refused_total", network="expression") == len(SICK)
    assert metrics.value("streamer_classifications_total", stream="a") == FRAMES - len(SICK)


def test_of_a_batch_only_the_face_in_question_is_not_judged():
    def answer(batch):
        outputs = classify(batch)
        outputs["probabilities"][1] = np.nan
        return outputs

    express = Expresser(FakeEngine(expression_spec(outputs=("probabilities", "cam")), answer), ExpressionSettings())
    [done] = express([result(0.0, 1, 2, 3)])
    assert [face.expression.label for face in done.faces] == ["happiness", UNCERTAIN, "happiness"]


def test_a_yunet_that_answers_infinite_boxes_finds_the_others():
    def answer(batch):
        height, width = batch.shape[1:3]
        outputs = {}
        for stride in (8, 16, 32):
            cells = height // stride * (width // stride)
            outputs |= {
                f"{kind}_{stride}": np.zeros((len(batch), cells, size), np.float32) for kind, size in SIZES.items()
            }
        for name in ("cls_8", "obj_8"):
            outputs[name][:, :2] = 1
        outputs["bbox_8"][:, 0] = np.inf
        return outputs

    detector = YuNetDetector(FakeEngine(YUNET, answer), min_face=16, coarse=())
    [found] = detector.detect([np.zeros((64, 64, 3), np.uint8)])
    assert len(found) == 1
    assert np.isfinite(found.boxes).all()
    assert detector.finite.refused["yunet"] == 1


SIZES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_photo_whose_attention_is_no_number_goes_without(value):
    spec = expression_spec(outputs=("probabilities", "attention"), resizable=True)
    answer = {
        "probabilities": np.ones((1, len(LABELS)), np.float32),
        "attention": np.full((1, 4, 4), value, np.float32),
    }
    assert (
        attend(FakeEngine(spec, lambda batch: answer), np.zeros((96, 96, 3), np.uint8), [face((8, 8, 60, 60))]) is None
    )


def test_it_is_told_once_and_counted_every_time(caplog):
    finite = Finite()
    for _ in range(3):
        sound = finite("net", [np.float32([[1, np.nan], [1, 1]]), np.float32([1, 1])])
        assert sound.tolist() == [False, True]
    assert finite.refused == {"net": 3}
    assert len(caplog.records) == 1
