"""Fit one network: the loop reads in the order in which things happen."""

from __future__ import annotations

import copy
import logging
import math
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from engines.errors import UserError
from train import checkpoint, models, processes
from train.checkpoint import State
from train.data import FaceSet
from train.expression.batches import joint
from train.expression.batches.joint import Lesson
from train.expression.batches.rows import cut, labelled_rows, training_rows
from train.expression.batches.transforms import augment, mixup, random_affine
from train.expression.batches.views import Cover, draw_views, move, pad, show_views, zoom
from train.expression.config import Optimizer, TrainConfig
from train.expression.losses import epoch_order, loss_weights, targets
from train.models.classic import FEATURES
from train.schedule import is_best, is_over, rate

log = logging.getLogger(__name__)

Answer = Callable[[NDArray[np.uint8]], Tensor]

SETTLING = 512  # pictures that show an artefact's batch norms what flows through them


def fit(config: TrainConfig, until: int | None = None) -> Path:
    """Train from the last checkpoint, if there is one, to the end or through epoch `until`; return the checkpoint.

    Raises UserError where the checkpoint is of another run or the splits differ in their classes, RuntimeError where
    the loss is not finite and OSError where the disk is full: the last good checkpoint stays.
    """
    if config.model.name in FEATURES:
        raise UserError(f"{config.name}: '{config.model.name}' is fitted where it is judged: use `train evaluate`")
    with processes.joined() as device, ExitStack() as held:
        processes.share(config.optimizer.batch)  # before any work
        if (last := config.size_at(config.epochs - 1)) != config.input.size:
            log.warning("trained at %d pixels at last, judged and served at %d (input.size)", last, config.input.size)
        lesson = several_sets(config) if config.data.sets else None
        rows = lesson.rows if lesson else one_set(config, device)
        seen = rows if lesson else cut(rows, config, 0)
        judge = judged_by(config, rows.classes)
        state = start(config, seen, device)
        path = config.runs / config.name / "checkpoint.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.resume(path, config, rows.classes, state)
        model = processes.parallel(state.model)
        cover = Cover(config.augment.occlude, config.data, config.input) if config.input.regions else None
        if cover:
            held.callback(cover.close)
        while len(state.epochs) < min(until or config.epochs, config.epochs):
            if is_over(state.history, config.early_stop):
                break
            started = time.monotonic()
            if config.input.mode == "centre":
                seen = cut(rows, config, len(state.epochs))
            loss = train_epoch(config, state, model, seen, device, cover, lesson)
            scores = processes.shared(judge(partial(predict, state.average, device=device, precision=config.precision)))
            _note(config, state, loss, scores, time.monotonic() - started)
            checkpoint.save(path, config, rows.classes, state)
            checkpoint.report(path.with_name("epochs.jsonl"), state)
        return path


def one_set(config: TrainConfig, device: torch.device) -> FaceSet:
    """Load the training rows of one set, their targets mixed with the teachers' answers where there are some."""
    from train.expression.teach import taught

    rows, counts = training_rows(config)
    log.info("training rows: %s", ", ".join(f"{n} {what}" for what, n in counts.items()))
    return taught(rows, config, device)


def several_sets(config: TrainConfig) -> Lesson:
    """Load the training rows of several sets and put them side by side."""
    found = joint.lesson(config, joint.training_parts(config))
    log.info(
        "an epoch: %s rows of each set; it answers for the prior %s",
        found.counts,
        ", ".join(f"{name} {share:.3f}" for name, share in found.prior.items()),
    )
    return found


def judged_by(config: TrainConfig, classes: tuple[str, ...]) -> Callable[[Answer], dict[str, Any]]:
    """Load the validation rows; return what scores a function from pictures to logits on them.

    Several sets count alike, and what is best is said by macro recall.
    """
    if not config.data.sets:
        rows = labelled_rows(config.data, config.input, config.data.validation, classes, config.name)
        return lambda ask: {"validation_accuracy": round(_accuracy(ask(rows.images), rows), 5)}
    parts = joint.judged_parts(config, classes)

    def scored(ask: Answer) -> dict[str, Any]:
        sets = {part.name: part.scores(ask(part.rows.images)) for part in parts}
        accuracy, recall = (
            round(statistics.fmean(one[key] for one in sets.values()), 5) for key in ("accuracy", "macro_recall")
        )
        return {"validation_accuracy": accuracy, "macro_recall": recall, "sets": sets}

    return scored


def start(config: TrainConfig, rows: FaceSet, device: torch.device) -> State:
    """Build network, average and update rule as the seed says, the same in every process."""
    if config.freeze and not config.init:
        raise UserError(f"freeze {list(config.freeze)}: expected weights to start from (init), found none")
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(config.seed)
    model = models.build(config.model.name, len(rows.classes), config.input.channels, config.model.args)
    if config.init:
        redrawn = models.load_weights(model, config.init, config.freeze)
        log.info("starts from %s%s", config.init, f", but for {', '.join(redrawn)}" if redrawn else "")
        if config.init.suffix == ".onnx":
            models.settle(model, rows.images[:SETTLING])
    models.fit_inputs(model, rows.images)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(config.seed + processes.rank())  # from here on each process draws its own changes of the pictures
    return State(model, copy.deepcopy(model).eval(), build_optimizer(model, config.optimizer))


def train_epoch(
    config: TrainConfig,
    state: State,
    model: nn.Module,
    rows: FaceSet,
    device: torch.device,
    cover: Cover | None = None,
    lesson: Lesson | None = None,
) -> float:
    """Pass once over the rows in random order; return the mean loss.

    cover: draws occluders over the faces of a network of several regions. lesson: says how rows of several sets are
    drawn, and what is added to their logits.

    Raises RuntimeError where loss or weights are not finite.
    """
    model.train()
    models.rest_frozen(model)
    epoch, batch, size = len(state.epochs), config.optimizer.batch, config.size_at(len(state.epochs))
    wanted = targets(rows, "distribution" if lesson else config.loss, config.smoothing)
    weights = loss_weights(config, wanted)
    order = processes.shared(lesson.order() if lesson else epoch_order(wanted, config.balance)).numpy()
    steps, total = max(1, len(order) // batch), 0.0
    quiet = processes.rank() > 0 or not Console().is_terminal
    for step in track(range(steps), f"epoch {epoch + 1} of {config.epochs}", transient=True, disable=quiet):
        chosen = order[step * batch : (step + 1) * batch][processes.rank() :: processes.count()]
        groups = lesson.groups[chosen] if lesson else None
        images, target = _changed(config, rows[chosen], wanted[chosen].to(device), size, device, cover, groups)
        done = epoch * steps + step
        for group in state.optimizer.param_groups:
            group["lr"] = rate(config.optimizer, done / (config.epochs * steps), state.history)
        with autocast(device, config.precision):
            logits = model(images).logits.float()
        if lesson:
            logits = logits + lesson.added[groups].to(device)
        loss = F.cross_entropy(logits, target, None if weights is None else weights.to(device))
        value = processes.mean(loss)
        if not math.isfinite(value):
            raise RuntimeError(f"epoch {epoch + 1}, step {step}: the loss is {value}; the last good checkpoint is kept")
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        update_average(state.average, state.model, min(config.optimizer.average, (1 + done) / (10 + done)))
        total += value
    if not all(weight.isfinite().all() for weight in state.average.state_dict().values()):
        raise RuntimeError(f"epoch {epoch + 1}: weights are not finite any more; the last good checkpoint is kept")
    return total / steps


def _changed(
    config: TrainConfig,
    rows: FaceSet,
    target: Tensor,
    size: int,
    device: torch.device,
    cover: Cover | None,
    groups: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Change a batch at random; where several regions are learned, show one of each face."""
    faces = None
    if cover:
        assert rows.landmarks is not None
        faces = cover(rows.images, rows.landmarks)
    images = to_tensor(rows.images if faces is None else faces.pictures)
    images = images.to(device, memory_format=torch.channels_last)
    height, width = images.shape[2:]
    matrices = random_affine(len(images), config.augment, width / height, device)
    if faces is None:
        return mixup(augment(images, size, config.augment, matrices), target, config.augment.mixup, groups)
    views = draw_views(faces, config.input.regions)
    shape = (height, width) if config.input.mode == "pad" else (size, round(size * width / height))
    points = move(faces.points, matrices, (height, width), shape)
    if config.input.mode == "mask":
        changed = augment(images, size, config.augment, matrices)
        return show_views(changed, points, views, config.input, faces.visibility), target
    seen = zoom(points, views, matrices, shape, config.input)
    return pad(augment(images, size, config.augment, seen.matrices), seen.extent, config.input.padding), target


def predict(
    network: nn.Module, images: NDArray[np.uint8], device: torch.device, precision: str = "auto", batch: int = 128
) -> Tensor:
    """Return (N, classes) float32 logits of (N, H, W, C) pictures."""
    found = []
    with torch.inference_mode(), autocast(device, precision):
        for first in range(0, len(images), batch):
            pictures = to_tensor(images[first : first + batch]).to(device, memory_format=torch.channels_last)
            found.append(network(pictures).logits.float().cpu())
    return torch.cat(found)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Turn (N, H, W, C) uint8 into (N, C, H, W) float32 in 0-255."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Compute in bf16 where it is asked for or, under 'auto', where the processor has it; else in f32."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and has_bf16(device))
    )


def has_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies bf16 numbers itself; emulated, they are slower than f32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def build_optimizer(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Build the update rule for what is trained; biases and norms are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed, free = ([p for p in trained if (p.ndim > 1) == wanted] for wanted in (True, False))
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    rules: dict[str, Any] = {
        "sgd": lambda: torch.optim.SGD(groups, lr=settings.rate),
        "momentum": lambda: torch.optim.SGD(groups, lr=settings.rate, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.AdamW(groups, lr=settings.rate),
        "rmsprop": lambda: torch.optim.RMSprop(groups, lr=settings.rate),
    }
    optimizer: torch.optim.Optimizer = rules[settings.rule]()
    return optimizer


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the exponential moving average of weights and buffers towards the model."""
    for kept, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _note(config: TrainConfig, state: State, loss: float, scores: dict[str, Any], seconds: float) -> None:
    line = {
        "epoch": len(state.epochs) + 1,
        "size": config.size_at(len(state.epochs)),
        "rate": state.optimizer.param_groups[0]["lr"],
        "loss": round(loss, 5),
        **scores,
        "seconds": round(seconds, 1),
    }
    state.epochs.append(line)
    if config.keep == "best" and is_best(state.history):
        state.best = {name: value.clone() for name, value in state.average.state_dict().items()}


def _accuracy(logits: Tensor, rows: FaceSet) -> float:
    return float((logits.argmax(1).numpy() == rows.labels).mean())
