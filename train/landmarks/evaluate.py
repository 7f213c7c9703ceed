"""Judge a landmark artefact, as it serves, on people and occluders that training never saw, beside dlib's predictor."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from engines import load_engine
from streamer.faces.boxes import iou
from streamer.faces.decode import YUNET
from streamer.faces.detect import Detector, HogDetector, YuNetDetector
from streamer.faces.landmarks import HOG_TO_FACE, DlibLandmarker, Landmarker, ZooLandmarker
from streamer.faces.regions import PARTS
from streamer.faces.roll import eye_line
from streamer.faces.visibility import WEIGHTS
from train.data.pictures import list_pictures, read_picture
from train.landmarks.batches.draw import draw
from train.landmarks.batches.faces import MIDDLE, Faces, face_boxes
from train.landmarks.batches.read import read
from train.landmarks.config import LandmarksConfig
from train.landmarks.rolled import rolled
from train.landmarks.scores import normalised_error
from train.markdown import table

log = logging.getLogger(__name__)

WRONG = 0.15  # shift and change of scale of a box, in shares of its longer side
FOUND = 0.3  # overlap of a detected box with the face's own from which it is the same face
FAILED = 0.1  # error above which a face counts as missed
SMALLEST_FACE = 30  # pixels
SEEN = 0.5  # score of a detection that counts
ROUNDS, BATCH = 60, 8
ROLLS = (15, 30, 45, 60)  # degrees
# Faces under occluders are shown in boxes that are a little wrong, without the other flaws of training pictures.
PLAIN = {
    "degrees": 5.0,
    "shift": 0.08,
    "scale": 0.1,
    "stretch": 0.0,
    "blur": 0.0,
    "small": 0.0,
    "noise": 0.0,
    "dark": 0.0,
}

Row = Mapping[str, Any]


def evaluate(path: Path, config: LandmarksConfig, out: Path | None = None) -> str:
    """Judge a model file; return the tables as Markdown, and write them with `landmarks.json` into the folder `out`."""
    engine = load_engine(path, "landmarks")
    try:
        ours = ZooLandmarker(engine)
        rivals: dict[str, Landmarker] = {"ours": ours}
        try:
            rivals["dlib"] = DlibLandmarker()
        except ModuleNotFoundError as error:
            log.info("left out: %s", error)
        detectors = _detectors(config)
        values: dict[str, Any] = {"points": _points(config, rivals, detectors)}
        values["rolled"] = _rolled(config, rivals)
        values["visibility"] = _visibility(config, ours)
        if config.media:
            values["photos"] = _photos(config.media / "photos" / "dlib", rivals, detectors)
        if config.media and "yunet" in detectors:
            values["masks"] = _masks(config.media / "masks", ours, detectors["yunet"])
        values["speed"] = {"ms_a_face": _speed(ours), "batch": BATCH, "megabytes": path.stat().st_size / 1e6}
        for detector in detectors.values():
            detector.close()
    finally:
        engine.close()
    text = to_markdown(path.name, values)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "landmarks.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        (out / "landmarks.md").write_text(text, encoding="utf-8")
    return text


def _detectors(config: LandmarksConfig) -> dict[str, Detector]:
    found: dict[str, Detector] = {"hog": HogDetector(40, SEEN)}
    if config.detector:
        engine = load_engine(config.detector, "detection", spec=YUNET, precision="f32")
        found["yunet"] = YuNetDetector(engine, SMALLEST_FACE, SEEN)
    return found


def _points(config: LandmarksConfig, rivals: Mapping[str, Landmarker], detectors: Mapping[str, Detector]) -> list[Row]:
    """Judge on the first source's test people: by boxes of the points, by these made wrong, and by detectors.

    Labels are taken with their shift taken back, as in training, and as published.
    """
    [faces] = read(config.sources[0], "test")
    [as_published] = read(config.sources[0].model_copy(update={"shift": 0.0, "bias": None}), "test")
    published = as_published.points
    images = [np.repeat(picture[..., None], 3, axis=2) for picture in faces.pictures]
    boxes: dict[str, NDArray[np.float32]] = {"of the points": faces.boxes}
    for name, wrong in _wrong(faces.boxes).items():
        boxes[name] = wrong
    for name, detector in detectors.items():
        boxes[name] = np.stack([_nearest(detector, image, box) for image, box in zip(images, faces.boxes, strict=True)])
    return [
        {"landmarks": rival, "boxes": name, **_error(landmarker, images, own, faces, published)}
        for name, own in boxes.items()
        for rival, landmarker in rivals.items()
    ]


def _rolled(config: LandmarksConfig, rivals: Mapping[str, Landmarker]) -> list[Row]:
    """Judge on the same people turned, by the boxes that a detector draws then; nobody says how far they are turned."""
    [upright] = read(config.sources[0], "test")
    found: list[Row] = []
    for degrees in ROLLS:
        faces = rolled(upright, degrees)
        images = [np.repeat(picture[..., None], 3, axis=2) for picture in faces.pictures]
        for rival, landmarker in rivals.items():
            row = {"landmarks": rival, "boxes": f"turned by {degrees}°"}
            found.append(row | _error(landmarker, images, faces.boxes, faces))
    return found


def _wrong(boxes: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return boxes that are shifted to either side, up, down, too small and too large."""
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    found = {}
    for name, x, y in (("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1)):
        found[f"15 % {name}"] = boxes + np.tile(np.array([x, y], np.float32) * WRONG * side, 2)
    for name, scale in (("small", 1 - WRONG), ("large", 1 + WRONG)):
        found[f"15 % too {name}"] = np.concatenate([centre - scale * half, centre + scale * half], axis=1)
    return found


def _nearest(detector: Detector, image: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the detected box that lies over a face, NaN where there is none."""
    found = detector.detect([image])[0].boxes
    overlap = iou(found, box[None])[:, 0]
    return found[int(overlap.argmax())] if len(found) and overlap.max() >= FOUND else np.full(4, np.nan, np.float32)


def _error(
    landmarker: Landmarker,
    images: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    faces: Faces,
    published: NDArray[np.float32] | None = None,
) -> dict[str, float]:
    """Return mean and median error, the share above 10 %, the faces that have no box, and the error as published."""
    found = np.concatenate([landmarker.locate(image, box[None]) for image, box in zip(images, boxes, strict=True)])
    if isinstance(landmarker, DlibLandmarker):
        found += MIDDLE  # it names the middles of pixels
    there = np.isfinite(found).all(axis=(1, 2))
    error = normalised_error(found[there], faces.points[there])
    return {
        "faces": len(images),
        "missed": int((~there).sum()),
        "mean": float(error.mean()),
        "median": float(np.median(error)),
        "failed": float((error > FAILED).mean()),
        "mean_as_published": float(
            normalised_error(found[there], (faces.points if published is None else published)[there]).mean()
        ),
    }


def _visibility(config: LandmarksConfig, ours: ZooLandmarker) -> list[Row]:
    """Judge hidden points and parts on people and, family by family, on occluders that training never saw."""
    sources = [read(source, "test")[0] for source in config.sources[:2]]
    config = config.model_copy(update={"changes": config.changes.model_copy(update=PLAIN)})
    rows = [(faces, number) for faces in sources for number in range(0, len(faces), 2)]
    found, pooled = [], []
    for family in dict.fromkeys((*config.changes.held_out, *config.changes.families)):
        batch = draw(rows, config, np.random.default_rng(1), families=[family] * len(rows))
        answers = ours.engine.infer(batch.images)["visibility"]
        held = family in config.changes.held_out
        if held:
            pooled.append((batch.visibility, answers))
        found.append({"occluder": family, "held out": held, "faces": len(rows), **_auroc(batch.visibility, answers)})
    clean = draw(rows, config, np.random.default_rng(1), families=[""] * len(rows))
    answers = ours.engine.infer(clean.images)["visibility"]
    truth, given = (np.concatenate(parts) for parts in zip(*pooled, (clean.visibility, answers), strict=True))
    everything = {"occluder": "all held out, and none", "held out": True, "faces": len(truth), **_auroc(truth, given)}
    return [everything, *found]


def _auroc(truth: NDArray[np.float32], given: NDArray[np.float32]) -> dict[str, float]:
    """Return the AUROC of points and of parts, None where all or nothing is hidden, and how often parts are right."""
    from sklearn.metrics import roc_auc_score

    def score(wanted: NDArray[np.bool_], answers: NDArray[np.float32]) -> Any:
        return None if wanted.all() or not wanted.any() else float(roc_auc_score(wanted, answers))

    parts, answered = truth @ WEIGHTS.T, given @ WEIGHTS.T
    values: dict[str, Any] = {"points": score(truth.ravel() >= 0.5, given.ravel())}
    for number, part in enumerate(PARTS):
        values[part] = score(parts[:, number] >= 0.5, answered[:, number])
    values["parts right"] = float(((parts >= 0.5) == (answered >= 0.5)).mean())
    return values


def _photos(folder: Path, rivals: Mapping[str, Landmarker], detectors: Mapping[str, Detector]) -> list[Row]:
    """Judge on the photos of dlib's examples, whose landmarks are its predictor's: how far we agree with it."""
    pictures, wanted, given = examples(folder)
    faces = Faces([], wanted, face_boxes(wanted), eye_line(wanted))
    boxes = {"of the points": faces.boxes, "as given": given}
    for name, detector in detectors.items():
        boxes[name] = np.stack([_nearest(detector, one, box) for one, box in zip(pictures, faces.boxes, strict=True)])
    return [
        {"landmarks": rival, "boxes": name, **_error(landmarker, pictures, own, faces)}
        for name, own in boxes.items()
        for rival, landmarker in rivals.items()
    ]


def examples(folder: Path) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32], NDArray[np.float32]]:
    """Return the faces of dlib's example photos: each one's picture, (N, 68, 2) landmarks and (N, 4) canonical boxes.

    Raises FileNotFoundError where the folder has none.
    """
    pictures, points, given = [], [], []
    for file in sorted(folder.glob("*_with_face_landmarks.xml")):
        for image in ElementTree.parse(file).getroot().iter("image"):
            picture = read_picture(folder / image.attrib["file"], colour=True)
            if picture is None:
                raise FileNotFoundError(f"{folder / image.attrib['file']}: expected the picture that {file} describes")
            for box in image.iter("box"):
                parts = [(float(part.attrib["x"]), float(part.attrib["y"])) for part in box.iter("part")]
                if len(parts) == 68:
                    left, top, width, height = (float(box.attrib[key]) for key in ("left", "top", "width", "height"))
                    centre = np.array([left + width / 2, top + height / 2]) + width * np.array(HOG_TO_FACE[:2])
                    half = width * np.array(HOG_TO_FACE[2:]) / 2
                    pictures.append(picture)
                    points.append(parts)
                    given.append(np.concatenate([centre - half, centre + half]))
    if not pictures:
        raise FileNotFoundError(
            f"{folder}: expected dlib's example photos with *_with_face_landmarks.xml, found none; is media right?"
        )
    return pictures, np.array(points, np.float32) + MIDDLE, np.array(given, np.float32)


def _masks(folder: Path, ours: ZooLandmarker, detector: Detector) -> Row:
    """Judge 'mouth visible' on the odd-numbered photos of masked and bare faces, by the largest detected face."""
    from sklearn.metrics import roc_auc_score

    scores: dict[str, list[float]] = {}
    missed = {}
    for kind in ("with_mask", "without_mask"):
        files = [file for file in list_pictures(folder / kind) if int(file.stem) % 2]
        scores[kind], missed[kind] = [], 0
        for file in files:
            picture = read_picture(file, colour=True)
            found = detector.detect([picture])[0].boxes if picture is not None else np.zeros((0, 4), np.float32)
            if picture is None or not len(found):
                missed[kind] += 1
                continue
            largest = found[int((found[:, 2:] - found[:, :2]).prod(axis=1).argmax())]
            seen = ours.look([picture], [largest[None]])[0].visibility
            assert seen is not None
            scores[kind].append(float(WEIGHTS[PARTS.index("mouth")] @ seen[0]))
    truth = [0] * len(scores["with_mask"]) + [1] * len(scores["without_mask"])
    given = scores["with_mask"] + scores["without_mask"]
    right = [score < 0.5 for score in scores["with_mask"]] + [score >= 0.5 for score in scores["without_mask"]]
    return {
        "auroc": float(roc_auc_score(truth, given)),
        "right": float(np.mean(right)),
        "faces": {kind: len(values) for kind, values in scores.items()},
        "missed": missed,
    }


def _speed(ours: ZooLandmarker) -> float:
    """Return the median milliseconds of CPU a face of whole looks, crops included, at one batch size."""
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    boxes = np.stack([np.array([60.0 * i, 100, 60.0 * i + 90, 220], np.float32) for i in range(BATCH)])
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        ours.look([image], [boxes])
        times.append(time.process_time() - started)
    return float(1e3 * np.median(times) / BATCH)


def to_markdown(name: str, values: Mapping[str, Any]) -> str:
    """Write the tables as Markdown."""
    errors = ("faces", "missed", "mean", "median", "failed", "mean_as_published")
    parts = [
        f"# {name}: landmarks and visibility",
        "Errors are mean distances in percent of that of the outer eye corners; 'failed' is the share of faces above "
        "10 %. The last column judges by the labels as published, the others take back how far these lie to the right "
        "(`shift` in the configuration, measured on people of the validation part). Boxes 'of the points' are what a "
        "detector draws in the median.",
        "## Test people of YouTube-Faces",
        _errors(values["points"], errors),
        "## The same people, turned",
        "Half of the frames to each side; the roll is not told, and the boxes are those that a detector draws in the "
        "median.",
        _errors(values["rolled"], errors[:-1]),
    ]
    if "photos" in values:
        parts += ["## dlib's example photos, whose points are its predictor's", _errors(values["photos"], errors)]
    columns = ("occluder", "held out", "faces", "points", *PARTS, "parts right")
    parts += [
        "## Visibility under occluders",
        "Test people of YouTube-Faces and LFW, in boxes shifted by up to 8 % and scaled by up to 10 %; AUROC of "
        "points, and of parts by the half of their landmarks; 'parts right' at 0.5.",
        table(columns, [tuple(_cell(row[column]) for column in columns) for row in values["visibility"]]),
    ]
    if "masks" in values:
        masks = values["masks"]
        parts += [
            "## Photos of masked and bare faces, odd half",
            f"Mouth visible: AUROC {masks['auroc']:.4f}, right at 0.5 {100 * masks['right']:.1f} %; faces "
            f"{masks['faces']}, missed by the detector {masks['missed']}.",
        ]
    speed = values["speed"]
    parts += [
        "## Cost",
        f"{speed['ms_a_face']:.3f} ms of CPU a face at batch {speed['batch']}, crops included, one thread; "
        f"{speed['megabytes']:.2f} MB.",
    ]
    return "\n\n".join([*parts, ""])


def _errors(rows: Sequence[Row], columns: Sequence[str]) -> str:
    lines = [
        (
            row["boxes"],
            row["landmarks"],
            *(str(row[key]) if key in ("faces", "missed") else f"{100 * row[key]:.2f}" for key in columns),
        )
        for row in rows
    ]
    return table(("boxes", "landmarks", *(column.replace("_", " ") for column in columns)), lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
