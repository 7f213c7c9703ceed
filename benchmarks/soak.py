"""Run streams through random faults for a while; fail where something is gained, lost or late.

One stream plays a clip with faces and is left alone. Of the others each has a fault every few seconds: real cameras,
some over RTSP and one over HLS, behind links, are killed, frozen, damaged, slowed down, changed; an interlaced file
comes and must be read to its end; the control API, served around it all, is attacked in every way of `tests.attacks`.
In the last seconds of each minute nothing new is broken. Checked: every fault is recovered from within the stall limit
plus one back-off step and the opening; memory does not grow; no thread, descriptor or temporary file is left; the p95
latency of the stream that is left alone is the same while others fail or attack; health answers within a second.

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
import shutil
import signal
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

import altair
import cv2
import numpy as np
from scipy.stats import linregress, t

from benchmarks import report
from benchmarks.victims import LOGIN, Api, Clip, Hls, Rtsp, Victim, hls_camera, write_interlaced
from streamer.__main__ import limit_memory
from streamer.bench.scene import Played, write_scene
from streamer.build import Stages, build_stages
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.pipeline import Pipeline
from streamer.records.journal import JournalSettings
from streamer.service.control import Desk
from streamer.sinks.log import LogSink
from streamer.sources import Cause, State, prepare_opencv
from streamer.types import Frame
from streamer.watching.door import Door
from streamer.watching.metrics import Metrics
from tests.faults import Link, Server, ServerAbsent
from tests.service.served import served

LASTING = 2.0, 4.0  # s that a fault lasts
PAUSE = 2.0, 5.0  # s between the faults of one
CALM = 15.0  # s at the end of each minute in which no fault begins, so that there is a time without any
WARM_UP = 1200.0  # s, at most a third of the time: memory rises in steps at first, see docs/decisions.md
SLOPE = 8.0  # MB an hour, upper bound of the slope, for runs of half an hour and more
GROWTH = 25.0  # MB between the halves of a shorter one
# For long runs too: ratio of the p95 while another stream fails to that while none does; restarts take time.
LATER = 2.0
HEALTHY = 1.0, 5.0  # s in which health answers under attack, in runs of half an hour and more, and in shorter ones


def sabotage(victim: Victim, ended: threading.Event, seed: int) -> None:
    """Break and mend one until the run ends, and note how long each recovery took."""
    chance = random.Random(seed)
    ways = victim.faults()
    left: list[str] = []
    while not ended.wait(chance.uniform(*PAUSE)):
        if time.monotonic() % 60 > 60 - CALM:
            continue
        left = left or chance.sample(sorted(ways), len(ways))  # every kind in turn, in any order
        name = left.pop()
        fault, mend = ways[name]
        victim.failing, victim.delay = True, 0.0
        fault()
        ended.wait(chance.uniform(*LASTING))
        mend()
        mended = time.monotonic()
        while victim.newest <= mended and time.monotonic() - mended < victim.allowed + victim.delay:
            if ended.wait(0.02):  # nobody reads any more
                return
            victim.look()
        seconds = time.monotonic() - mended
        if victim.newest > mended:
            victim.recovered.append((name, seconds, victim.allowed + victim.delay))
        else:
            victim.lost.append(name)
        victim.failing = False


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


Latencies = dict[str, "array[float]"]
"""Of the good stream in s: while nothing fails, while others do, and while the API is attacked, whatever else fails."""


def run(
    seconds: float, victims: Sequence[Victim], desk: Desk, folder: Path, clip: Path, file: TextIO | None = None
) -> tuple[list[Sample], Latencies]:
    """Analyse for so long; return samples once a second, and latencies of the good stream.

    desk: where victims ask the pipeline's thread.
    """
    sources: list[Any] = [Played("good", clip, 10.0)]
    by_name: dict[str, Victim] = {}
    for victim in victims:
        if source := victim.source():
            victim.name = source.name
            by_name[source.name] = victim
            sources.append(source)
    ended = threading.Event()
    taken: list[Sample] = []
    # a list of floats would itself grow by 1 MB an hour
    latencies: Latencies = {name: array("d") for name in ("nothing", "others", "attack")}

    def on_state(stream: str, state: State, reason: str, cause: Cause | None) -> None:
        if state is State.RETRYING:
            by_name[stream].delay = max(by_name[stream].delay, float(reason.split()[-2]))

    threads = [
        threading.Thread(target=sabotage, args=(victim, ended, seed)) for seed, victim in enumerate(victims, start=1)
    ]
    stages = build_stages(Config())
    pipeline = stages.pipeline(sources, Metrics(), on_state, desk.work, keep_open=True)
    meet_every_batch(stages, clip, len(sources))
    with (
        LogSink(folder / "log.jsonl", settings=JournalSettings(rotate_bytes=1 << 20, retention=60)) as log,
        pipeline as results,
        served(pipeline, desk, Door()) as service,
    ):
        for one in victims:
            if isinstance(one, Clip | Api):
                one.service = service
        for thread in threads:
            thread.start()
        consume(results, log, by_name, victims, latencies, taken, time.monotonic(), seconds, folder, file)
        ended.set()
        while any(thread.is_alive() for thread in threads):
            desk.work()
            time.sleep(0.02)
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
    by_name: dict[str, Victim],
    victims: Sequence[Victim],
    latencies: Latencies,
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
        if victim := by_name.get(stream):
            victim.newest = result.frame.captured_at
        elif stream == "good":
            failing = [one for one in victims if one.failing]
            attacked = any(isinstance(one, Api) for one in failing)
            kind = "attack" if attacked else "others" if failing else "nothing"
            latencies[kind].append(now - result.frame.captured_at)
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
    samples: list[Sample], latencies: Latencies, victims: Sequence[Victim], left: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the table of results, and what is wrong."""
    warm = [one for one in samples if one.at > warm_up(samples)]
    half = len(warm) // 2
    growth = float(np.median([one.memory for one in warm[half:]]) - np.median([one.memory for one in warm[:half]]))
    grows, bound = slope(warm)
    done = [one for victim in victims for one in victim.recovered]
    lost = [name for victim in victims for name in victim.lost]
    slowest = max((one.slowest for one in victims if isinstance(one, Api)), default=0.0)
    calm = max(p95(latencies["nothing"]), 1e-9)
    wrong = [f"{len(lost)} faults not recovered from in time: {', '.join(lost)}"] if lost else []
    long = samples[-1].at >= 1800
    if long and bound >= SLOPE:
        wrong.append(f"memory grows by {grows:.1f} MB/h, upper bound {bound:.1f}, allowed {SLOPE:g}")
    if not long and growth > GROWTH:
        wrong.append(f"memory grew by {growth:.1f} MB from one half to the other, allowed {GROWTH:g}")
    for kind in ("others", "attack"):
        ratio = p95(latencies[kind]) / calm
        if long and latencies["nothing"] and ratio > LATER:  # a short run has too few of them: it only reports
            wrong.append(f"p95 of the stream left alone is {ratio:.2f} times as long ({kind})")
    if slowest > HEALTHY[0 if long else 1]:
        wrong.append(f"health took {slowest:.1f} s to answer under attack")
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
        {"what": "p95 of the stream left alone, nothing failing, ms", "value": round(p95(latencies["nothing"]), 1)},
        {"what": "p95 of it, others failing, ms", "value": round(p95(latencies["others"]), 1)},
        {"what": "p95 of it, the API under attack, ms", "value": round(p95(latencies["attack"]), 1)},
        {"what": "health under attack, slowest s", "value": round(slowest, 3)},
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


def open_victims(stack: ExitStack, cameras: int, desk: Desk, folder: Path, seconds: float) -> list[Victim]:
    """Start what is to be broken; the stack ends it. Raises ServerAbsent where there is no RTSP server."""
    victims: list[Victim] = [Api()]
    for seed in range(cameras):
        server = Server("--login", LOGIN)
        stack.callback(server.kill)
        stack.callback(server.send, signal.SIGCONT)
        victims.append(Rtsp(server, stack.enter_context(Link(server.port, seed))))
    if shutil.which("ffmpeg"):
        port = stack.enter_context(hls_camera(folder / "hls", seconds))
        victims.append(Hls(stack.enter_context(Link(port, cameras))))
        victims.append(Clip(write_interlaced(folder / "interlaced.mp4"), desk))
    else:
        print("soak: no HLS camera and no interlaced file: they need the ffmpeg program")
    return victims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--name", help="write results under this name")
    parser.add_argument("--samples", type=Path, help="write what the process had each second, as CSV")
    given = parser.parse_args()
    limit_memory()
    prepare_opencv()
    with tempfile.TemporaryDirectory() as name:
        folder, desk = Path(name), Desk()
        clip = write_scene(folder / "clip.mp4", 640, 480, 2, 10.0, 100)
        run(2.0, [], desk, folder, clip)  # what is loaded once is no leak
        before = sample(0.0, folder)
        try:
            with ExitStack() as stack:
                victims = open_victims(stack, given.cameras, desk, folder, 60 * given.minutes)
                with given.samples.open("w", buffering=1) if given.samples else nullcontext() as file:
                    samples, latencies = run(60 * given.minutes, victims, desk, folder, clip, file)
        except ServerAbsent as absent:
            print(f"soak: skipped: {absent}")
            return
        deadline = time.monotonic() + 30
        while threading.active_count() > before.threads and time.monotonic() < deadline:
            time.sleep(0.1)  # readers that were given up
        gc.collect()
        after = sample(0.0, folder)
    left = [
        f"{now - then} {what}"
        for what, now, then in (
            ("threads", after.threads, before.threads), ("descriptors", after.descriptors, before.descriptors),
        )
        if now > then
    ]  # fmt: skip
    rows, wrong = judge(samples, latencies, victims, left)
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
