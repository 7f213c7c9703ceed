"""Uploads: one set of engines for all visitors, taken in turn; videos a frame at a time, so that photos wait little."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.build import build_stages
from streamer.commands.explain import Explained, explain_faces
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.photo.analyst import Analyst
from streamer.photo.decode import read_photo
from streamer.photo.render import as_jpegs, draw_all, record, report
from streamer.report.timeline import write as write_timeline
from streamer.sinks.log import LogSink
from streamer.sinks.video import VideoSink
from streamer.sources import SourceError, open_source
from streamer.types import Frame, Result

KEPT = 3600  # seconds that uploads and results are kept
OFTEN = 60  # seconds between looks for older ones
LONGEST_VIDEO = 120.0  # seconds; the rest of a video is left out, and the page says so


class VideoResult(NamedTuple):
    """Hold what a video gave: files, and what there is to say about it."""

    video: Path
    log: Path
    page: Path
    note: str


class Studio:
    """Analyse uploads. Any thread may call; the engines are used by one at a time."""

    def __init__(self, config: Config, photos: Config) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._video = build_stages(config)
        self._photos = Analyst(photos, attention=True)
        self._config = config
        self._results = tempfile.TemporaryDirectory(prefix="demo-")
        self._folders: list[tuple[float, Path]] = []

    @property
    def labels(self) -> tuple[str, ...]:
        """Return all labels that a face of a video may get, in the order of the network."""
        return tuple(self._video.express.engine.spec.labels)

    def close(self) -> None:
        """Close the engines and delete what is left of results."""
        self._results.cleanup()
        self._photos.close()
        self._video.close()

    def delete_old(self) -> None:
        """Delete results that have been kept for their time."""
        with self._lock:
            while self._folders and time.monotonic() - self._folders[0][0] > KEPT:
                shutil.rmtree(self._folders.pop(0)[1], ignore_errors=True)

    def _new_folder(self) -> Path:
        """Make a folder for one upload's results."""
        with self._lock:
            folder = Path(tempfile.mkdtemp(dir=self._results.name))
            self._folders.append((time.monotonic(), folder))
        return folder

    def new_stream(self, name: str) -> str:
        """Return a name for a stream that no other has."""
        with self._lock:
            self._count += 1
            return f"{name[:20]}-{self._count}"

    def frame(self, image: NDArray[np.uint8], stream: str, index: int, at: float) -> Result:
        """Analyse one picture of a stream."""
        with self._lock:
            frame = Frame(image, stream, index, at, 0.0)
            [result] = self._video.finish(self._video.perceive([frame]))
            return result

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream."""
        with self._lock:
            self._video.forget(stream)

    def video(self, path: Path, progress: Callable[[float], None]) -> VideoResult:
        """Analyse an uploaded video. Raises UserError or OSError in one line where it gives no frame."""
        folder = self._new_folder()
        found = VideoResult(folder / "annotated.webm", folder / f"{path.stem}.jsonl", folder / "timeline.html", "")
        source = open_source(str(path))
        stream, note, count = self.new_stream(path.stem), "", 0
        try:
            with VideoSink(found.video, lambda: source.fps) as video, LogSink(found.log, {"sources": {}}) as log:
                for frame in source.frames(threading.Event(), lambda state, reason, cause: None):
                    if frame.time > LONGEST_VIDEO:
                        note = f"Only the first {LONGEST_VIDEO:.0f} seconds were analysed."
                        break
                    result = self.frame(frame.image, stream, frame.index, frame.time)
                    video.write(result, draw(result, maps=self._config.overlay.cam))
                    log.write(result)
                    count += 1
                    progress(min(1.0, count / source.total) if source.total else 0.5)
        except SourceError as error:
            if not count:
                raise
            note = str(error).replace(str(path), path.name)
        finally:
            self.forget(stream)
        if not count:
            raise UserError(f"{path.name}: expected a video, found no frame in it")
        write_timeline([found.log], found.page)
        return found._replace(note=note)

    def photo(self, path: Path, *, attention: bool) -> tuple[Path, Path]:
        """Analyse an uploaded photo; return its page and its record as files.

        attention: also show where a network looks in the whole of it.
        """
        photo = read_photo(path)
        with self._lock:
            photo, result = self._photos.look_upright(photo, path.name)
            seen = self._photos.attend(photo.image, result.faces) if attention else None
        values, drawn = record(path.name, photo, result, seen), draw_all(result, seen, self._photos.config.overlay)
        folder = self._new_folder()
        page, saved = folder / "report.html", folder / "photo.json"
        saved.write_text(json.dumps(values, indent=1), encoding="utf-8")
        page.write_text(report([values], [as_jpegs(drawn)]), encoding="utf-8")
        return page, saved

    def explain(self, path: Path) -> Explained:
        """Explain the answers to the faces of an uploaded photo."""
        photo = read_photo(path)
        with self._lock:
            return explain_faces(self._photos, photo.image)
