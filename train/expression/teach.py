"""Distillation (Hinton et al. 2015): targets that mix the taggers' votes with what trained networks see."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines import BACKENDS, load_engine
from engines.errors import UserError
from engines.manifest import sha256_of
from train.checkpoint import classes_of, load
from train.data import FaceSet
from train.expression.batches.cutting import as_seen
from train.expression.batches.joint import Lesson
from train.expression.batches.parts import training_parts
from train.expression.batches.rows import digests
from train.expression.config import TrainConfig
from train.expression.predict import predict
from train.expression.scores import limited
from train.expression.start import restore

SHIFTS = ((0, 0), (0, 2), (0, -2), (2, 0), (-2, 0))  # pixels

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def taught(rows: FaceSet, config: TrainConfig, device: torch.device) -> FaceSet:
    """Move the distribution of each row towards the mean answer of the teachers, by `teacher.share`.

    A teacher is a checkpoint of the network's own architecture, or an exported file of any. Each sees a picture, as
    this network sees it, and its mirror image in five places.
    """
    if config.teacher is None:
        return rows
    images, threads = as_seen(rows, config.input).images, torch.get_num_threads()
    teachers = [_teacher(weights, rows, config, device) for weights in config.teacher.weights]
    answers = np.mean([_mean_answer(teacher, images) for teacher in teachers], axis=0)
    torch.set_num_threads(threads)  # which a `.pt2` set for itself
    mixed = (1 - config.teacher.share) * rows.distribution + config.teacher.share * answers
    return replace(rows, distribution=mixed.astype(np.float32))


def taught_sets(lesson: Lesson, config: TrainConfig) -> Lesson:
    """Mix the teachers' answers into the targets of several sets, by `teacher.share`; faces without labels have these.

    A teacher is an exported file, whose spec says for which prior it answers: its answers are brought to the prior of
    each set, and to the labels of that, as the loss brings the network's own. It sees pictures cut to its own size. The
    answers are kept in `data.cache`.
    """
    if config.teacher is None:
        return lesson
    answers = np.mean([_known(weights, lesson, config) for weights in config.teacher.weights], axis=0)
    moved = torch.log(torch.from_numpy(np.maximum(answers, 1e-12))) + lesson.added[lesson.groups]
    own, said = lesson.rows.distribution, moved.softmax(dim=1).numpy()
    share = np.where(own.any(axis=1, keepdims=True), config.teacher.share, 1.0)
    mixed = np.asarray((1 - share) * own + share * said, np.float32)
    return replace(lesson, rows=replace(lesson.rows, distribution=mixed))


def _known(weights: Path, lesson: Lesson, config: TrainConfig) -> NDArray[np.float32]:
    """Return a teacher's answers for the prior of the lesson, from the cache where they were asked for before."""
    rows = hashlib.blake2b(b"".join(digests(lesson.rows)), digest_size=8).hexdigest()
    file = config.data.cache / f"taught-{sha256_of(weights)[:16]}-{rows}.npy"
    if file.is_file():
        answers: NDArray[np.float32] = np.load(file, allow_pickle=False)
    else:
        answers = _asked(weights, lesson, config)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        with unfinished.open("wb") as content:
            np.save(content, answers)
        unfinished.replace(file)
    return answers


def _asked(weights: Path, lesson: Lesson, config: TrainConfig) -> NDArray[np.float32]:
    engine = load_engine(weights, "expression", precision="f32")
    try:
        spec, classes = engine.spec, lesson.rows.classes
        if not spec.prior or set(spec.labels) != set(classes):
            raise UserError(
                f"{weights}: expected a teacher of {classes} that says for which prior it answers, found one of "
                f"{spec.labels}{'' if spec.prior else ' that does not'}"
            )
        assert spec.height
        seen = config.input.model_copy(update={"size": spec.height, "width": spec.width, "channels": spec.channels})
        parts = training_parts(config.model_copy(update={"input": seen}), larger=0.0)
        images = np.concatenate([cut for part in parts for cut in part.cuts])
        answers = limited(
            _mean_answer(lambda views: engine.infer(views)["probabilities"], images), spec.labels, classes
        )
    finally:
        engine.close()
    moved = answers * np.array([lesson.prior[name] / spec.prior[name] for name in classes], np.float32)
    return np.asarray(moved / moved.sum(axis=1, keepdims=True), np.float32)


def _teacher(weights: Path, rows: FaceSet, config: TrainConfig, device: torch.device) -> Answer:
    if weights.suffix in BACKENDS:
        engine = load_engine(weights, "expression", precision="f32")  # the same targets on every machine
        if engine.spec.labels != tuple(rows.classes):
            raise UserError(f"{weights}: expected a teacher of {tuple(rows.classes)}, found {engine.spec.labels}")
        return lambda images: engine.infer(images)["probabilities"]
    saved = load(weights)
    if (found := classes_of(saved)) != tuple(rows.classes):
        raise UserError(f"{weights}: expected a teacher of {tuple(rows.classes)}, found {found}")
    network = restore(weights, saved, config).to(device)
    return lambda images: predict(network, images, device, "f32").softmax(1).numpy()


def _mean_answer(teacher: Answer, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    views = (shifted(side, *shift) for shift in SHIFTS for side in (images, images[:, :, ::-1]))
    return np.asarray(sum(teacher(view) for view in views) / (2 * len(SHIFTS)), np.float32)


def shifted(pictures: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    """Move (N, H, W, C) pictures by at most two pixels; their edges are repeated."""
    height, width = pictures.shape[1:3]
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    return padded[:, 2 - down : 2 - down + height, 2 - right : 2 - right + width]
