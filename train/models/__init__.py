"""Architectures, one file each. A model maps (N, C, H, W) float pictures in 0-255 to `Output`.

`BUILDERS` holds just the numbers in which the systems differ; a configuration's `model.args` go on top.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from engines.errors import UserError
from train.models.alexnet import AlexNet
from train.models.attention import AttentionNet, BaselineNet
from train.models.densenet import DenseNet
from train.models.inception import InceptionNet
from train.models.inception_resnet import InceptionResNet
from train.models.inputs import fit_inputs
from train.models.layers import Output
from train.models.plain import PlainNet
from train.models.residual import ResidualNet
from train.models.resnet import ResNet
from train.models.vgg import VGG16, Vgg
from train.models.weights import load_weights, rest_frozen, settle

__all__ = ["BUILDERS", "Output", "build", "fit_inputs", "load_weights", "rest_frozen", "settle"]

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "residual": ResidualNet,
    "vgg_region": Vgg,
    "densenet": DenseNet,
    "baseline": BaselineNet,
    "attention": AttentionNet,
    "attention_symmetric": partial(AttentionNet, weights="symmetric"),
    "attention_gap": partial(AttentionNet, weights="uniform"),
    "resnet18": ResNet,
    "zca_net": partial(
        PlainNet,
        widths=(32, 64, 128),
        kernels=(5, 3, 3),
        hidden=(512,),
        dropout=0.5,
        prepare=("gcn", {"zca": {"size": 48}}),
    ),
    "three_layer": partial(PlainNet, weight_scale=1e-3),
    "alexnet": AlexNet,
    "vgg16": partial(Vgg, size=48, plan=VGG16, hidden=(512, 512), norm=False, dropout=0.5),
    "inception": InceptionNet,
    "inception_resnet": InceptionResNet,
}


def build(name: str, classes: int, channels: int, args: dict[str, Any]) -> nn.Module:
    """Build a network by name. Raises UserError for an unknown name or argument."""
    if name not in BUILDERS:
        raise UserError(f"unknown model '{name}': expected one of {', '.join(sorted(BUILDERS))}")
    try:
        return BUILDERS[name](classes=classes, channels=channels, **args)
    except TypeError as error:
        raise UserError(f"model '{name}': {error}") from error
