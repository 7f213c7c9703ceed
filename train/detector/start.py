"""Build a detector's network, from nothing or with the weights of an artefact."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.errors import UserError
from train import loop
from train.checkpoint import State
from train.detector.config import DetectorConfig
from train.models.detector import FaceDetector, fold
from train.models.weights import read_artefact

log = logging.getLogger(__name__)

SMALL = 0.1  # of its drawn weights is what a block starts with that the artefact lacks: it changes little at first
SETTLED = 1e-5  # torch's epsilon of a batch norm


def build(config: DetectorConfig) -> nn.Module:
    """Build the network of a configuration with weights as drawn."""
    sizes = config.model
    network = FaceDetector(1, sizes.stem, sizes.widths, sizes.blocks, sizes.pyramid)
    return network if sizes.normalised else fold(network).train()


def start(config: DetectorConfig, device: torch.device) -> State:
    """Build network, average and optimizer from the seed."""
    torch.manual_seed(config.seed)
    network = build(config)
    if config.init is not None:
        go_on_from(network, config.init)
    return loop.begin(config, network, device)


def go_on_from(network: nn.Module, path: Path) -> None:
    """Give a network without batch norms the weights of an artefact of the same or smaller widths.

    Raises UserError where the artefact has weights that the network has no place for.
    """
    given, wanted = weights_of(path), network.state_dict()
    unfit = [name for name, value in given.items() if name not in wanted or not _fits(value, wanted[name])]
    if unfit:
        raise UserError(
            f"{path}: expected weights of the same or smaller widths without batch norms, found {', '.join(unfit)}"
        )
    missing = [name for name in wanted if name not in given]
    grown = {name: _grow(value, wanted[name]) for name, value in given.items()}
    network.load_state_dict(wanted | {name: SMALL * wanted[name] for name in missing} | grown)
    log.info("goes on from %s; %d weights are new", path, len(missing))


def _fits(given: Tensor, wanted: Tensor) -> bool:
    """Say whether a weight of an artefact has a place in a wanted one: channels may be added, kernels are the same."""
    same = given.dim() == wanted.dim() and given.shape[2:] == wanted.shape[2:]
    return same and all(few <= many for few, many in zip(given.shape, wanted.shape, strict=True))


def _grow(given: Tensor, drawn: Tensor) -> Tensor:
    """Put a weight into one with more channels: new ones learn from all, and the old ones do not hear them at first."""
    grown = drawn.clone()
    grown[: len(given)] = 0
    grown[tuple(slice(size) for size in given.shape)] = given
    return grown


def weights_of(path: Path) -> dict[str, Tensor]:
    """Read the weights in an artefact; the exporter folds most batch norms, the others are folded here."""
    found = read_artefact(path)
    for norm in [name.removesuffix(".running_mean") for name in found if name.endswith(".running_mean")]:
        before = f"{norm.rsplit('.', 1)[0]}.{int(norm.rsplit('.', 1)[1]) - 1}"
        gain = found.pop(f"{norm}.weight") / (found.pop(f"{norm}.running_var") + SETTLED).sqrt()
        found[f"{before}.bias"] = found.pop(f"{norm}.bias") - found.pop(f"{norm}.running_mean") * gain
        found[f"{before}.weight"] = found[f"{before}.weight"] * gain[:, None, None, None]
    return found
