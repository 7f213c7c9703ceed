"""Run streams through random faults for a while; fail where something is gained, lost or late.

One stream plays a clip with faces and is left alone; each of the others is a real RTSP camera behind a link, and has a
fault every few seconds: killed, frozen, damaged, slowed down, changed. Checked: every fault is recovered from within
the stall limit plus one back-off step and the opening; memory does not grow; no thread, descriptor or temporary file is
left; the p95 latency of the stream that is left alone is the same while another fails.

Usage: python -m benchmarks.soak [--minutes 3] [--cameras 3] [--name soak] [--samples FILE]
       (results and a plot are written where --name is given; --samples writes what the process had each second while
       it runs, as CSV, so that a run that is cut short can be read)
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

import altair
import cv2
import numpy as np
from scipy.stats import linregress, t

from benchmarks import report
from streamer.__main__ import limit_memory
from streamer.bench.scene import Played, write_scene
from streamer.build import Stages, build_stages
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.pipeline import Pipeline
from streamer.records.journal import JournalSettings
from streamer.sinks.log import LogSink
from streamer.sources import Cause, State, open_source, prepare_opencv
from streamer.types import Frame
from streamer.watching.metrics import Metrics
from tests.faults import Link, Server, ServerAbsent

TIMEOUT = 2.0  # s; the stall limit of these cameras
OPENING = 3 * TIMEOUT  # s that opening may take, see `Live`
SLACK = 2.0  # s for a machine that does other work beside
LASTING = 2.0, 4.0  # s that a fault lasts
PAUSE = 2.0, 5.0  # s between the faults of a camera
WARM_UP = 1200.0  # s, at most a third of the time: memory rises in steps at first, see docs/decisions.md
SLOPE = 8.0  # MB an hour, upper bound of the slope, for runs of half an hour and more
GROWTH = 25.0  # MB between the halves of a shorter one
# For long runs too: ratio of the p95 while another stream fails to that while none does; restarts take time.
LATER = 2.0
LOGIN = "viewer:secret"


@dataclass
class Camera:
    """Hold a camera, its link, and what happened to it."""

    server: Server
    link: Link
    name: str = ""
    newest: float = 0.0  # monotonic time of the newest frame
    delay: float = 0.0  # s, the longest back-off told since the fault
    failing: bool = False
    recovered: list[tuple[str, float, float]] = field(default_factory=list)  # fault, seconds, seconds allowed
    lost: list[str] = field(default_factory=list)


def faults(camera: Camera) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """Return what breaks and mends the camera, by name."""

    def mode(name: str) -> Callable[[], None]:
        return lambda: setattr(camera.link, "mode", name)

    def nothing() -> None:
        pass

    server, login = camera.server, ("--login", LOGIN)
    return {
        "killed": (server.kill, server.start),
        "restarted": (lambda: server.restart(*login), nothing),
        "frozen": (lambda: server.send(signal.SIGSTOP), lambda: server.send(signal.SIGCONT)),
        "resolution": (lambda: server.restart(*login, "--size", "320x240"), lambda: server.restart(*login)),
        "codec": (lambda: server.restart(*login, "--codec", "jpeg"), lambda: server.restart(*login)),
        "password": (lambda: server.restart("--login", "viewer:other"), lambda: server.restart(*login)),
        **{name: (mode(name), mode("pass")) for name in ("corrupt", "drop", "slow", "hold", "cut")},
    }


def sabotage(camera: Camera, ended: threading.Event, seed: int) -> None:
    """Break and mend one camera until the run ends, and note how long each recovery took."""
    chance = random.Random(seed)
    ways = faults(camera)
    left: list[str] = []
    while not ended.wait(chance.uniform(*PAUSE)):
        left = left or chance.sample(sorted(ways), len(ways))  # every kind in turn, in any order
        name = left.pop()
        fault, mend = ways[name]
        camera.failing, camera.delay = True, 0.0
        fault()
        ended.wait(chance.uniform(*LASTING))
        mend()
        mended = time.monotonic()
        allowed = TIMEOUT + OPENING + SLACK
        while camera.newest <= mended and time.monotonic() - mended < allowed + camera.delay:
            if ended.wait(0.02):  # nobody reads any more
                return
        seconds = time.monotonic() - mended
        if camera.newest > mended:
            camera.recovered.append((name, seconds, allowed + camera.delay))
        else:
            camera.lost.append(name)
        camera.failing = False


@dataclass(slots=True)
class Sample:
    """Hold what the process had at a moment: MB resident, threads, descriptors, temporary files."""

    at: float
    memory: float
    threads: int
    descriptors: int
    files: int


def sample(started: float, folder: Path) -> Sample:
    """Look at this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        time.monotonic() - started,
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        threading.active_count(),
        len(os.listdir("/proc/self/fd")),
        sum(1 for _ in folder.iterdir()),
    )


def run(
    seconds: float, cameras: list[Camera], folder: Path, clip: Path, file: TextIO | None = None
) -> tuple[list[Sample], dict[bool, array[float]]]:
    """Analyse for so long; return samples once a second, and latencies of the good stream while others fail or not."""
    sources: list[Any] = [Played("good", clip, 10.0)]
    for camera in cameras:
        source = open_source(camera.server.url(LOGIN, port=camera.link.port), timeout=TIMEOUT)
        camera.name = source.name
        sources.append(source)
    by_name = {camera.name: camera for camera in cameras}
    ended, started, taken = threading.Event(), time.monotonic(), []
    latencies = {False: array("d"), True: array("d")}  # a list of floats would itself grow by 1 MB an hour

    def on_state(stream: str, state: State, reason: str, cause: Cause | None) -> None:
        if state is State.RETRYING:
            by_name[stream].delay = max(by_name[stream].delay, float(reason.split()[-2]))

    threads = [
        threading.Thread(target=sabotage, args=(camera, ended, seed)) for seed, camera in enumerate(cameras, start=1)
    ]
    stages = build_stages(Config())
    pipeline = stages.pipeline(sources, Metrics(), on_state)
    meet_every_batch(stages, clip, len(sources))
    with (
        LogSink(folder / "log.jsonl", settings=JournalSettings(rotate_bytes=1 << 20, retention=60)) as log,
        pipeline as results,
    ):
        for thread in threads:
            thread.start()
        consume(results, log, by_name, latencies, taken, started, seconds, folder, file)
        ended.set()
        for thread in threads:
            thread.join()
    return taken, latencies


def meet_every_batch(stages: Stages, clip: Path, streams: int) -> None:
    """Show the engines what so many streams of these sizes can bring at once, often enough for graphs of their own.

    An engine compiles one for each size of batch that it has met ten times. That takes some MB once, but else at any
    time: whenever frames happen to come together, or a face is judged by a part of it.
    """
    _, image = cv2.VideoCapture(str(clip)).read()
    half = image.copy()
    half[:, image.shape[1] // 2 :] = 0
    for picture in (half, image, cv2.resize(image, (320, 240))):
        for count in range(1, streams + 1):
            for turn in range(15):
                names = [f"{id(picture)}-{count}-{number}" for number in range(count)]
                frames = [Frame(picture, name, turn, turn / 10, time.monotonic()) for name in names]
                stages.finish(stages.perceive(frames))
    engines = [*stages.express.judges.values(), stages.perceive.landmarker.engine]
    for engine in dict.fromkeys(engines):
        for count in range(1, 9):
            for _ in range(10):
                shape = count, engine.spec.height, engine.spec.width, engine.spec.channels
                engine.infer(np.zeros(shape, np.uint8))


def consume(
    results: Pipeline,
    log: LogSink,
    by_name: dict[str, Camera],
    latencies: dict[bool, array[float]],
    taken: list[Sample],
    started: float,
    seconds: float,
    folder: Path,
    file: TextIO | None,
) -> None:
    """Draw and log every result for so many seconds."""
    rows = csv.writer(file) if file else None
    if rows:
        rows.writerow(column.name for column in fields(Sample))
    for result in results:
        draw(result)
        log.write(result)
        now, stream = time.monotonic(), result.frame.stream
        if camera := by_name.get(stream):
            camera.newest = result.frame.captured_at
        else:
            latencies[any(one.failing for one in by_name.values())].append(now - result.frame.captured_at)
        if now - started > len(taken):
            taken.append(sample(started, folder))
            if rows:
                rows.writerow(astuple(taken[-1]))
        if now - started > seconds:
            return


def slope(samples: list[Sample]) -> tuple[float, float]:
    """Return the slope of memory in MB an hour, and its upper 95 % bound, over means of 30 s."""
    blocks = np.array_split(np.array([[one.at / 3600, one.memory] for one in samples]), max(3, len(samples) // 30))
    means = np.array([block.mean(axis=0) for block in blocks])
    fit = linregress(means[:, 0], means[:, 1])
    return float(fit.slope), float(fit.slope + t.ppf(0.95, len(means) - 2) * fit.stderr)


def draw_plot(samples: list[Sample], path: Path) -> None:
    """Draw memory, threads and descriptors over the minutes, the warm-up in another colour."""
    warm = warm_up(samples)
    rows = [
        {"minute": one.at / 60, "what": what, "value": value, "part": "warm-up" if one.at <= warm else "judged"}
        for one in samples[:: max(1, len(samples) // 600)]
        for what, value in (("memory, MB", one.memory), ("threads", one.threads), ("descriptors", one.descriptors))
    ]
    charts = [
        altair.Chart(altair.InlineData(values=[row for row in rows if row["what"] == what]), width=640, height=120)
        .mark_line(strokeWidth=1)
        .encode(
            x=altair.X("minute:Q"),
            y=altair.Y("value:Q", title=what, scale=altair.Scale(zero=what != "memory, MB")),
            color=altair.Color("part:N", title=None),
        )
        for what in dict.fromkeys(row["what"] for row in rows)
    ]
    altair.vconcat(*charts).save(str(path))


def warm_up(samples: list[Sample]) -> float:
    """Return how many seconds at the beginning are not judged."""
    return min(WARM_UP, samples[-1].at / 3)


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile in ms, 0 of nothing."""
    return float(1000 * np.quantile(values, 0.95)) if values else 0.0


def judge(
    samples: list[Sample], latencies: dict[bool, array[float]], cameras: list[Camera], left: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the table of results, and what is wrong."""
    warm = [one for one in samples if one.at > warm_up(samples)]
    half = len(warm) // 2
    growth = float(np.median([one.memory for one in warm[half:]]) - np.median([one.memory for one in warm[:half]]))
    grows, bound = slope(warm)
    done = [one for camera in cameras for one in camera.recovered]
    lost = [name for camera in cameras for name in camera.lost]
    ratio = p95(latencies[True]) / max(p95(latencies[False]), 1e-9)
    wrong = [f"{len(lost)} faults not recovered from in time: {', '.join(lost)}"] if lost else []
    long = samples[-1].at >= 1800
    if long and bound >= SLOPE:
        wrong.append(f"memory grows by {grows:.1f} MB/h, upper bound {bound:.1f}, allowed {SLOPE:g}")
    if not long and growth > GROWTH:
        wrong.append(f"memory grew by {growth:.1f} MB from one half to the other, allowed {GROWTH:g}")
    if long and latencies[False] and ratio > LATER:  # a short run has too few of them: it only reports
        wrong.append(f"p95 of the stream left alone is {ratio:.2f} times as long while another fails")
    if max(one.files for one in warm) > 30:
        wrong.append("temporary files pile up")
    rows: list[dict[str, Any]] = [
        {"what": "minutes", "value": round(samples[-1].at / 60, 1)},
        {"what": "faults recovered", "value": f"{len(done)} of {len(done) + len(lost)}"},
        {"what": "recovery, median s", "value": round(float(np.median([one[1] for one in done])), 2) if done else "-"},
        {"what": "recovery, longest s", "value": round(max(one[1] for one in done), 2) if done else "-"},
        {"what": "memory, MB at the end", "value": round(samples[-1].memory, 1)},
        {"what": "memory, growth between halves MB", "value": round(growth, 2)},
        {"what": "memory, slope MB/h (upper 95 % bound)", "value": f"{grows:.1f} ({bound:.1f})"},
        {"what": "p95 of the other stream, nobody failing, ms", "value": round(p95(latencies[False]), 1)},
        {"what": "p95 of the other stream, somebody failing, ms", "value": round(p95(latencies[True]), 1)},
        {"what": "left at the end", "value": ", ".join(left) or "nothing"},
    ]
    by_kind: dict[str, list[float]] = {}
    for name, seconds, _ in done:
        by_kind.setdefault(name, []).append(seconds)
    rows += [
        {"what": f"{name}: recovery, median s (number)", "value": f"{np.median(of):.2f} ({len(of)})"}
        for name, of in sorted(by_kind.items())
    ]
    return rows, wrong + [f"left at the end: {one}" for one in left]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--name", help="write results under this name")
    parser.add_argument("--samples", type=Path, help="write what the process had each second, as CSV")
    given = parser.parse_args()
    limit_memory()
    prepare_opencv()
    cameras: list[Camera] = []
    try:
        for seed in range(given.cameras):
            server = Server("--login", LOGIN)
            cameras.append(Camera(server, Link(server.port, seed)))
    except ServerAbsent as absent:
        print(f"soak: skipped: {absent}")
        return
    with tempfile.TemporaryDirectory() as folder:
        clip = write_scene(Path(folder) / "clip.mp4", 640, 480, 2, 10.0, 100)
        run(2.0, cameras[:0], Path(folder), clip)  # what is loaded once is no leak
        before = sample(0.0, Path(folder))
        with given.samples.open("w", buffering=1) if given.samples else nullcontext() as file:
            samples, latencies = run(60 * given.minutes, cameras, Path(folder), clip, file)
        for camera in cameras:
            camera.link.__exit__(None, None, None)
            camera.server.send(signal.SIGCONT)
            camera.server.kill()
        deadline = time.monotonic() + 30
        while threading.active_count() > before.threads and time.monotonic() < deadline:
            time.sleep(0.1)  # readers that were given up
        gc.collect()
        after = sample(0.0, Path(folder))
    links = 2 * len(cameras)  # descriptors of listeners and pipes that were open before
    left = [f"{after.threads - before.threads} threads"] if after.threads > before.threads - len(cameras) else []
    if after.descriptors > before.descriptors - links:
        left.append(f"{after.descriptors - before.descriptors + links} descriptors")
    rows, wrong = judge(samples, latencies, cameras, left)
    notes = "Wrong: " + "; ".join(wrong) if wrong else "Nothing wrong."
    if given.name:
        report.write(given.name, "Streams under random faults", rows, notes)
        draw_plot(samples, report.RESULTS / f"{given.name}.png")
    else:
        for row in rows:
            print(f"{row['what']}: {row['value']}")
        print(notes)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
