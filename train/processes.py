"""Train on one device or, under `torchrun`, on several: what the processes agree on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engines.errors import UserError


@contextmanager
def joined() -> Iterator[torch.device]:
    """Join the group that `torchrun` started, if it did; yield the device of this process."""
    if not dist.is_torchelastic_launched():
        yield first_device()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        device = torch.device("cuda", dist.get_node_local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        yield device
    finally:
        dist.destroy_process_group()


def first_device() -> torch.device:
    """Take the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batch: int) -> int:
    """Return how many of a batch each process takes. Raises UserError where it cannot be divided."""
    if batch % count():
        raise UserError(f"optimizer.batch {batch}: expected a multiple of {count()} processes")
    return batch // count()


def rank() -> int:
    """Return this process's number; 0 writes files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def parallel(model: nn.Module) -> nn.Module:
    """Wrap the model so that the processes average their gradients; a single process needs no wrapper."""
    return nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model


def mean(value: Tensor) -> float:
    """Average a scalar over the processes, so that all of them see the same, NaN included."""
    value = value.detach()
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return float(value)


def shared(value: Any) -> Any:
    """Return what process 0 holds."""
    if not dist.is_initialized():
        return value
    holder = [value]
    dist.broadcast_object_list(holder)
    return holder[0]


def gathered(value: Any) -> list[Any]:
    """Return what every process holds, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values
