"""The tabs of the page. Gradio calls the functions here in its own threads; errors become messages in the page."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from numpy.typing import NDArray

from streamer.demo.studio import KEPT, Studio
from streamer.explain.maps import JET
from streamer.overlay import PALETTE, draw
from streamer.photo.explain import words
from streamer.report.page import hex_colour

HERE = files("streamer.demo")
EXAMPLES = Path(str(HERE / "examples"))
AWAY = 600  # seconds without a picture after which the slower view forgets its visitor
NOTE = (
    "Labels say what people would call the expression that a face shows: an expression is not a feeling. "
    "Pictures are analysed by this server only."
)


def build_page(studio: Studio, token: str) -> gr.Blocks:
    """Return the page; token: what its live tab shows to the websocket."""
    page: gr.Blocks = gr.Blocks(title="Emotion streamer", analytics_enabled=False, delete_cache=(KEPT, KEPT))
    with page:
        gr.Markdown(f"# Emotion streamer\n{NOTE}")
        with gr.Tab("Live"):
            _live(studio, token)
        with gr.Tab("Video"):
            _video(studio)
        with gr.Tab("Photo"):
            _photo(studio)
        with gr.Tab("Explain"):
            _explain(studio)
    return page


def _live(studio: Studio, token: str) -> None:
    gr.HTML(
        html_template=(HERE / "live.html").read_text(encoding="utf-8"),
        css_template=(HERE / "live.css").read_text(encoding="utf-8"),
        js_on_load=(HERE / "live.js").read_text(encoding="utf-8"),
        token=token,
        colours={label: hex_colour(label) for label in PALETTE},
        jet=JET[:, 0, ::-1].tolist(),
        elem_id="live",
    )
    with gr.Accordion("Without a websocket (slower)", open=False):
        gr.Markdown("Some proxies let no websocket through. This view sends pictures both ways instead.")
        session = gr.State(
            dict, time_to_live=AWAY, delete_callback=lambda state: studio.forget((state or {}).get("stream", ""))
        )
        camera = gr.Image(sources=["webcam"], streaming=True, format="jpeg", label="Camera", type="numpy")
        shown = gr.Image(format="jpeg", label="Analysed", interactive=False, elem_id="fallback")

        def look(image: NDArray[np.uint8] | None, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            if image is None:
                return None, state
            state = state or {"stream": f"page-{uuid.uuid4().hex}", "started": time.monotonic(), "count": 0}
            state = state | {"count": state["count"] + 1}
            at = time.monotonic() - state["started"]
            result = studio.frame(np.ascontiguousarray(image[..., ::-1]), state["stream"], state["count"], at)
            return draw(result)[..., ::-1], state

        camera.stream(
            look, [camera, session], [shown, session], stream_every=0.1, time_limit=300, concurrency_limit=2,
            show_progress="hidden",
        )  # fmt: skip


def _video(studio: Studio) -> None:
    with gr.Row():
        with gr.Column():
            given = gr.File(label="Video", file_types=["video"], elem_id="video-in")
            go = gr.Button("Analyse", variant="primary", elem_id="video-go")
            gr.Examples([[str(EXAMPLES / "clip.mp4")]], [given], cache_examples=False)
        with gr.Column():
            shown = gr.Video(label="Annotated", interactive=False, elem_id="video-out")
            note = gr.Markdown(elem_id="video-note")
    timeline = gr.HTML(elem_id="video-timeline")
    saved = gr.Files(label="Downloads: log and timeline", elem_id="video-files")

    def analyse(upload: str | None, progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        path = _given(upload, "a video")
        with told():
            found = studio.video(path, lambda share: progress(share, desc="analysing"))
        return str(found.video), found.note, _framed(found.page), [str(found.log), str(found.page)]

    go.click(analyse, [given], [shown, note, timeline, saved], concurrency_limit=1, concurrency_id="studio")


def _photo(studio: Studio) -> None:
    with gr.Row():
        with gr.Column():
            given = gr.File(label="Photo", elem_id="photo-in")
            go = gr.Button("Analyse", variant="primary", elem_id="photo-go")
            examples = [[str(EXAMPLES / "two.jpg")], [str(EXAMPLES / "portrait.jpg")]]
            gr.Examples(examples, [given], cache_examples=False)
        shown = gr.Image(label="Annotated", interactive=False, format="jpeg", elem_id="photo-out")
    summary = gr.HTML(elem_id="photo-summary")
    saved = gr.Files(label="Downloads: report and JSON", elem_id="photo-files")

    def analyse(upload: str | None) -> tuple[Any, ...]:
        path = _given(upload, "a photo")
        with told():
            picture, _, files = studio.photo(path)
        return picture[..., ::-1], _framed(files[0]), [str(file) for file in files]

    go.click(analyse, [given], [shown, summary, saved], concurrency_limit=1, concurrency_id="studio")


def _explain(studio: Studio) -> None:
    with gr.Row():
        with gr.Column(scale=1):
            given = gr.File(label="Photo", elem_id="explain-in")
            go = gr.Button("Explain", variant="primary", elem_id="explain-go")
            gr.Examples([[str(EXAMPLES / "portrait.jpg")]], [given], cache_examples=False)
        with gr.Column(scale=2):
            panels = gr.Gallery(label="Where the answer comes from", columns=4, elem_id="explain-out", format="png")
            text = gr.Markdown(elem_id="explain-text")

    def analyse(upload: str | None) -> tuple[Any, str]:
        path = _given(upload, "a photo")
        with told():
            found = studio.explain(path)
        numbered = list(enumerate(found.faces, start=1))
        shown = [
            (cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), f"face {number}: {name}")
            for number, one in numbered
            for name, picture in one.panels().items()
        ]
        return shown, "\n\n".join([*found.notes, *(line for number, one in numbered for line in words(number, one))])

    go.click(analyse, [given], [panels, text], concurrency_limit=1, concurrency_id="studio")


def _given(upload: str | None, wanted: str) -> Path:
    if not upload:
        raise gr.Error(f"Choose {wanted} first.", print_exception=False)
    return Path(upload)


@contextmanager
def told() -> Iterator[None]:
    """Turn what is wrong with an upload into a message in the page."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise gr.Error(" ".join(str(error).split()), print_exception=False) from error


def _framed(page: Path) -> str:
    """Show a report inside the page, apart from it."""
    import html

    inside = html.escape(page.read_text(encoding="utf-8"), quote=True)
    return f'<iframe title="report" style="width: 100%; height: 40rem; border: 0" srcdoc="{inside}"></iframe>'
