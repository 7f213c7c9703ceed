"""What a network does to its picture first. It is part of the model, so that serving shares it with training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.errors import UserError
from train.models.layers import Size, normalise, pair, require_size

Step = str | Mapping[str, Mapping[str, Any]]


class Standardise(nn.Module):
    """Give every picture zero mean and unit deviation."""

    def forward(self, images: Tensor) -> Tensor:
        return normalise(images)


class Visible(nn.Module):
    """Give what is shown of a picture, all that is not 0, zero mean and unit deviation; what is hidden becomes 0."""

    def forward(self, images: Tensor) -> Tensor:
        shown = (images > 0).to(images.dtype)
        count = shown.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
        centred = (images - (images * shown).sum(dim=(1, 2, 3), keepdim=True) / count) * shown
        deviation = (centred.square().sum(dim=(1, 2, 3), keepdim=True) / count).sqrt()
        return centred / (deviation + 1.0)


class Contrast(nn.Module):
    """Normalise the global contrast: subtract the mean, divide by sqrt(variance + floor) (Coates et al. 2011)."""

    def __init__(self, floor: float = 10.0) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, images: Tensor) -> Tensor:
        centred = images - images.mean(dim=(1, 2, 3), keepdim=True)
        return centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True) + self.floor).sqrt()


class Zca(nn.Module):
    """Whiten pictures by the covariance of the training pictures (Krizhevsky 2009, appendix A); `fit` comes first."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, size: Size, channels: int, epsilon: float = 0.1) -> None:
        super().__init__()
        self.size, self.epsilon = pair(size), epsilon
        values = channels * self.size[0] * self.size[1]
        self.register_buffer("mean", torch.full((values,), math.nan))
        self.register_buffer("matrix", torch.full((values, values), math.nan))

    def fit(self, images: Tensor) -> None:
        """Take mean and whitening matrix U (S + epsilon)^-1/2 U' from (N, C, H, W) training pictures."""
        require_size(images, self.size)
        flat = images.flatten(1).float()
        self.mean.copy_(flat.mean(dim=0))
        centred = flat - self.mean.to(flat.device)
        variances, axes = torch.linalg.eigh((centred.T @ centred / len(flat)).double())
        self.matrix.copy_(axes * (variances.clamp(min=0) + self.epsilon).rsqrt() @ axes.T)

    def forward(self, images: Tensor) -> Tensor:
        require_size(images, self.size)
        if self.training and bool(self.mean[0].isnan()):
            raise RuntimeError("zca: fit the whitening to the training pictures first (train.models.fit_inputs)")
        return in_float(lambda flat: (flat - self.mean) @ self.matrix, images.flatten(1)).reshape(images.shape)


class Diffusion(nn.Module):
    """Divide out the illumination (Gross & Brajovic 2003), its isotropic form.

    The illumination L minimises sum (L - I)^2 + smoothness |grad L|^2, that is (1 - smoothness Laplace) L = I with
    mirrored borders, which the cosine transform solves exactly; the picture becomes the reflectance I / L.
    """

    def __init__(self, smoothness: float = 7.0) -> None:
        super().__init__()
        self.smoothness = smoothness

    def forward(self, images: Tensor) -> Tensor:
        return (images + 1) / (in_float(self.illumination, images) + 1)

    def illumination(self, images: Tensor) -> Tensor:
        """Return L of (N, C, H, W) pictures of any size."""
        rows, row_values = cosine_basis(images.shape[2], images)
        columns, column_values = cosine_basis(images.shape[3], images)
        spectrum = rows @ images @ columns.T
        damped = spectrum / (1 + self.smoothness * (row_values[:, None] + column_values[None, :]))
        return rows.T @ damped @ columns


def cosine_basis(n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the orthonormal (n, n) cosine transform and the eigenvalues of the mirrored second difference."""
    k = torch.arange(n, dtype=like.dtype, device=like.device)
    waves = torch.cos(math.pi / n * k[:, None] * (k[None, :] + 0.5))
    return waves / waves.square().sum(dim=1, keepdim=True).sqrt(), 2 - 2 * torch.cos(math.pi / n * k)


def in_float(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Call a function outside autocast: whitening and solving lose too much in 16 bits."""
    kind = images.device.type
    # An export must not see the context manager: ONNX has none.
    mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False) if mixed else nullcontext():
        return function(images.float())


STEPS: dict[str, type[nn.Module]] = {
    "standardise": Standardise,
    "visible": Visible,
    "gcn": Contrast,
    "zca": Zca,
    "diffusion": Diffusion,
}


def preparation(steps: Iterable[Step], channels: int) -> nn.Sequential:
    """Build the steps, each a name or {name: {argument: value}}. Raises UserError for an unknown name or argument."""
    built = []
    for step in steps:
        (name, args) = (step, {}) if isinstance(step, str) else next(iter(step.items()))
        if name not in STEPS:
            raise UserError(f"unknown step '{name}' in model.args.prepare: expected one of {', '.join(sorted(STEPS))}")
        given = {**args, "channels": channels} if name == "zca" else args
        try:
            built.append(STEPS[name](**given))
        except TypeError as error:
            raise UserError(f"step '{name}' in model.args.prepare: {error}") from error
    return nn.Sequential(*built)


DEFAULT: Sequence[Step] = ("standardise",)


@torch.no_grad()
def fit_inputs(model: nn.Module, images: NDArray[np.uint8]) -> None:
    """Fit the steps that learn from the training pictures, (N, H, W, C) uint8; does nothing where there are none."""
    prepare = getattr(model, "prepare", None)
    if not isinstance(prepare, nn.Sequential) or not any(isinstance(step, Zca) for step in prepare):
        return
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    for step in prepare:
        if isinstance(step, Zca):
            step.fit(pictures)
        pictures = step.eval()(pictures)
    prepare.train(model.training)
