"""What is broken and mended in a soak: cameras over RTSP and HLS, the service itself, and what is hard to read."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streamer.service.control import Desk
from streamer.sources import Source, State, open_source
from streamer.sources.reconnect import SEGMENT
from tests import hls
from tests.attacks import Attacker, kinds
from tests.faults import Link, Server
from tests.media import ffmpeg
from tests.service.served import TOKEN, Served

TIMEOUT = 2.0  # s; the stall limit of the cameras
OPENING = 3 * TIMEOUT  # s that opening may take, see `Live`
SLACK = 2.0  # s for a machine that does other work beside
LOGIN = "viewer:secret"
SEGMENTS = 2  # s of each segment of the HLS camera
CONNECTIONS = 300  # of an attack
FRAMES = 50  # of the interlaced clip

Fault = tuple[Callable[[], object], Callable[[], object]]
"""What breaks something, and what mends it."""


def nothing() -> None:
    """Do nothing."""


@dataclass
class Victim:
    """Hold what is broken and mended, and what happened to it.

    allowed: s from the mending until it must be well again, the back-off aside.
    """

    name: str
    allowed: float = TIMEOUT + OPENING + SLACK
    newest: float = 0.0  # monotonic time of the newest frame, or at which it was last seen well
    delay: float = 0.0  # s, the longest back-off told since the fault
    failing: bool = False
    recovered: list[tuple[str, float, float]] = field(default_factory=list)  # fault, seconds, seconds allowed
    lost: list[str] = field(default_factory=list)

    def faults(self) -> dict[str, Fault]:
        """Return what breaks and mends it, by name."""
        raise NotImplementedError

    def source(self) -> Source | None:
        """Return the stream that it is from the beginning, if it is one."""
        return None

    def look(self) -> None:
        """Note in `newest` whether it is well, where no frame says so; in the thread of whoever breaks it."""


def link_faults(link: Link) -> dict[str, Fault]:
    def mode(name: str) -> Callable[[], None]:
        return lambda: setattr(link, "mode", name)

    return {name: (mode(name), mode("pass")) for name in ("corrupt", "drop", "slow", "hold", "cut")}


class Rtsp(Victim):
    """Be a camera behind a link."""

    def __init__(self, server: Server, link: Link) -> None:
        super().__init__("")
        self.server, self.link = server, link

    def source(self) -> Source:
        return open_source(self.server.url(LOGIN, port=self.link.port), timeout=TIMEOUT)

    def faults(self) -> dict[str, Fault]:
        server, login = self.server, ("--login", LOGIN)
        return {
            "killed": (server.kill, server.start),
            "restarted": (lambda: server.restart(*login), nothing),
            "frozen": (lambda: server.send(signal.SIGSTOP), lambda: server.send(signal.SIGCONT)),
            "resolution": (lambda: server.restart(*login, "--size", "320x240"), lambda: server.restart(*login)),
            "codec": (lambda: server.restart(*login, "--codec", "jpeg"), lambda: server.restart(*login)),
            "password": (lambda: server.restart("--login", "viewer:other"), lambda: server.restart(*login)),
            **link_faults(self.link),
        }


class Hls(Victim):
    """Be a camera in segments, behind a link."""

    def __init__(self, link: Link) -> None:
        super().__init__("", SEGMENT + OPENING + 3 * SEGMENTS + SLACK)
        self.link = link

    def source(self) -> Source:
        return open_source(f"http://127.0.0.1:{self.link.port}/live.m3u8", timeout=TIMEOUT)

    def faults(self) -> dict[str, Fault]:
        return {f"HLS {name}": fault for name, fault in link_faults(self.link).items()}


class Clip(Victim):
    """Be an interlaced file that comes and is read to its end beside the live streams."""

    def __init__(self, path: Path, desk: Desk) -> None:
        super().__init__("interlaced", 30.0)
        self.path, self.desk = path, desk
        self.service: Served | None = None

    def faults(self) -> dict[str, Fault]:
        return {"interlaced": (nothing, self._come)}

    def _come(self) -> None:
        assert self.service is not None
        pipeline, source = self.service.pipeline, open_source(str(self.path))
        source.name = self.name
        if self.name in pipeline.captures:  # it was not read in time
            self.desk.ask(lambda: pipeline.remove(self.name)).result(10)
            return
        self.desk.ask(lambda: pipeline.add(source)).result(10)

    def look(self) -> None:
        assert self.service is not None
        pipeline = self.service.pipeline
        if pipeline.state(self.name) is State.ENDED and pipeline.captures[self.name].captured == FRAMES:
            self.desk.ask(lambda: pipeline.remove(self.name)).result(10)
            self.newest = time.monotonic()


class Api(Victim):
    """Be the service, under attack: well is that health and the right token are answered."""

    def __init__(self) -> None:
        super().__init__("service")
        self.service: Served | None = None
        self.slowest = 0.0  # s, of health while under attack

    def faults(self) -> dict[str, Fault]:
        return {f"attack: {kind}": self._attack(kind) for kind in kinds()}

    def _attack(self, kind: str) -> Fault:
        attackers: list[Attacker] = []

        def begin() -> None:
            assert self.service is not None
            attackers.append(Attacker(self.service.port, kind, connections=CONNECTIONS, token=TOKEN))
            attackers[-1].__enter__()

        def end() -> None:
            assert self.service is not None
            try:
                self.slowest = max(self.slowest, *(self.service.seconds(path) for path in ("/healthz", "/metrics")))
            except (OSError, http.client.HTTPException, AssertionError):
                self.slowest = 99.0  # none came
            attackers.pop().__exit__(None, None, None)

        return begin, end

    def look(self) -> None:
        assert self.service is not None
        try:
            if self.service.ask() == 200 and self.service.seconds() < 1:
                self.newest = time.monotonic()
        except (OSError, http.client.HTTPException):
            pass


@contextmanager
def hls_camera(folder: Path, seconds: float) -> Iterator[int]:
    """Serve a camera in segments that has so many seconds to show; yield its port."""
    folder.mkdir()
    hls.cut_segments(folder, SEGMENTS, int(seconds / SEGMENTS) + 30)
    with hls.serving(folder, SEGMENTS) as address:
        yield int(address.rpartition(":")[2])


def write_interlaced(path: Path) -> Path:
    """Write 2 s of interlaced H.264, as broadcasters and camcorders do."""
    fields = "testsrc=size=640x480:rate=50,format=yuv420p,interlace=tff"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ildct+ilme", "-top", 1]
    ffmpeg("-f", "lavfi", "-i", fields, "-frames:v", FRAMES, *coding, path)
    return path
