"""What occluders cost and what routing saves, with networks that see one bright part only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Crop, EngineSpec, Outputs
from engines.fake import FakeEngine
from streamer.faces.landmarks import ZooLandmarker
from streamer.faces.regions import REGIONS
from tests.make import points_of_face
from train.analysis import occlusion
from train.analysis.occlusion import Pair, pairs
from train.data import EMOTIONS, FaceSet, labelled
from train.expression.classifier import Classifier
from train.expression.config import Data, Input

SIZE = 48
POINTS = points_of_face(0.7 * SIZE, 0.15 * SIZE, 0.2 * SIZE)


def rows(count: int = 24) -> FaceSet:
    """Return flat faces whose eyes are bright where the label is 1 and dark where it is 0."""
    labels = np.arange(count) % 2
    images = np.full((count, SIZE, SIZE, 1), 120, np.uint8)
    top, bottom = (int(edge(POINTS[36:48, 1])) for edge in (np.min, np.max))
    images[:, top : bottom + 1] += (100 * (labels - 0.5)[:, None, None, None]).astype(np.int8).view(np.uint8)
    return labelled(EMOTIONS, [str(i) for i in range(count)], images, labels, landmarks=np.stack([POINTS] * count))


def landmarker() -> ZooLandmarker:
    """Return one that knows the points, and calls hidden what is not as grey as the face or its eyes."""

    def look(batch: NDArray[np.uint8]) -> Outputs:
        places = (POINTS - 0.5).round().astype(int)
        values = batch[:, places[:, 1], places[:, 0], 0].astype(int)
        seen = np.isin(values, [120, 70, 170]).astype(np.float32)
        shares = np.repeat((POINTS / SIZE)[None], len(batch), axis=0).astype(np.float32)
        return {"points": shares, "visibility": seen, "usable": seen.max(axis=1)}

    spec = EngineSpec(
        name="points", task="landmarks", height=SIZE, width=SIZE, channels=1, crop=Crop(),
        outputs=("points", "visibility", "usable"),
    )  # fmt: skip
    return ZooLandmarker(FakeEngine(spec, look))


def classifier(name: str, mode: str, confused_by_masks: bool = True) -> Classifier:
    """Return a network that tells bright from dark eyes, unless something lies over the mouth that it can see."""

    def infer(batch: NDArray[np.uint8]) -> Outputs:
        mouth = POINTS[REGIONS["mouth"]].mean(axis=0).round().astype(int)
        bright = batch[:, int(POINTS[36:42, 1].mean()), int(POINTS[36:42, 0].mean()), 0] > 120
        if confused_by_masks:
            bright ^= ~np.isin(batch[:, mouth[1], mouth[0], 0], [0, 120])
        found = np.full((len(batch), len(EMOTIONS)), 0.01, np.float32)
        found[np.arange(len(batch)), bright.astype(int)] = 0.93
        return {"probabilities": found}

    data = Data(set="fer", path=Path("nowhere"))
    regions = occlusion.VIEWS if mode == "mask" else ()
    return Classifier(name, EMOTIONS, infer, data, Input(size=SIZE, mode=mode, regions=regions))  # type: ignore[arg-type]


def test_routing_saves_what_an_occluder_costs() -> None:
    networks = [Pair(classifier("plain", "pad"), None), *pairs([classifier("views", "mask")])]
    found = occlusion.measure(networks, rows(), landmarker(), ["textured_mask"])
    clean = [one for one in found if one["occluder"] == "none"]
    assert [one["whole"] for one in clean] == [1.0, 1.0]
    full = {one["model"]: one for one in found if one["cover"] == 1.0}
    assert full["plain"]["whole"] < 0.2
    assert "routed" not in full["plain"]
    assert full["views"]["routed"] > 0.9
    assert full["views"]["bare"] >= full["views"]["routed"]
    assert full["views"]["regions"].get("face", 0) < 3
    assert 0.3 < full["views"]["hidden"] < 0.9


def parts() -> Classifier:
    """Return a network of the eyes alone, as they are cut out, that tells bright from dark ones."""

    def infer(batch: NDArray[np.uint8]) -> Outputs:
        shown = np.where(batch > 0, batch, np.nan).reshape(len(batch), -1)
        found = np.full((len(batch), len(EMOTIONS)), 0.01, np.float32)
        found[np.arange(len(batch)), (np.nanmean(shown, axis=1) > 120).astype(int)] = 0.93
        return {"probabilities": found}

    seen = Input(size=SIZE, region="eyes", regions=("nose_eyes", "eyes"), margin=0.1)
    return Classifier("parts", EMOTIONS, infer, Data(set="fer", path=Path("nowhere")), seen)


def test_a_network_of_parts_answers_for_one_of_whole_faces() -> None:
    judged = pairs([classifier("plain", "pad"), parts(), classifier("views", "mask")])
    assert [pair.name for pair in judged] == ["plain + parts", "plain + views"]
    found = occlusion.measure(judged, rows(), landmarker(), ["textured_mask"])
    for full in (one for one in found if one["cover"] == 1.0):
        assert full["whole"] < 0.2
        assert full["routed"] > 0.9


def test_networks_of_one_kind_stand_alone_but_parts_alone_are_refused() -> None:
    assert [pair.parts for pair in pairs([classifier("plain", "pad")])] == [None]
    views = classifier("views", "mask")
    assert pairs([views]) == [(views, views)]
    with pytest.raises(ValueError, match="expected a network of whole faces beside parts, found none"):
        pairs([parts()])


def test_faces_of_which_nothing_is_seen_are_not_answered_and_count_as_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def black(pictures: NDArray[np.uint8], *_: object) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return np.zeros_like(pictures), np.zeros((len(pictures), 68), np.float32)

    monkeypatch.setattr(occlusion, "occlude", black)
    found = occlusion.measure(pairs([classifier("views", "mask")]), rows(), landmarker(), ["hand"])
    assert {one["answered"] for one in found} == {0.0}
    assert {one["routed"] for one in found} == {0.0}
    assert found[0]["routed_answered"] is None
    assert found[0]["regions"] == {"none": 24}


def test_the_report_has_a_line_for_every_family_and_cover_and_a_plot(tmp_path: Path) -> None:
    networks, families = [classifier("plain", "pad"), classifier("views", "mask")], ["hand", "bar"]
    judged = [Pair(networks[0], None), *pairs(networks[1:])]
    results = occlusion.measure(judged, rows(), landmarker(), families)
    values = {
        "split": "public", "labels": "ferplus_seed", "rows": 24, "without_landmarks": 2, "held_out": ["hand"],
        "clean": {"plain": {"face": 1.0}, "views": {"face": 1.0, "nose_eyes": 0.99}},
        "clean_served": {"plain": {"face": 1.0}, "views": {"face": 1.0, "nose_eyes": 0.98}}, "results": results,
    }  # fmt: skip
    text = occlusion.to_markdown(values)
    assert text.count("| hand |") == text.count("| bar |") == len(occlusion.COVERS)
    assert "| none | 0.00 | 0.00 | 100.00 | 100.00 | 100.00 | 100.00 | 100.00 | 100.00 |" in text
    assert "| nose_eyes |  |  | 99.00 | 98.00 |" in text
    occlusion.draw(values, tmp_path / "occlusion.png")
    assert (tmp_path / "occlusion.png").read_bytes().startswith(b"\x89PNG")


def test_networks_of_different_labels_and_unknown_families_are_refused(tmp_path: Path) -> None:
    other = Classifier("other", EMOTIONS, classifier("a", "pad").infer, Data(set="rafdb"), Input(size=SIZE))
    with pytest.raises(ValueError, match="networks of one data set with the same labels"):
        occlusion.write([classifier("a", "pad"), other], tmp_path / "none.onnx", None, tmp_path)
    with pytest.raises(ValueError, match="unknown occluders \\['veil'\\]"):
        occlusion.write([classifier("a", "pad")], tmp_path / "none.onnx", None, tmp_path, ["veil"])
