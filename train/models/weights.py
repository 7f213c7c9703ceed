"""Start a network from given weights: a checkpoint of `train fit`, a safetensors file or an exported artefact."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.errors import UserError


def load_weights(model: nn.Module, path: Path, freeze: tuple[str, ...] = ()) -> list[str]:
    """Copy the weights of a file into a network; return the names of the last layer where it stayed as drawn.

    Only a layer whose number of outputs differs, that is the last one of other classes, may stay, and further blocks of
    a deeper residual network. freeze: parameters whose names start so are not trained. Raises UserError where anything
    else does not fit, FileNotFoundError.
    """
    given, wanted = read_weights(path), model.state_dict()
    given = deepened(given, wanted)
    if path.suffix == ".onnx":
        given = unfolded(given, wanted)
    other = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    redrawn = [name for name in other if _is_other_classes(name, given[name], wanted[name])]
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    problems = [f"lacks {name}" for name in missing] + [f"has {name} too" for name in unknown]
    for name in (name for name in other if name not in redrawn):
        problems.append(f"has {tuple(given[name].shape)} for {name}, not {tuple(wanted[name].shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{path}: does not fit the model: it {'; '.join(problems[:3])}{more}")
    model.load_state_dict({**given, **{name: wanted[name] for name in redrawn}})
    freeze_parameters(model, freeze)
    return redrawn


def freeze_parameters(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Leave parameters whose names start with a prefix untrained. Raises UserError for a prefix that fits none."""
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise UserError(f"freeze: no parameter starts with '{prefix}'; they are {', '.join(names[:4])}, ...")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))


def rest_frozen(model: nn.Module) -> None:
    """Let norms of which nothing is trained keep their statistics; call it after `train()`."""
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and own and not any(one.requires_grad for one in own):
            module.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name: the network that a checkpoint is judged by, a plain state dict, safetensors, an artefact.

    Raises FileNotFoundError, or UserError where the file is something else. Nothing in it is run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected weights to start from, found none")
    if path.suffix == ".onnx":
        return read_artefact(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError, _safetensors_error()) as error:
        raise UserError(f"{path}: not readable weights ({' '.join(str(error).split())[:200]})") from error
    tensors = (found.get("best") or found.get("average", found)) if isinstance(found, dict) else None
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{path}: expected tensors by name, found something else")
    return dict(tensors)


def read_artefact(path: Path) -> dict[str, Tensor]:
    """Read the float weights of an exported network under their names in torch.

    The exporter folds most batch norms into the convolutions before them: those have a bias here and no norm follows.
    Raises UserError where the file is no ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        tables = onnx.load(path).graph.initializer
    except DecodeError as error:
        raise UserError(f"{path}: not readable weights ({error})") from error
    found = {}
    for table in tables:
        owner, _, name = table.name.replace("networks.0.", "network.").partition("network.")
        if name and not owner:
            found[name.replace("weight_bias", "bias")] = torch.from_numpy(np.array(numpy_helper.to_array(table)))
    return found


def deepened(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a residual network the further blocks of a deeper one, at the end of each stage, as they were drawn.

    A new block adds nothing yet (its last norm begins at zero): the deeper network begins with the same answers.
    """
    had, has = _stages(given), _stages(wanted)
    if len(had) != len(has) or had == has or any(few > more for few, more in zip(had, has, strict=True)):
        return given
    found = {name: value for name, value in given.items() if not name.startswith("blocks.")}
    old = new = 0
    for few, more in zip(had, has, strict=True):
        for block in range(more):
            source, prefix = (given, f"blocks.{old + block}.") if block < few else (wanted, f"blocks.{new + block}.")
            for name in (name for name in source if name.startswith(prefix)):
                found[f"blocks.{new + block}.{name.removeprefix(prefix)}"] = source[name]
        old, new = old + few, new + more
    return found


def _stages(weights: dict[str, Tensor]) -> list[int]:
    """Count the blocks of each stage of a residual network: one begins where the width changes."""
    stages: list[int] = []
    while (first := weights.get(f"blocks.{sum(stages)}.first.0.weight")) is not None:
        if not stages or first.shape[0] != first.shape[1]:
            stages.append(0)
        stages[-1] += 1
    return stages


def unfolded(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give convolutions with a folded batch norm one again that changes nothing but adds the bias; see `settle`."""
    found = dict(given)
    for mean in (name for name in wanted if name.endswith("running_mean") and name not in given):
        norm = mean.removesuffix(".running_mean")
        block, _, place = norm.rpartition(".")
        bias = found.pop(f"{block}.{int(place) - 1}.bias", None) if place.isdigit() else None
        if bias is None:
            continue
        found |= {f"{norm}.{name}": torch.ones_like(bias) for name in ("weight", "running_var")}
        found |= {f"{norm}.bias": bias, mean: torch.zeros_like(bias), f"{norm}.num_batches_tracked": torch.tensor(0)}
    return found


@torch.no_grad()
def settle(model: nn.Module, images: NDArray[np.uint8]) -> None:
    """Give every batch norm the statistics of (N, H, W, C) uint8 pictures, its answers unchanged.

    Norms that `unfolded` made know nothing of what flows through them: in training mode, which normalises by the batch,
    the network would answer otherwise.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: dict[nn.Module, Tensor] = {}
    hooks = [norm.register_forward_pre_hook(lambda norm, given: seen.update({norm: given[0]})) for norm in norms]
    model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    for norm, hook in zip(norms, hooks, strict=True):
        hook.remove()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        variance, mean = torch.var_mean(seen[norm], dim=(0, 2, 3))
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_((mean - norm.running_mean) * gain)
        norm.weight.copy_(gain * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    model.train()


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    error: type[Exception] = SafetensorError
    return error


def _is_other_classes(name: str, given: Tensor, wanted: Tensor) -> bool:
    return ".fc." in f".{name}" and given.shape[1:] == wanted.shape[1:]
