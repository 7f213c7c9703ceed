"""What OpenCV reads: every webcam, and files and streams as far as it reads them rightly."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources.interlacing import may_be_interlaced
from streamer.sources.source import Picture, SourceError, as_bgr

FAILURES_IN_A_ROW = 30  # reads; packets that were damaged on the way
MOST_SQUEEZED = 8  # of pixels that are not square; a header that says more is broken
EXTRA = "pip install 'emotion-streamer[video]'"


class OpenCVDecoder:
    """Decode what a capture has opened; see `Decoder`.

    name: of the stream, in errors. attempts: reads that may fail in a row. Raises SourceError where a picture may be
    one that OpenCV cannot convert (`interlacing`): it is the very one before it.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str, attempts: int = FAILURES_IN_A_ROW) -> None:
        self.fps, self.total = _frame_rate(capture), _frame_count(capture)
        self.duration = self.total / self.fps if self.total and self.fps else None
        self.broken, self.marred, self.bursts = 0, 0, False
        self.may_be_interlaced = may_be_interlaced(capture)
        self._capture, self._name, self._attempts = capture, name, attempts
        self._stretch = _stretch(capture)
        self._pictures = self._differing() if self.may_be_interlaced else self._decoded()

    def read(self) -> Picture | None:
        """Return the next picture, None where no more can be read."""
        picture = next(self._pictures, None)
        return picture and Picture(widened(picture.image, self._stretch), picture.time)

    def close(self) -> None:
        """Free the capture."""
        self._capture.release()

    def _decoded(self) -> Iterator[Picture]:
        """Yield pictures as OpenCV has them.

        One broken packet fails one read though the next may be good; at the end all fail, at once. A read that fails
        after more than a second ran into its deadline and is not repeated.
        """
        failed, begun = 0, False
        while failed < self._attempts:
            asked = time.monotonic()
            done, image = self._capture.read()
            if done:
                self.broken += failed if begun else 0
                failed, begun = 0, True
                yield Picture(as_bgr(np.asarray(image)), self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            elif time.monotonic() - asked > 1:
                return
            else:
                failed += 1

    def _differing(self) -> Iterator[Picture]:
        """Yield pictures once the next one has shown that they are no leftovers."""
        before, count = None, 0
        for picture in self._decoded():
            if before and np.array_equal(before.image, picture.image):
                raise self._refusal()
            if before:
                yield before
            before, count = picture, count + 1
        if count == 1:
            raise self._refusal()
        if before:
            yield before

    def _refusal(self) -> SourceError:
        return SourceError(f"{self._name}: interlaced video, which OpenCV cannot read: {EXTRA}")


def widened(image: NDArray[np.uint8], stretch: float) -> NDArray[np.uint8]:
    """Return a picture whose pixels are `stretch` times as wide as high with square ones, larger, never smaller."""
    if stretch == 1:
        return image
    height, width = image.shape[:2]
    size = squared(width, height, stretch)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def squared(width: int, height: int, stretch: float) -> tuple[int, int]:
    """Return the width and height that a picture has once its pixels are square."""
    return (round(width * stretch), height) if stretch > 1 else (width, round(height / stretch))


def sane_stretch(wide: float, high: float) -> float:
    """Return how much wider than high a pixel is; 1 for what containers say when they do not know, or nonsense."""
    return wide / high if wide > 0 and high > 0 and 1 / MOST_SQUEEZED <= wide / high <= MOST_SQUEEZED else 1.0


def _stretch(capture: cv2.VideoCapture) -> float:
    stretch = sane_stretch(capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN))
    turned = capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90 and capture.get(cv2.CAP_PROP_ORIENTATION_AUTO)
    return 1 / stretch if turned else stretch


def _frame_rate(capture: cv2.VideoCapture) -> float | None:
    """Return the nominal frames a second; None for what containers say when they do not know (0, 90000)."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= 1000 else None


def _frame_count(capture: cv2.VideoCapture) -> int | None:
    """Return how many frames the header promises, exact or estimated; None for a stream without an end."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return round(count) if 0 < count < 1e9 else None
