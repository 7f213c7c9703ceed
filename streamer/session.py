"""The caller's loop, which `run` and `serve` share: results to sinks, states told, reloads, the end on a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import streamer
from streamer.build import build_stages
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.records.run_manifest import model_hashes
from streamer.service.reload import reload
from streamer.service.signals import Signals
from streamer.sinks import Enduring
from streamer.sinks.outputs import Outputs, open_sinks
from streamer.sources import Cause, Source, SourceError, State
from streamer.types import Result
from streamer.watching.health import HealthServer
from streamer.watching.metrics import Metrics


class Terminal(Protocol):
    """Show the user what happens."""

    def say(self, line: str) -> None:
        """Print a line."""
        ...

    def tell(self, stream: str, state: State, reason: str) -> None:
        """Show the new state of a source, and why."""
        ...


class Session:
    """Join a pipeline with its sinks, the terminal and the signals; belongs to the main thread.

    read_config: gives the configuration again, on SIGHUP. on_poll, keep_open: see `Pipeline`. exit_code: 0, or what a
    signal that ended the run asks for.

    Raises UserError or OSError for what is wrong with configuration or models.
    """

    def __init__(
        self,
        config: Config,
        sources: Sequence[Source],
        terminal: Terminal,
        signals: Signals,
        read_config: Callable[[], Config] | None = None,
        *,
        on_poll: Callable[[], None] = lambda: None,
        keep_open: bool = False,
    ) -> None:
        self.metrics = Metrics()
        self._config, self._sources = config, sources
        self._terminal, self._signals = terminal, signals
        self._read_config, self._more = read_config, on_poll
        self._sinks: list[Enduring] = []
        self._stages = build_stages(config)
        self.pipeline = self._stages.pipeline(sources, self.metrics, self._on_state, self._on_poll, keep_open=keep_open)

    def open(self, stack: ExitStack, names: Sequence[str], outputs: Outputs) -> None:
        """Open the sinks that are asked for; the stack closes them. names: of the sources, as given.

        Raises UserError or OSError.
        """
        labels = self._stages.express.engine.spec.labels
        opened = open_sinks(stack, outputs, self._config, names, self._sources, self.metrics, labels)
        self._sinks += [Enduring(name, sink, self.metrics, self._terminal.say) for name, sink in opened.items()]

    def watch(self, stack: ExitStack, port: int) -> HealthServer:
        """Serve health and metrics until the stack closes. Raises OSError where the port cannot be opened."""
        self.metrics.describe(streamer.__version__, model_hashes(self._config))
        return stack.enter_context(HealthServer(self.pipeline, port, self._config.metrics.address))

    def consume(self, count: Callable[[Result], None] = lambda result: None) -> None:
        """Hand every result to every sink and to `count`; the overlay is drawn once, and only where a sink wants it.

        Raises the failure of a single source before its first frame; others are for whoever reads `pipeline.failures`.
        """
        overlay, wanted = self._config.overlay, any(sink.wants_picture for sink in self._sinks)
        try:
            with self.pipeline as results:
                for result in results:
                    picture = draw(result, details=overlay.bars, maps=overlay.cam) if wanted else None
                    for sink in self._sinks:
                        sink.write(result, picture)
                    count(result)
        except SourceError as error:
            alone = len(self.pipeline.captures) == 1 and not self.pipeline.captured
            if alone or error not in self.pipeline.failures.values():
                raise

    @property
    def failures(self) -> list[OSError]:
        """Return what sinks failed of, with how much each has lost."""
        return [OSError(f"{sink.failure}; {sink.lost} records were lost") for sink in self._sinks if sink.failure]

    @property
    def exit_code(self) -> int:
        """Return what a signal that ended the run asks for, 0 where none did."""
        return 128 + self._signals.ending if self._signals.ending else 0

    def _on_state(self, stream: str, state: State, reason: str, cause: Cause | None) -> None:
        self._terminal.tell(stream, state, reason)
        for sink in self._sinks:
            sink.write_state(stream, state, reason, cause)

    def _on_poll(self) -> None:
        self._more()
        if self._read_config and self._signals.take_reload():
            self._config = reload(self._stages, self._config, self._read_config)
        if self._signals.ending or any(sink.closed for sink in self._sinks):
            self.pipeline.stop()
