"""All Prometheus metrics, in base units: recorded around stage calls, in the caller's thread, and where events wait."""

from __future__ import annotations

import math
import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from streamer.sources import Cause, State
from streamer.types import Result

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
DETECTED_WITHIN = 0.2  # seconds; a result counts as fresh if every face in it was detected and classified so recently
CLASSIFIED_WITHIN = 0.1


class Metrics:
    """Own the metrics of one run, in a registry of its own, so that runs do not mix.

    Results and states are recorded by the caller's thread, `stage` by the threads of the stages.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        stream = ["stream"]
        self.frames = self._counter("streamer_frames", "Frames captured")
        self.dropped = self._counter("streamer_frames_dropped", "Live frames replaced by newer ones")
        self.results = self._counter("streamer_results", "Frames analysed")
        self.fresh = self._counter(
            "streamer_results_fresh", "Results whose faces were detected and classified just now"
        )
        self.tracks = self._counter("streamer_tracks", "Faces followed so far")
        self.face_records = self._counter("streamer_face_records", "Faces in all results, as a log records them")
        self.detections = self._counter("streamer_detections", "Frames that the detector searched")
        self.classifications = self._counter("streamer_classifications", "Faces classified")
        self.retries = self._counter("streamer_source_retries", "Times a source was lost and tried again")
        self.failures = Counter(
            "streamer_source_failures", "Losses of a source by cause", ["stream", "cause"], registry=self.registry
        )
        self.lost = Counter(
            "streamer_sink_lost", "Results and states that a sink could not take", ["sink"], registry=self.registry
        )
        self.failing = Gauge("streamer_sink_failing", "1 while a sink takes nothing", ["sink"], registry=self.registry)
        self.waiting = Gauge(
            "streamer_events_waiting", "Events on disk that no broker has yet", ["sink"], registry=self.registry
        )
        self.set_aside = Counter(
            "streamer_events_refused", "Events that the broker never took, set aside", ["sink"], registry=self.registry
        )
        self.faces = Gauge("streamer_faces", "Faces in the newest result", stream, registry=self.registry)
        self.state = Gauge(
            "streamer_source_state", "1 for the state a source is in", ["stream", "state"], registry=self.registry
        )
        self.latency = Histogram(
            "streamer_latency_seconds", "From capture to result", stream, buckets=SECONDS, registry=self.registry
        )
        self.stages = Histogram(
            "streamer_stage_seconds", "One call of a stage", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self.batches = Histogram(
            "streamer_stage_batch_size",
            "Frames in one call",
            ["stage"],
            buckets=SIZES,
            registry=self.registry,
        )
        self.labels = Counter(
            "streamer_labels", "Classified faces by the label shown", ["stream", "label"], registry=self.registry
        )
        self.refused = Counter(
            "streamer_answers_refused",
            "Answers that are no numbers, and count as none",
            ["network"],
            registry=self.registry,
        )
        self.changes = self._counter("streamer_label_changes", "Times a followed face was shown another label")
        self.build = Info("streamer_build", "What runs", registry=self.registry)
        self.model = Gauge("streamer_model", "1 for each model", ["path", "sha256"], registry=self.registry)
        self.step = Gauge(
            "streamer_shedding_step",
            "0 nothing is left out, 1 maps, 2 also detections, 3 also classifications, 4 also frames",
            registry=self.registry,
        )
        self.load = Gauge("streamer_load", "Share of the time that the busiest stage works", registry=self.registry)
        self._shown: dict[str, dict[int, str]] = {}  # label by track, by stream
        self.quantiles: defaultdict[str, Quantiles] = defaultdict(Quantiles)
        self.stage_quantiles: defaultdict[str, Quantiles] = defaultdict(Quantiles)
        self._totals: dict[tuple[Counter, str], int] = {}

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, ["stream"], registry=self.registry)

    def describe(self, version: str, models: Mapping[str, str]) -> None:
        """Tell the program's version and the sha256 of the models by path."""
        self.build.info({"version": version, "python": platform.python_version()})
        for path, sha256 in models.items():
            self.model.labels(Path(path).name, sha256).set(1)

    @contextmanager
    def stage(self, name: str, frames: int) -> Iterator[None]:
        """Time one call of a stage with so many frames."""
        self.batches.labels(name).observe(frames)
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.stages.labels(name).observe(seconds)
        self.stage_quantiles[name].add(seconds)

    def record(self, result: Result, *, captured: int, dropped: int) -> None:
        """Count one result; captured and dropped are the stream's totals so far."""
        stream, now = result.frame.stream, result.frame.time
        latency = time.monotonic() - result.frame.captured_at
        self.latency.labels(stream).observe(latency)
        self.quantiles[stream].add(latency)
        self.results.labels(stream).inc()
        self._raise_to(self.frames, stream, captured)
        self._raise_to(self.dropped, stream, dropped)
        self.faces.labels(stream).set(len(result.faces))
        self.face_records.labels(stream).inc(len(result.faces))
        # Ids count the faces of a stream from 1 on, over all streams that had its name.
        self._raise_to(self.tracks, stream, max((face.track_id for face in result.faces), default=0))
        said = [face.expression for face in result.faces if face.expression]
        self.classifications.labels(stream).inc(sum(one.judged and one.time == now for one in said))
        self.detections.labels(stream).inc(result.found is not None)
        self._record_labels(stream, result)
        fresh = len(said) == len(result.faces) and all(now - one.time <= CLASSIFIED_WITHIN for one in said)
        self.fresh.labels(stream).inc(
            fresh and all(now - face.detected_time <= DETECTED_WITHIN for face in result.faces)
        )

    def _record_labels(self, stream: str, result: Result) -> None:
        before = self._shown.get(stream, {})
        said = [(face.track_id, face.expression) for face in result.faces if face.expression]
        for track_id, expression in said:
            if expression.judged and expression.time == result.frame.time:
                self.labels.labels(stream, expression.label).inc()
            if before.get(track_id, expression.label) != expression.label:
                self.changes.labels(stream).inc()
        self._shown[stream] = {track_id: expression.label for track_id, expression in said}

    def _raise_to(self, counter: Counter, label: str, total: int) -> None:
        """Raise a counter of a stream or network to a total that is kept elsewhere."""
        before = self._totals.get((counter, label), 0)
        if total > before:
            counter.labels(label).inc(total - before)
            self._totals[counter, label] = total

    def record_refused(self, totals: Mapping[str, int]) -> None:
        """Count answers that are no numbers; totals: so far, by network."""
        for network, total in totals.items():
            self._raise_to(self.refused, network, total)

    def record_state(self, stream: str, state: State, cause: Cause | None = None) -> None:
        """Show the state of a source, and count the cause of a failure."""
        if cause:
            self.failures.labels(stream, cause.value).inc()
        for one in State:
            self.state.labels(stream, one.value).set(one is state)
        self.retries.labels(stream).inc(state is State.RETRYING)

    def forget(self, stream: str) -> None:
        """Drop all samples of a stream that was removed; its name may come again."""
        counters = (self.frames, self.dropped, self.results, self.fresh, self.tracks, self.detections)
        more = (self.face_records, self.classifications, self.retries, self.failures, self.labels, self.changes)
        for metric in (*counters, *more, self.faces, self.latency, self.state):
            metric.remove_by_labels({"stream": stream})
        self._shown.pop(stream, None)
        self.quantiles.pop(stream, None)
        self._totals = {
            key: total
            for key, total in self._totals.items()
            if key[1] != stream or key[0] in (self.tracks, self.refused)
        }

    def by_stream(self) -> dict[str, dict[str, float]]:
        """Return all samples that belong to a stream, by its name and theirs; read in one pass."""
        found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for sample in (sample for metric in self.registry.collect() for sample in metric.samples):
            if stream := sample.labels.get("stream"):
                found[stream][sample.name] += sample.value
        return found

    def value(self, name: str, **labels: str) -> float:
        """Return one sample, 0 where nothing was recorded yet."""
        return self.registry.get_sample_value(name, labels) or 0.0


class Quantiles:
    """Estimate quantiles of seconds in constant memory: bins 2 % apart from 0.1 ms to 100 s."""

    LOWEST, RATIO = 1e-4, 1.02

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(round(math.log(1e6) / math.log(self.RATIO)) + 1, np.int64)

    def add(self, seconds: float) -> None:
        """Count one value."""
        position = math.log(max(seconds, self.LOWEST) / self.LOWEST) / math.log(self.RATIO)
        self._counts[min(round(position), len(self._counts) - 1)] += 1

    def at(self, share: float) -> float:
        """Return the value below which `share` of all lie, within 2 %; 0.0 where there is none."""
        if not self.count:
            return 0.0
        position = int(np.searchsorted(self._counts.cumsum(), share * self.count))
        return float(self.LOWEST * self.RATIO**position)

    @property
    def count(self) -> int:
        """Return how many values were counted."""
        return int(self._counts.sum())

    def __add__(self, other: Quantiles) -> Quantiles:
        both = Quantiles()
        both._counts = self._counts + other._counts
        return both

    def __sub__(self, earlier: Quantiles) -> Quantiles:
        """Return what was counted since `earlier`, a copy of this."""
        since = Quantiles()
        since._counts = self._counts - earlier._counts
        return since
