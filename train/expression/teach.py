"""Distillation (Hinton et al. 2015): targets that mix the taggers' votes with what trained networks see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines import BACKENDS, load_engine
from engines.errors import UserError
from train.checkpoint import classes_of, load
from train.data import FaceSet
from train.expression.batches.cutting import as_seen
from train.expression.config import TrainConfig
from train.expression.predict import predict
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
    return lambda images: predict(network, images, device, config.precision).softmax(1).numpy()


def _mean_answer(teacher: Answer, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    views = (shifted(side, *shift) for shift in SHIFTS for side in (images, images[:, :, ::-1]))
    return np.asarray(sum(teacher(view) for view in views) / (2 * len(SHIFTS)), np.float32)


def shifted(pictures: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    """Move (N, H, W, C) pictures by at most two pixels; their edges are repeated."""
    height, width = pictures.shape[1:3]
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    return padded[:, 2 - down : 2 - down + height, 2 - right : 2 - right + width]
