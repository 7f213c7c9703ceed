"""What the threads of the pipeline call, one after another: perceive, express, hide; ask is how they ask a network."""

from __future__ import annotations

from typing import Protocol

from streamer.types import Frame, Result, Step


class Perceive(Protocol):
    """Turn frames into results with faces. Called by one thread."""

    def __call__(self, frames: list[Frame], step: Step, /) -> list[Result]:
        """Look at frames, at most one a stream; step: what live streams do without now."""
        ...

    def forget(self, stream: str, /) -> None:
        """Drop what is known of a stream that has ended; its name may come again."""
        ...


class Express(Protocol):
    """Complete results. Called by one thread."""

    def __call__(self, results: list[Result], /) -> list[Result]:
        """Return the results in their order, with what the faces express."""
        ...

    def forget(self, stream: str, /) -> None:
        """Drop what is known of a stream that has ended; its name may come again."""
        ...
