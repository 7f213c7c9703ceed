"""A window that shows the newest picture of every stream (SDL through pygame-ce, extra `[window]`).

Belongs to the main thread: SDL takes events nowhere else.
"""

from __future__ import annotations

import io
import math
import threading
from contextlib import redirect_stdout
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import MissingPackage
from streamer.types import Result

BACKGROUND = (20, 22, 26)  # RGB


class WindowSink:
    """Show streams side by side in a window that can be resized; q, Esc or closing it sets `closed`.

    Raises MissingPackage where pygame is missing, OSError where there is no display, RuntimeError off the main thread.
    """

    wants_picture = True

    def __init__(self, title: str, size: tuple[int, int] = (960, 540)) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("WindowSink: expected the main thread, found another: events reach that one only")
        self._pygame = _import_pygame()
        self._pictures: dict[str, NDArray[np.uint8]] = {}
        self._closed = False
        try:
            self._pygame.display.init()
            self._pygame.display.set_mode(size, self._pygame.RESIZABLE)
        except self._pygame.error as error:
            raise OSError(f"cannot open a window: {error}; without a display, run without a window") from error
        if self._pygame.display.get_driver() == "offscreen":  # what SDL falls back on
            self._pygame.display.quit()
            raise OSError("cannot open a window: no display found; without one, run without a window")
        self._pygame.display.set_caption(title)

    @property
    def closed(self) -> bool:
        """Tell whether the user asked to end; also answers the window's events, so ask now and then."""
        pygame = self._pygame
        for event in pygame.event.get() if pygame.display.get_init() else ():
            if event.type == pygame.QUIT or (
                event.type == pygame.KEYDOWN and event.key in (pygame.K_q, pygame.K_ESCAPE)
            ):
                self._closed = True
            elif event.type in (pygame.VIDEORESIZE, pygame.WINDOWEXPOSED):
                self._show_all()
        return self._closed

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Show the picture in its stream's tile."""
        if picture is None:
            raise ValueError("WindowSink.write: expected a picture, found None")
        new = result.frame.stream not in self._pictures
        self._pictures[result.frame.stream] = picture
        if self.closed:
            return
        if new:
            self._show_all()
        else:
            self._show(result.frame.stream)
        self._pygame.display.flip()

    def _show_all(self) -> None:
        self._pygame.display.get_surface().fill(BACKGROUND)
        for stream in self._pictures:
            self._show(stream)
        self._pygame.display.flip()

    def _show(self, stream: str) -> None:
        surface, picture = self._pygame.display.get_surface(), self._pictures[stream]
        x, y, width, height = tile(list(self._pictures).index(stream), len(self._pictures), surface.get_size())
        surface.fill(BACKGROUND, (x, y, width, height))
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale))
        scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        image = self._pygame.image.frombuffer(scaled.tobytes(), size, "BGR")
        surface.blit(image, (x + (width - size[0]) // 2, y + (height - size[1]) // 2))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pygame.display.quit()


def tile(index: int, count: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return x, y, width, height of one of `count` tiles that fill a window of (width, height) row by row."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    row, column = divmod(index, columns)
    left, top = column * size[0] // columns, row * size[1] // rows
    return left, top, (column + 1) * size[0] // columns - left, (row + 1) * size[1] // rows - top


def _import_pygame() -> Any:
    try:
        with redirect_stdout(io.StringIO()):  # pygame greets
            import pygame
    except ImportError as error:
        raise MissingPackage('a window needs pygame: pip install "emotion-streamer[window]"') from error
    return pygame
