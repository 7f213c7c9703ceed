"""Start a network from given weights: a checkpoint of `train fit` or a safetensors file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn


def load_weights(model: nn.Module, path: Path, freeze: tuple[str, ...] = ()) -> list[str]:
    """Copy the weights of a file into a network; return the names of the last layer where it stayed as drawn.

    Only a layer whose number of outputs differs, that is the last one of other classes, may stay. freeze: parameters
    whose names start so are not trained. Raises ValueError where anything else does not fit, FileNotFoundError.
    """
    given, wanted = read_weights(path), model.state_dict()
    other = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    redrawn = [name for name in other if _is_other_classes(name, given[name], wanted[name])]
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    problems = [f"lacks {name}" for name in missing] + [f"has {name} too" for name in unknown]
    for name in (name for name in other if name not in redrawn):
        problems.append(f"has {tuple(given[name].shape)} for {name}, not {tuple(wanted[name].shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{path}: does not fit the model: it {'; '.join(problems[:3])}{more}")
    model.load_state_dict({**given, **{name: wanted[name] for name in redrawn}})
    freeze_parameters(model, freeze)
    return redrawn


def freeze_parameters(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Leave parameters whose names start with a prefix untrained. Raises ValueError for a prefix that fits none."""
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(f"freeze: no parameter starts with '{prefix}'; they are {', '.join(names[:4])}, ...")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name: the averaged network of a checkpoint, a plain state dict, or safetensors.

    Raises FileNotFoundError, or ValueError where the file is something else. Nothing in it is run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected weights to start from, found none")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError, _safetensors_error()) as error:
        raise ValueError(f"{path}: not readable weights ({' '.join(str(error).split())[:200]})") from error
    tensors = found.get("average", found) if isinstance(found, dict) else None
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path}: expected tensors by name, found something else")
    return dict(tensors)


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    error: type[Exception] = SafetensorError
    return error


def _is_other_classes(name: str, given: Tensor, wanted: Tensor) -> bool:
    return ".fc." in f".{name}" and given.shape[1:] == wanted.shape[1:]
