"""`streamer photo`: every photo annotated as PNG, all of them in one JSON file and one page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from streamer.config import Config, OverlayConfig
from streamer.explain.maps import heated
from streamer.overlay import draw
from streamer.photo.analyst import Analyst
from streamer.photo.attention import GroupAttention
from streamer.photo.group import sum_up
from streamer.photo.reading import Photo, photo_paths, read_photo
from streamer.pipeline import unique_names
from streamer.records.schema import FACE_READERS
from streamer.report.page import label_colours, preparing_charts, render, require_charts, write_page
from streamer.types import Face, Result

SHOWN = 50  # photos whose pictures are in the page
LONGEST = 1280  # pixels, of a picture in the page
FACES, ATTENTION, EVERYWHERE = "faces", "attention on faces", "attention everywhere"  # what pictures show
FILES = {FACES: "", ATTENTION: ".attention", EVERYWHERE: ".everywhere"}  # in their names
TIMES = ("stable", "detected_time", "classified_time")  # of a stream, not of a photo


def run(config: Config, names: Sequence[str], out: Path, *, page: bool = True, attention: bool = False) -> int:
    """Analyse photos into a folder; return the exit code: 1 where some could not be read.

    page: write report.html. attention: also show where an attention network looks in each whole photo. Raises
    ValueError or OSError for a wrong request, or where no photo can be read.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    paths = photo_paths(names)
    _make_folder(out)
    found: list[dict[str, Any]] = []
    pictures: list[dict[str, bytes]] = []
    unreadable: list[str] = []
    with preparing_charts() if page else nullcontext(), Analyst(config, attention=attention) as analyst:
        shown = track(paths, "photos", console=console, transient=True, disable=not console.is_terminal)
        for path, stem in zip(shown, unique_names(path.stem for path in paths), strict=True):
            try:
                photo = read_photo(path)
            except ValueError as error:
                unreadable.append(str(error))
                continue
            result = analyst.look(photo.image, path.name)
            seen = analyst.attend(photo.image, result.faces)
            drawn = draw_all(result, seen, config.overlay)
            for name, picture in drawn.items():
                _write_picture(out / f"{stem}{FILES[name]}.png", picture)
            found.append(record(path.name, photo, result, seen))
            pictures.append(drawn_small(drawn) if len(pictures) < SHOWN else {})
    if not found:
        raise ValueError("; ".join(unreadable))
    _write_json(out / "photos.json", found, unreadable)
    if page:
        write_page(out / "report.html", report(found, pictures, unreadable))
    for reason in unreadable:
        console.print(f"streamer: {reason}", style="yellow", soft_wrap=True)
    faces = sum(photo["summary"]["faces"] for photo in found)
    console.print(f"{len(found)} photos, {faces} faces: {out / ('report.html' if page else 'photos.json')}")
    return int(bool(unreadable))


def draw_all(result: Result, seen: GroupAttention | None, overlay: OverlayConfig) -> dict[str, NDArray[np.uint8]]:
    """Return a photo's annotated (H, W, 3) BGR pictures by what they show."""
    drawn = {FACES: draw(result, details=overlay.bars, maps=overlay.cam, clock=False)}
    if seen:
        image = result.frame.image
        hot = replace(result, frame=replace(result.frame, image=heated(image, seen.on_faces)))
        drawn |= {ATTENTION: draw(hot, details=False), EVERYWHERE: heated(image, seen.everywhere)}
    return drawn


def record(name: str, photo: Photo, result: Result, seen: GroupAttention | None = None) -> dict[str, Any]:
    """Return a photo and its faces as JSON values."""
    height, width = photo.image.shape[:2]
    return {
        "name": name,
        "width": width,
        "height": height,
        "notes": list(photo.notes),
        "summary": asdict(sum_up(result.faces)),
        "faces": [_face(face) for face in result.faces],
        "attention": seen and {"on_faces": round(seen.share, 4), "area": round(seen.area, 4)},
    }


def report(
    photos: Sequence[Mapping[str, Any]], pictures: Sequence[Mapping[str, bytes]] = (), unreadable: Sequence[str] = ()
) -> str:
    """Return the page for photos as `record` gives them; pictures: JPEGs of each by what they show."""
    none: Mapping[str, bytes] = {}
    shown = [
        {**photo, "pictures": {name: base64.b64encode(data).decode() for name, data in own.items()}}
        for photo, own in zip_longest(photos, pictures, fillvalue=none)
    ]
    total = sum(photo["summary"]["faces"] for photo in photos)
    charts = {"shares": _chart(photos)} if total else {}
    title = photos[0]["name"] if len(photos) == 1 else "Photos"
    return render("photos.html", charts, title=title, photos=shown, total=total, unreadable=unreadable)


def _chart(photos: Sequence[Mapping[str, Any]]) -> Any:
    """Stack the shares of every photo's emotions."""
    alt = require_charts()
    rows = [
        {"photo": photo["name"], "emotion": label, "share": share, "faces": photo["summary"]["counts"][label]}
        for photo in photos
        for label, share in photo["summary"]["shares"].items()
    ]
    labels = list(dict.fromkeys(row["emotion"] for row in rows))
    bars = alt.Chart(alt.Data(values=rows)).mark_bar()
    return bars.encode(
        x=alt.X("share:Q", axis=alt.Axis(format="%"), title="share of faces, weighted by confidence"),
        y=alt.Y("photo:N", sort=[photo["name"] for photo in photos], title=None),
        color=label_colours("emotion", labels),
        tooltip=["photo:N", "emotion:N", alt.Tooltip("share:Q", format=".0%"), "faces:Q"],
    ).properties(width="container")


def _face(face: Face) -> dict[str, Any]:
    ranked = sorted(face.expression.probabilities.items(), key=lambda item: -item[1]) if face.expression else []
    more = {
        "next": ranked[1][0] if len(ranked) > 1 else None,
        "visible": None if face.visibility is None else round(float(face.visibility.mean()), 4),
    }
    return {name: read(face) for name, read in FACE_READERS if name not in TIMES} | more


def drawn_small(drawn: Mapping[str, NDArray[np.uint8]]) -> dict[str, bytes]:
    """Return pictures as JPEGs of a size for a page."""
    return {name: _small(picture) for name, picture in drawn.items()}


def _small(picture: NDArray[np.uint8]) -> bytes:
    scale = min(1.0, LONGEST / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{out}: expected a folder to write to: {error.strerror}") from error


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    data = cv2.imencode(".png", picture, quick)[1].tobytes()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OSError(f"{path}: cannot write the annotated photo: {error.strerror}") from error


def _write_json(path: Path, photos: Sequence[Mapping[str, Any]], unreadable: Sequence[str]) -> None:
    text = json.dumps({"photos": photos, "unreadable": list(unreadable)}, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OSError(f"{path}: cannot write: {error.strerror}") from error
