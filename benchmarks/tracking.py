"""Measure how faces keep their ids: HOTA, IDF1, switches and false tracks on composed scenes and on clips.

Usage: python benchmarks/tracking.py --clips CLIPS --photos MASKS --scenes SCENES --yunet YUNET.onnx
    [--part report] [--scenes-each 4] [--seed 0] [--only KIND ...] [--out tracking]

MASKS: a folder with the folders with_mask and without_mask of portraits. SCENES: pictures, and boxes.csv that marks
those without people. Every scene is analysed twice: with the detector and the landmark network as users have them, and
with the true boxes of all faces that can be seen in place of both, so that what is left is the tracker's own. Half of
the people and four fifths of the grounds (`--part choose`) are for choosing settings, the others are reported on.

A face counts while at least 40 % of it can be seen; what is found of one that is hidden further is neither right nor
wrong. Somebody who was away for longer than `max_age` of the tracker is somebody else. Figures by TrackEval; in clips
the truth is what YuNet finds, under one id a person and shot.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import report
from acting import FPS, Box, Moment, Person, Reference, Seen, clips_of, from_clip, from_photo, grounds_of
from numpy.typing import NDArray
from scripts import SCRIPTS, Cast, played

from streamer.build import build_stages
from streamer.config import Config
from streamer.faces.boxes import iou
from streamer.faces.track import Tracker, TrackerSettings, assign
from streamer.sources import open_source
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Frame

with contextlib.redirect_stdout(io.StringIO()):  # it tells of data sets whose libraries are not installed
    from trackeval.metrics import CLEAR, HOTA, Identity

COUNTS = 0.4  # share of a face that must be seen
MATCH = 0.5  # overlap from which on an answer is a face
AWAY = TrackerSettings().max_age - DetectionSettings().interval  # the last search before may lie that far back
FILM_CUTS = {"short_hamilton_clip": (20, 82, 211)}  # frames of clips at which another shot begins
MOST = 250  # frames of a clip


class TrueBoxes:
    """Be a detector that is told what is there."""

    def __init__(self) -> None:
        self.faces: dict[str, Seen] = {}

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        boxes = [one.box for one in self.faces.values() if one.share >= COUNTS]
        found = np.stack(boxes) if boxes else np.zeros((0, 4), np.float32)
        return [Detections(found, np.full(len(found), 0.9, np.float32)) for _ in images]

    def close(self) -> None:
        pass


@dataclass
class Tally:
    """Hold what was shown of a video beside the truth, frame by frame."""

    truth: list[dict[str, Seen]] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    tracked: float = 0.0  # seconds of the processor

    def add(self, faces: dict[str, Seen], ids: Sequence[int], boxes: Sequence[Box]) -> None:
        self.truth.append(faces)
        self.ids.append(list(ids))
        self.boxes.append(np.stack(boxes) if len(boxes) else np.zeros((0, 4), np.float32))


class Timed(Tracker):
    """Note how long a tracker takes."""

    spent = 0.0

    def follow(self, frame: Frame, detections: Detections | None) -> Detections:
        started = time.thread_time()
        left = super().follow(frame, detections)
        Timed.spent += time.thread_time() - started
        return left

    def start(self, *arguments: Any) -> NDArray[np.int64]:
        started = time.thread_time()
        ids = super().start(*arguments)
        Timed.spent += time.thread_time() - started
        return ids


def analysed(moments: Iterable[Moment], perceive: Perceiver, told: TrueBoxes | None, fps: float = FPS) -> Tally:
    """Run the perceive stage over a video."""
    tally, Timed.spent = Tally(), 0.0
    for index, (picture, faces) in enumerate(moments):
        if told:
            told.faces = faces
        [result] = perceive([Frame(picture, "scene", index, index / fps, 0.0)])
        tally.add(faces, [face.track_id for face in result.faces], [face.box for face in result.faces])
    perceive.forget("scene")
    tally.tracked = Timed.spent
    return tally


def named(truth: Sequence[dict[str, Seen]], fps: float) -> list[dict[str, tuple[str, Seen]]]:
    """Give whoever was away for longer than AWAY another name afterwards."""
    last: dict[str, int] = {}
    parts: Counter[str] = Counter()
    out = []
    for index, faces in enumerate(truth):
        for name, one in faces.items():
            if one.share >= COUNTS:
                parts[name] += index - last.get(name, index) > AWAY * fps
                last[name] = index
        out.append({name: (f"{name}#{parts[name]}", one) for name, one in faces.items()})
    return out


def sequence(tally: Tally, fps: float) -> dict[str, Any]:
    """Return a video as TrackEval takes it: without answers that are best explained by a face that does not count."""
    names: dict[str, int] = {}
    numbers: dict[int, int] = {}
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for faces, ids, boxes in zip(named(tally.truth, fps), tally.ids, tally.boxes, strict=True):
        counted = [(name, one.box) for name, one in faces.values() if one.share >= COUNTS]
        others = [one.box for _, one in faces.values() if one.share < COUNTS]
        kept = ~_ignored(boxes, [box for _, box in counted], others)
        true = np.stack([box for _, box in counted]) if counted else np.zeros((0, 4), np.float32)
        data["gt_ids"].append(np.array([names.setdefault(name, len(names)) for name, _ in counted], int))
        own = [number for number, keep in zip(ids, kept, strict=True) if keep]
        data["tracker_ids"].append(np.array([numbers.setdefault(number, len(numbers)) for number in own], int))
        data["similarity_scores"].append(iou(true, boxes[kept]))
    totals = {"num_timesteps": len(tally.ids), "num_gt_ids": len(names), "num_tracker_ids": len(numbers)}
    totals |= {f"num_{key}_dets": sum(map(len, data[f"{key}_ids"])) for key in ("gt", "tracker")}
    return data | totals


def _ignored(boxes: NDArray[np.float32], counted: Sequence[Box], others: Sequence[Box]) -> NDArray[np.bool_]:
    ignored = np.zeros(len(boxes), bool)
    if len(boxes) and len(others):
        overlap = iou(np.stack([*counted, *others]), boxes)
        rows, columns = assign(np.where(overlap >= 0.3, overlap, 0))
        ignored[columns[rows >= len(counted)]] = True
    return ignored


def false_tracks(tally: Tally) -> int:
    """Count ids of which less than half lies on a face."""
    shown: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for faces, ids, boxes in zip(tally.truth, tally.ids, tally.boxes, strict=True):
        true = np.stack([one.box for one in faces.values()]) if faces else np.zeros((0, 4), np.float32)
        best = iou(true, boxes).max(axis=0, initial=0)
        shown.update(ids)
        right.update(number for number, overlap in zip(ids, best, strict=True) if overlap >= 0.3)
    return sum(right[number] < count / 2 for number, count in shown.items())


def crossing_ids(tally: Tally) -> int:
    """Count ids that lie on faces of two shots."""
    shots: dict[int, set[str]] = defaultdict(set)
    for faces, ids, boxes in zip(tally.truth, tally.ids, tally.boxes, strict=True):
        counted = [(name.split("/")[0], one.box) for name, one in faces.items() if "/" in name and one.share >= COUNTS]
        if counted and len(ids):
            overlap = iou(np.stack([box for _, box in counted]), boxes)
            for column, number in enumerate(ids):
                if overlap[:, column].max() >= MATCH:
                    shots[number].add(counted[int(overlap[:, column].argmax())][0])
    return sum(len(own) > 1 for own in shots.values())


def figures(tallies: Sequence[Tally], fps: Sequence[float]) -> dict[str, Any]:
    """Return the figures of several videos together."""
    sequences = [sequence(one, rate) for one, rate in zip(tallies, fps, strict=True)]
    quiet = {"PRINT_CONFIG": False}
    found: dict[str, Any] = {}
    for metric in (HOTA(), Identity(quiet | {"THRESHOLD": MATCH}), CLEAR(quiet | {"THRESHOLD": MATCH})):
        each = {str(number): metric.eval_sequence(one) for number, one in enumerate(sequences)}
        found |= metric.combine_sequences(each)
    frames = sum(len(one.ids) for one in tallies)
    minutes = sum(len(one.ids) / rate / 60 for one, rate in zip(tallies, fps, strict=True))
    return {
        "frames": frames,
        "people": sum(one["num_gt_ids"] for one in sequences),
        "HOTA": float(np.mean(found["HOTA"])),
        "IDF1": float(found["IDF1"]),
        "recall": float(found["CLR_Re"]),
        "precision": float(found["CLR_Pr"]),
        "switches": int(found["IDSW"]),
        "ids over shots": sum(map(crossing_ids, tallies)),
        "false tracks a minute": sum(map(false_tracks, tallies)) / minutes,
        "ms": 1000 * sum(one.tracked for one in tallies) / frames,
    }


def followed(clip: Path, reference: Reference) -> Iterator[Moment]:
    """Yield the frames of a clip with what the reference finds, by 'shot/person': who is nearest to whom before."""
    video = open_source(str(clip)).frames(threading.Event(), lambda *_: None)
    shot, people, last = 0, 0, {}
    for frame in video:
        if frame.index >= MOST:
            return
        if frame.index in FILM_CUTS.get(clip.stem, ()):
            shot, last = shot + 1, {}
        found = reference.all(np.asarray(frame.image, np.uint8))
        names = list(last)
        rows, columns = (
            assign(iou(np.stack([last[name] for name in names]), found)) if names and len(found) else ([], [])
        )
        faces = {names[row]: found[column] for row, column in zip(rows, columns, strict=True)}
        for column in set(range(len(found))) - set(columns):
            people += 1
            faces[f"{shot}/{people}"] = found[column]
        last = last | faces
        yield np.asarray(frame.image, np.uint8), {name: Seen(box, 1.0) for name, box in faces.items()}


def shown(what: str, ours: dict[str, Any], told: dict[str, Any] | None) -> dict[str, Any]:
    """Return a line of the table."""
    rounded = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in ours.items() if key != "ms"
    }
    row: dict[str, Any] = {"what": what, **rounded, "tracker, ms a frame": round(ours["ms"], 2)}
    for key in ("IDF1", "switches", "ids over shots"):
        row[f"{key}, true boxes"] = "" if told is None else round(told[key], 3)
    return row


def cast_of(options: argparse.Namespace, reference: Reference, random: np.random.Generator) -> Cast:
    """Cut out the people of a part: every second one."""
    first = int(options.part == "report")

    def photos(folder: str) -> list[Person]:
        files = sorted((options.photos / folder).iterdir())[first::2]
        return [person for file in files if (person := from_photo(file, reference))]

    clips = [path for path in clips_of(options.clips) if path.suffix == ".mp4"][first::2]
    moving = [person for path in clips if (person := from_clip(path, reference))]
    grounds = grounds_of(options.scenes, options.part == "report", 40, random)
    return Cast(moving, photos("without_mask"), photos("with_mask"), grounds)


class Analysts:
    """Hold the two perceive stages that everything is analysed with."""

    def __init__(self) -> None:
        self.stages = build_stages(Config())
        self.stages.perceive._new_tracker = partial(Timed, Config().tracker)
        self.told = TrueBoxes()
        self.knows = Perceiver(self.told, Timed, DetectionSettings())

    def ours(self, moments: Iterable[Moment], fps: float = FPS) -> Tally:
        return analysed(moments, self.stages.perceive, None, fps)

    def true_boxes(self, moments: Iterable[Moment], fps: float = FPS) -> Tally:
        return analysed(moments, self.knows, self.told, fps)


def composed(cast: Cast, kinds: Sequence[str], count: int, seed: int, analysts: Analysts) -> list[dict[str, Any]]:
    """Return the lines of composed scenes by kind, and of all together."""
    everything: tuple[list[Tally], list[Tally]] = ([], [])
    rows = []
    for kind in kinds:
        own: tuple[list[Tally], list[Tally]] = ([], [])
        for scene in played(cast, kind, count, seed):
            moments = [scene.at(index) for index in range(scene.frames)]
            own[0].append(analysts.ours(moments))
            own[1].append(analysts.true_boxes(moments))
        rows.append(shown(kind, *(figures(part, [FPS] * len(part)) for part in own)))
        print(rows[-1], flush=True)
        for all_of, part in zip(everything, own, strict=True):
            all_of.extend(part)
    return [*rows, shown("all composed scenes", *(figures(part, [FPS] * len(part)) for part in everything))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("clips", "photos", "scenes", "yunet"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--part", choices=("choose", "report"), default="report")
    parser.add_argument("--scenes-each", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=(*SCRIPTS, "clips"), default=[*SCRIPTS, "clips"])
    parser.add_argument("--out", default="tracking")
    options = parser.parse_args()
    reference = Reference(options.yunet)
    analysts = Analysts()
    kinds = [kind for kind in options.only if kind != "clips"]
    rows = []
    if kinds:
        cast = cast_of(options, reference, np.random.default_rng(options.seed))
        rows += composed(cast, kinds, options.scenes_each, options.seed, analysts)
    if "clips" in options.only:
        tallies, rates = [], []
        for clip in clips_of(options.clips):
            rates.append(open_source(str(clip)).fps or FPS)
            tallies.append(analysts.ours(followed(clip, reference), rates[-1]))
            rows.append(shown(f"clip {clip.stem}", figures(tallies[-1:], rates[-1:]), None))
        rows.append(shown("all clips", figures(tallies, rates), None))
    analysts.stages.close()
    notes = f"Part `{options.part}`. What is missing between IDF1 and IDF1 by true boxes is the detector's."
    report.write(options.out, "Tracks", rows, notes)


if __name__ == "__main__":
    main()
