"""The command line: `streamer run SOURCE...`. Every error that a user can cause ends here, as one line."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from streamer.commands.packages import check_packages, check_platform

LARGEST_PICTURE = 200_000_000  # pixels: 600 MB decoded
# OpenCV reads its limit when it is first imported, as some of what follows does.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(LARGEST_PICTURE))
check_platform()
check_packages("engines")  # `python -m streamer` finds what lies in the current folder first

import typer  # noqa: E402

import streamer  # noqa: E402
from engines.errors import MissingPackage, UserError  # noqa: E402
from streamer.commands.log import app as log_app  # noqa: E402
from streamer.watching.logs import set_up  # noqa: E402

if TYPE_CHECKING:
    from streamer.config import Config

M_ARENA_MAX, ARENAS = -8, 2  # of malloc.h

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Find faces in cameras, streams, videos and photos, follow them and tell what they express.",
)


ConfigName = Annotated[
    str | None, typer.Option("--config", help="YAML file, or the name of a preset.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key: `--set detector.min_face=60`."),
]

Events = Annotated[
    str | None,
    typer.Option(
        help="Send every record to a broker: kafka://host:9092/topic or mqtt://host/topic (extra `cluster`).",
        show_default=False,
    ),
]


def _settings(config: str | None, overrides: list[str] | None) -> Config:
    """Read the configuration, and give it the user's cache folder where it names none."""
    from streamer.config import Config, load_config, with_cache
    from streamer.sources import prepare_opencv

    prepare_opencv()
    return with_cache(load_config(Config, config or None, overrides or []))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(streamer.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log one JSON object a line, for collectors.")] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Log more; twice for everything.")] = 0,
) -> None:
    set_up(verbose, as_json=json_logs)


@app.command()
def run(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Webcam number (0), stream (rtsp://user:password@camera/path, http://...), video file, picture, "
            "folder of pictures, or a quoted pattern ('photos/*.jpg'). Several are analysed together.",
            show_default=False,
        ),
    ],
    config: ConfigName = None,
    overrides: Overrides = None,
    video: Annotated[Path | None, typer.Option(help="Write the annotated video: out.mp4.", show_default=False)] = None,
    log: Annotated[
        Path | None, typer.Option(help="Write one JSON line a frame: out.jsonl.", show_default=False)
    ] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the totals: summary.json.", show_default=False)] = None,
    events: Events = None,
    window: Annotated[bool, typer.Option("--window", help="Show the result; needs the extra `window`.")] = False,
) -> None:
    """Analyse one or several sources until they end, or until Ctrl-C.

    **Examples**

    `streamer run 0 --window` shows your webcam.

    `streamer run clip.mp4 --video out.mp4 --log out.jsonl` analyses every frame of a file.

    `streamer run rtsp://camera/1 rtsp://camera/2 --log out.jsonl` follows two cameras for as long as you like.

    Exit codes: 0 done, 1 something failed on the way, 2 wrong input or configuration, 130 and 143 ended by a signal.
    """
    from streamer.commands.run import run as run_all
    from streamer.sinks.outputs import Outputs

    outputs = Outputs(video=video, log=log, summary=summary, events=events, window=window)
    raise typer.Exit(run_all(_settings(config, overrides), source, outputs, lambda: _settings(config, overrides)))


@app.command()
def photo(
    image: Annotated[
        list[str],
        typer.Argument(help="Photo, folder of photos, or a quoted pattern ('photos/*.jpg').", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for annotated photos, photos.json and report.html.")],
    config: Annotated[str, typer.Option(help="YAML file, or the name of a preset.")] = "photos",
    overrides: Overrides = None,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html (extra `report`).")] = True,
    attention: Annotated[
        bool, typer.Option("--attention", help="Show where an attention network looks in each whole photo.")
    ] = False,
) -> None:
    """Find every face of photos, small ones too, and tell what each and the whole group express.

    Exit codes: 0 done, 1 some photos could not be read, 2 none could, or a wrong request.
    """
    from streamer.commands.photo import run as run_photos

    raise typer.Exit(run_photos(_settings(config, overrides), image, out, page=page, attention=attention))


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="Photo.")],
    out: Annotated[Path, typer.Option(help="Folder for explain.md, explain.json and a picture of each face.")],
    config: Annotated[str, typer.Option(help="YAML file, or the name of a preset.")] = "photos",
    overrides: Overrides = None,
) -> None:
    """Show why each face of a photo got its answer: maps, hidden cells, rules, and the next most likely emotion."""
    from streamer.commands.explain import run as run_explain

    raise typer.Exit(run_explain(_settings(config, overrides), image, out))


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets the network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    auth: Annotated[str | None, typer.Option(help="NAME:PASSWORD that the page asks for.", show_default=False)] = None,
    seats: Annotated[int, typer.Option(min=1, max=64, help="Browsers that may be live at a time.")] = 8,
    config: Annotated[str | None, typer.Option(help="YAML file, or the name of a preset.", show_default=False)] = None,
    overrides: Overrides = None,
) -> None:
    """Serve the browser demo (extra `demo`): live camera, videos, group photos, explanations.

    Browsers give their camera to pages on localhost or over https only.
    """
    # Gradio reports use and looks for models elsewhere unless told not to before it is imported.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    name, colon, password = (auth or "").partition(":")
    if auth and not (name and colon and password):
        raise UserError("--auth: expected NAME:PASSWORD")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the server raises it again at its end
    with TemporaryDirectory(prefix="streamer-demo-") as folder:
        os.environ.setdefault("GRADIO_TEMP_DIR", folder)  # else one that may be another user's, as it is imported
        try:
            from streamer.demo.server import build_app, serve
        except ImportError as error:
            raise MissingPackage(
                f"the demo needs the extra `demo`: pip install 'emotion-streamer[demo]' ({error})"
            ) from error
        settings, photos = _settings(config, overrides), _settings("photos", overrides)
        serve(build_app(settings, photos, seats=seats, auth=(name, password) if auth else None), host, port)


@app.command()
def report(
    log: Annotated[list[Path], typer.Argument(help="Log of a run, out.jsonl; several make one page.")],
    out: Annotated[Path | None, typer.Option(help="Page to write; LOG.html unless said.", show_default=False)] = None,
    thumbnails: Annotated[
        Path | None,
        typer.Option(help="Video that was analysed: show each face in the page. Off unless given.", show_default=False),
    ] = None,
) -> None:
    """Turn logs into a page with the emotions of every face over time (extra `report`)."""
    from streamer.report.timeline import write
    from streamer.sources import prepare_opencv

    prepare_opencv()
    print(write(log, out or log[0].with_suffix(".html"), thumbnails))


@app.command()
def serve(
    source: Annotated[list[str] | None, typer.Argument(help="Streams to begin with.", show_default=False)] = None,
    config: ConfigName = None,
    overrides: Overrides = None,
    log: Annotated[
        Path | None, typer.Option(help="Write one JSON line a frame: out.jsonl.", show_default=False)
    ] = None,
    events: Events = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="STREAMER_TOKEN", help="What clients must show; one is made otherwise.", show_default=False
        ),
    ] = None,
) -> None:
    """Analyse streams that are added and removed over HTTP; needs the extra `serve`.

    **Examples**

    `streamer serve --token SECRET-WORD` listens on 127.0.0.1:8765.

    `curl -H 'Authorization: Bearer SECRET-WORD' -H 'Content-Type: application/json'
    -d '{"source": "rtsp://camera/1", "name": "door"}' localhost:8765/streams` adds a camera;
    `-X DELETE .../streams/door` removes it, `GET /streams` and `/health` show how all are. `/healthz`, `/readyz` and
    `/metrics` are on `metrics.port`, 8766 unless said.

    `--set serve.state=streams.json` keeps the streams that were added over restarts.

    Exit codes: 2 wrong input or configuration, 130 and 143 ended by a signal.
    """
    try:
        from streamer.service.serve import serve as run_server
        from streamer.sinks.outputs import Outputs
    except ModuleNotFoundError as error:
        raise MissingPackage(f'{error}; pip install "emotion-streamer[serve]" has what serving needs') from error
    outputs = Outputs(log=log, events=events)
    raise typer.Exit(
        run_server(_settings(config, overrides), source or [], outputs, token, lambda: _settings(config, overrides))
    )


@app.command()
def bench(
    source: Annotated[
        Path | None, typer.Option(help="Clip to play; one with --faces is made otherwise.", show_default=False)
    ] = None,
    streams: Annotated[int, typer.Option(min=1, max=256, help="Cameras at once.")] = 1,
    faces: Annotated[int, typer.Option(min=0, max=400, help="Faces in each picture of a made clip.")] = 2,
    size: Annotated[str, typer.Option(help="Width and height of a made clip.")] = "640x480",
    fps: Annotated[float, typer.Option(min=1, max=1000, help="Frames a second of each camera.")] = 30,
    duration: Annotated[float, typer.Option(min=1, help="Seconds to measure, or length of an offline clip.")] = 10,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds that cameras play before they are measured.")] = 3,
    offline: Annotated[
        bool, typer.Option("--offline", help="Read as a file, every frame, as fast as it goes.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write all figures: out.json.", show_default=False)] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the stages: out.png (extra `report`).", show_default=False)
    ] = None,
    config: ConfigName = None,
    overrides: Overrides = None,
) -> None:
    """Measure the capacity of this machine: rates, latency by stage, drops, CPU and memory.

    Cameras are clips that were encoded before and are decoded while they play; the log is written and the overlay
    drawn, nothing is encoded.
    """
    from streamer.commands.bench import Wishes, parse_size
    from streamer.commands.bench import bench as run_bench

    wishes = Wishes(source, streams, faces, parse_size(size), fps, duration, offline, warm_up)
    run_bench(_settings(config, overrides), wishes, out, plot)


@app.command()
def batch(
    source: Annotated[list[str], typer.Argument(help="Videos, folders of pictures, or quoted patterns.")],
    out: Annotated[Path, typer.Option(help="Folder for one partition of Parquet files an input.")],
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster (host:port, ray://...), or `local`.")] = "local",
    config: ConfigName = None,
    overrides: Overrides = None,
) -> None:
    """Analyse many files over a Ray cluster (extra `ray`); what is done is not done again.

    `streamer batch videos/*.mp4 --out records --ray head:6379`

    Exit codes: 0 done, 1 some inputs failed, now or before, 2 wrong request, or a cluster that cannot be reached.
    """
    from streamer.commands.batch import batch as run_batch

    raise typer.Exit(run_batch(_settings(config, overrides), source, out, ray))


@app.command()
def replay(
    manifest: Annotated[Path, typer.Argument(help="Manifest of a run: out.manifest.json beside its log.")],
    log: Annotated[
        Path | None, typer.Option(help="Log to write, instead of NAME.replay.jsonl.", show_default=False)
    ] = None,
) -> None:
    """Run again what a manifest describes and compare the records; files only, and only where they are unchanged.

    Exit codes: 0 the same records, 1 others, 2 the run cannot be repeated.
    """
    from streamer.commands.replay import replay as replay_run
    from streamer.sources import prepare_opencv

    prepare_opencv()
    raise typer.Exit(replay_run(manifest, log))


app.add_typer(log_app, name="log")


def limit_memory() -> None:
    """Let malloc keep few arenas; for a program's start only.

    By default every thread may get an arena of its own, and each keeps what its largest frames took: see
    docs/decisions.md.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def main() -> None:
    """Run the command line; turn errors into one line and exit code 2."""
    limit_memory()
    try:
        app()
    except (UserError, OSError) as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        print(f"streamer: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
