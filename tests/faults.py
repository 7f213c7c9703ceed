"""Real partners that misbehave: an RTSP server in a process of its own, and a link that damages what passes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PYTHON = Path("/usr/bin/python3")
ABSENT = 77


class ServerAbsent(Exception):
    """Tell that this system cannot run the RTSP server, and why."""


class Server:
    """Run `rtsp_server.py`; `port` stays the same across restarts."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.port = "0"
        self.start()

    def start(self) -> None:
        """Start with the options as they are now, and wait until clients may come."""
        if not PYTHON.is_file():
            raise ServerAbsent(f"no {PYTHON}, whose PyGObject runs the RTSP server")
        command = [str(PYTHON), str(Path(__file__).with_name("rtsp_server.py")), "--port", self.port, *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().split()
        if not ready:
            _, reason = self.process.communicate()
            if self.process.returncode == ABSENT:
                raise ServerAbsent(reason.strip())
            raise RuntimeError(reason)
        self.port = ready[1]

    def restart(self, *options: str) -> None:
        """Kill it and start it with other options."""
        self.kill()
        self.options = options
        self.start()

    def send(self, what: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.process.pid, what)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()

    def url(self, login: str = "", path: str = "live", port: int | str = "") -> str:
        """Return the address of its stream, or of a link to it at another port."""
        return f"rtsp://{login + '@' if login else ''}127.0.0.1:{port or self.port}/{path}"


class Link:
    """Pass TCP connections on to a port of this machine, and damage what comes back.

    mode: 'pass', 'corrupt' (one byte in 50 is another), 'drop' (one piece in 5 is missing), 'slow' (2 KB/s),
    'hold' (nothing comes), 'cut' (connections are closed in the middle of a piece). It may be changed at any time.
    """

    def __init__(self, port: int | str, seed: int = 0) -> None:
        self.mode = "pass"
        self._target = int(port)
        self._random = random.Random(seed)
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError, OSError):
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), 1)
                except OSError:
                    client.close()
                    continue
                for one, other, damaged in ((client, server, False), (server, client, True)):
                    one.settimeout(0.1)
                    thread = threading.Thread(target=self._pump, args=(one, other, damaged), daemon=True)
                    thread.start()
                    self._threads.append(thread)
            # in a soak, connections come and go for hours
            self._threads = [thread for thread in self._threads if thread.is_alive()]

    def _pump(self, source: socket.socket, target: socket.socket, damaged: bool) -> None:
        with suppress(OSError):
            while not self._closing.is_set():
                try:
                    data = source.recv(4096)
                except TimeoutError:
                    continue
                if not data:
                    break
                if damaged:
                    changed = self._damage(data)
                    if changed is None:
                        break
                    data = changed
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()

    def _damage(self, data: bytes) -> bytes | None:
        mode = self.mode
        if mode == "corrupt":
            return bytes(self._random.randrange(256) if self._random.random() < 0.02 else one for one in data)
        if mode == "drop":
            return b"" if self._random.random() < 0.2 else data
        if mode == "slow":
            self._closing.wait(len(data) / 2000)
        while self.mode == "hold" and not self._closing.is_set():
            time.sleep(0.02)
        return None if mode == "cut" else data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.close()
        for thread in self._threads:
            thread.join()
