"""The tabs of the page. Gradio calls the functions here in its own threads; errors become messages in the page."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.commands.explain import sheet, to_markdown
from streamer.demo.studio import KEPT, OFTEN, Studio
from streamer.drawing.heat import JET
from streamer.drawing.overlay import draw
from streamer.emotions import UNCERTAIN, colours
from streamer.report.page import hex_colour

HERE = files("streamer.demo")
EXAMPLES = Path(str(HERE / "examples"))
PHOTOS = ("two.jpg", "hidden.jpg", "portrait.jpg")
WAITING = "Choose a photo, or one of the examples, and press the button. Uploads are deleted after an hour."
FITTING = (  # charts come after the page has loaded
    "const inside = this.contentDocument.documentElement;"
    "new ResizeObserver(() => { this.style.height = inside.getBoundingClientRect().height + 'px'; }).observe(inside);"
)
AWAY = 600  # seconds without a picture after which the slower view forgets its visitor
NOTE = (
    "Labels say what people would call the expression that a face shows: an expression is not a feeling. "
    "Pictures are analysed by this server only."
)


def build_page(studio: Studio, token: str) -> gr.Blocks:
    """Return the page; token: what its live tab shows to the websocket."""
    page: gr.Blocks = gr.Blocks(title="Emotion streamer", analytics_enabled=False, delete_cache=(OFTEN, KEPT))
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
        colours={label: hex_colour(label, studio.labels) for label in colours(studio.labels)},
        uncertain=UNCERTAIN,
        jet=JET[:, 0, ::-1].tolist(),
        elem_id="live",
    )
    with gr.Accordion("Without a websocket (slower)", open=False):
        gr.Markdown("Some proxies let no websocket through. This view sends pictures both ways instead.")
        session = gr.State(
            dict, time_to_live=AWAY, delete_callback=lambda state: studio.forget((state or {}).get("stream", ""))
        )
        with gr.Row():
            camera = gr.Image(sources=["webcam"], streaming=True, format="jpeg", label="Camera", type="numpy")
            shown = gr.Image(format="jpeg", label="Analysed", interactive=False, elem_id="fallback")

        def look(image: NDArray[np.uint8] | None, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            if image is None:
                return None, state
            state = state or {"stream": studio.new_stream("camera"), "started": time.monotonic(), "count": 0}
            state = state | {"count": state["count"] + 1}
            at = time.monotonic() - state["started"]
            result = studio.frame(np.ascontiguousarray(image[..., ::-1]), state["stream"], state["count"], at)
            return draw(result)[..., ::-1], state

        camera.stream(
            look, [camera, session], [shown, session], stream_every=0.1, time_limit=300, show_progress="hidden",
            concurrency_limit=1,  # else two pictures of one session could overtake each other
        )  # fmt: skip


def _video(studio: Studio) -> None:
    with gr.Row():
        with gr.Column():
            given = gr.File(label="Video", file_types=["video"], elem_id="video-in")
            go = gr.Button("Analyse", variant="primary", elem_id="video-go")
            gr.Examples([[str(EXAMPLES / "clip.mp4")]], [given], cache_examples=False)
            saved = gr.Files(label="Log and timeline", visible=False, elem_id="video-files")
        with gr.Column():
            shown = gr.Video(label="Annotated", interactive=False, elem_id="video-out")
            note = gr.Markdown(elem_id="video-note")
    timeline = gr.HTML(elem_id="video-timeline")

    def analyse(upload: str | None, progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        path = _given(upload, "a video")
        with told():
            found = studio.video(path, lambda share: progress(share, desc="analysing"))
        return str(found.video), found.note, _framed(found.page), _downloads(found.log, found.page)

    _on_click(go, analyse, [given], [shown, note, timeline, saved])


def _photo(studio: Studio) -> None:
    with gr.Row():
        with gr.Column(scale=1):
            given = gr.File(label="Photo", elem_id="photo-in")
            whole = gr.Checkbox(label="Attention over the whole photo", elem_id="photo-attention")
            go = gr.Button("Analyse", variant="primary", elem_id="photo-go")
            gr.Examples([[str(EXAMPLES / name)] for name in PHOTOS], [given], cache_examples=False)
            saved = gr.Files(label="Report and JSON", visible=False, elem_id="photo-files")
        with gr.Column(scale=3):
            shown = gr.HTML(WAITING, elem_id="photo-out")

    def analyse(upload: str | None, attention: bool) -> tuple[Any, ...]:
        path = _given(upload, "a photo")
        with told():
            files = studio.photo(path, attention=attention)
        return _framed(files[0]), _downloads(*files)

    _on_click(go, analyse, [given, whole], [shown, saved])


def _explain(studio: Studio) -> None:
    with gr.Row():
        with gr.Column(scale=1):
            given = gr.File(label="Photo", elem_id="explain-in")
            go = gr.Button("Explain", variant="primary", elem_id="explain-go")
            gr.Examples([[str(EXAMPLES / name)] for name in PHOTOS], [given], cache_examples=False)
        with gr.Column(scale=3):
            shown = gr.Markdown(WAITING, elem_id="explain-out")

    def analyse(upload: str | None) -> str:
        path = _given(upload, "a photo")
        with told():
            found = studio.explain(path)
        sheets = [base64.b64encode(sheet(one.panels())).decode() for one in found.faces]
        return to_markdown(path.name, found, [f"data:image/png;base64,{data}" for data in sheets])

    _on_click(go, analyse, [given], [shown])


def _on_click(go: gr.Button, analyse: Callable[..., Any], given: list[Any], shown: list[Any]) -> None:
    """Let a button analyse an upload, one of all visitors at a time."""
    go.click(analyse, given, shown, show_progress_on=shown[:1], concurrency_limit=1, concurrency_id="studio")


def _downloads(*files: Path) -> Any:
    return gr.Files([str(file) for file in files], visible=True)


def _given(upload: str | None, wanted: str) -> Path:
    if not upload:
        raise gr.Error(f"Choose {wanted} first.", print_exception=False)
    return Path(upload)


@contextmanager
def told() -> Iterator[None]:
    """Turn what is wrong with an upload into a message in the page."""
    try:
        yield
    except (UserError, OSError) as error:
        raise gr.Error(" ".join(str(error).split()), print_exception=False) from error


def _framed(page: Path) -> str:
    """Show a report inside the page, apart from it and as high as it is."""
    inside = html.escape(page.read_text(encoding="utf-8"), quote=True)
    return (
        f'<iframe title="report" style="width: 100%; height: 30rem; border: 0; border-radius: .5rem" '
        f'onload="{html.escape(FITTING, quote=True)}" srcdoc="{inside}"></iframe>'
    )
