"""A network on another device, where there is none: pictures must be brought there, answers must be brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Far(Tensor):
    """Give NumPy its numbers only after `cpu`, as tensors on a GPU do."""

    def cpu(self, *args: Any, **named: Any) -> Tensor:
        return self.as_subclass(Tensor)

    def numpy(self, **named: Any) -> Any:
        raise TypeError("can't convert a tensor of another device to numpy")


class Elsewhere(nn.Module):
    """Answer pictures that lie on its device, with the parts of `answer(count)`; it has no numbers itself ('meta')."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device="meta"))
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        assert images.device == self.weight.device
        found = self.answer(len(images))
        return type(found)(*(part.as_subclass(Far) for part in found))
