"""A photo's faces and its group as pictures, as JSON values, and as a page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.config import OverlayConfig
from streamer.drawing.heat import heated
from streamer.drawing.overlay import draw
from streamer.photo.attention import GroupAttention
from streamer.photo.decode import Photo
from streamer.photo.group import sum_up
from streamer.report.page import hex_colour, label_colours, render, require_charts
from streamer.types import Face, Result

LONGEST = 1280  # pixels, of a picture in the page
FACES, ATTENTION, EVERYWHERE = "faces", "attention on faces", "attention everywhere"  # what pictures show
TIMES = ("stable", "detected_time", "classified_time")  # of a stream, not of a photo


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
    photos: Sequence[Mapping[str, Any]], pictures: Sequence[Mapping[str, bytes]], unreadable: Sequence[str] = ()
) -> str:
    """Return the page for photos as `record` gives them; pictures: JPEGs of each by what they show."""
    shown = [
        {**photo, "pictures": {name: base64.b64encode(data).decode() for name, data in own.items()}}
        for photo, own in zip(photos, pictures, strict=True)
    ]
    total = sum(photo["summary"]["faces"] for photo in photos)
    faces = [face for photo in photos for face in photo["faces"]]
    known = list(dict.fromkeys(label for face in faces for label in face["probabilities"] or ()))
    charts = {"shares": _chart(photos, known)} if total else {}
    title = photos[0]["name"] if len(photos) == 1 else "Photos"
    colour = partial(hex_colour, known=known)
    return render("photos.html", charts, title=title, photos=shown, total=total, unreadable=unreadable, colour=colour)


def _chart(photos: Sequence[Mapping[str, Any]], known: Sequence[str]) -> Any:
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
        color=label_colours("emotion", labels, known),
        tooltip=["photo:N", "emotion:N", alt.Tooltip("share:Q", format=".0%"), "faces:Q"],
    ).properties(width="container")


def _face(face: Face) -> dict[str, Any]:
    judged = face.expression if face.expression and face.expression.judged else None
    ranked = sorted(judged.probabilities.items(), key=lambda item: -item[1]) if judged else []
    known = {name: value for name, value in face.to_dict().items() if name not in TIMES}
    return known | {"next": ranked[1][0] if len(ranked) > 1 else None}


def as_jpegs(drawn: Mapping[str, NDArray[np.uint8]]) -> dict[str, bytes]:
    """Return pictures as JPEGs of a size for a page."""
    return {name: _small(picture) for name, picture in drawn.items()}


def _small(picture: NDArray[np.uint8]) -> bytes:
    scale = min(1.0, LONGEST / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
