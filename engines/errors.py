"""What can go wrong in a backend while another one may still serve."""

from __future__ import annotations


class OutOfMemory(MemoryError):
    """Tell that a device has no memory left for even one picture; another backend may have."""


class Unbuildable(RuntimeError):
    """Tell that a backend cannot serve a model here; another backend or precision may."""
