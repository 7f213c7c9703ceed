"""Architectures, one file each. A model maps (N, C, H, W) float pictures in 0-255 to `Output`."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from train.models.residual import ResidualNet




BUILDERS: dict[str, type[nn.Module]] = {"residual": ResidualNet}


def build(name: str, classes: int, channels: int, args: dict[str, Any]) -> nn.Module:
    """Build a network by name. Raises ValueError for an unknown name or argument."""
    if name not in BUILDERS:
        raise ValueError(f"unknown model '{name}': expected one of {', '.join(sorted(BUILDERS))}")
    try:
        return BUILDERS[name](classes=classes, channels=channels, **args)
    except TypeError as error:
        raise ValueError(f"model '{name}': {error}") from error
