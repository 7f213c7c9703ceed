"""`streamer photo`: every photo annotated as PNG, all of them in one JSON file and one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.errors import UserError
from streamer.config import Config
from streamer.photo.analyst import Analyst
from streamer.photo.decode import photo_paths, read_photo
from streamer.photo.render import ATTENTION, EVERYWHERE, FACES, as_jpegs, draw_all, record, report
from streamer.report.page import preparing_charts, write_page
from streamer.sinks.files import check_replaces_none
from streamer.sources import unique_names
from streamer.sources.source import printable

SHOWN = 50  # photos whose pictures are in the page
FILES = {FACES: "", ATTENTION: ".attention", EVERYWHERE: ".everywhere"}  # in the names of pictures


def run(config: Config, names: Sequence[str], out: Path, *, page: bool = True, attention: bool = False) -> int:
    """Analyse photos into a folder; return the exit code: 1 where some could not be read.

    page: write report.html. attention: also show where an attention network looks in each whole photo. Raises
    UserError or OSError for a wrong request, as where a picture would replace a photo, or where no photo can be read.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    paths = photo_paths(names)
    stems = unique_names(path.stem for path in paths)
    written = [out / f"{stem}{kind}.png" for stem in stems for kind in (FILES.values() if attention else [""])]
    check_replaces_none([*written, out / "photos.json", out / "report.html"], paths)
    _make_folder(out)
    found: list[dict[str, Any]] = []
    pictures: list[dict[str, bytes]] = []
    unreadable: list[str] = []
    with preparing_charts() if page else nullcontext(), Analyst(config, attention=attention) as analyst:
        shown = track(paths, "photos", console=console, transient=True, disable=not console.is_terminal)
        for path, stem in zip(shown, stems, strict=True):
            name = printable(path.name)
            try:
                photo = read_photo(path)
            except UserError as error:
                unreadable.append(printable(str(error)))
                continue
            photo, result = analyst.look_upright(photo, name)
            seen = analyst.attend(photo.image, result.faces)
            drawn = draw_all(result, seen, config.overlay)
            for view, picture in drawn.items():
                _write_picture(out / f"{stem}{FILES[view]}.png", picture)
            found.append(record(name, photo, result, seen))
            pictures.append(as_jpegs(drawn) if len(pictures) < SHOWN else {})
    if not found:
        raise UserError("; ".join(unreadable))
    values = {"photos": found, "unreadable": unreadable}
    _write(out / "photos.json", (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    if page:
        write_page(out / "report.html", report(found, pictures, unreadable))
    for reason in unreadable:
        console.print(f"streamer: {reason}", style="yellow", soft_wrap=True)
    faces = sum(photo["summary"]["faces"] for photo in found)
    console.print(f"{len(found)} photos, {faces} faces: {out / ('report.html' if page else 'photos.json')}")
    return int(bool(unreadable))


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{out}: expected a folder to write to: {error.strerror}") from error


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _write(path, cv2.imencode(".png", picture, quick)[1].tobytes())


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OSError(f"{path}: cannot write: {error.strerror}") from error
