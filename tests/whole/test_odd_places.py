"""IPv6, users without a home, temporary folders of others, and files whose names mean something to somebody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from streamer.config import Config, ServeConfig, load_config, with_cache
from streamer.service.serve import check_reach
from streamer.service.server import listen
from streamer.sinks.video import VideoSink
from streamer.sources import open_source
from streamer.watching.addresses import place_of
from streamer.watching.health import HealthServer
from tests.conftest import picture
from tests.make import pipeline, result
from tests.media import read, write_video

NOBODY = 54321  # a user id that no system has


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize("address", ["::", "::1", "fe80::1", "1:2:3:4:5:6:7:8"])
def test_an_ipv6_address_is_a_value_of_set(address: str):
    config = load_config(Config, None, [f"metrics.address={address}", f"serve.address={address}"])
    assert (config.metrics.address, config.serve.address) == (address, address)


def test_addresses_are_written_as_in_urls():
    assert [place_of(one, 80) for one in ("::1", "127.0.0.1", "host")] == ["[::1]:80", "127.0.0.1:80", "host:80"]


@ipv6
def test_metrics_and_health_are_served_over_ipv6():
    with HealthServer(pipeline(), 0, "::1") as served:
        with urllib.request.urlopen(f"http://[::1]:{served.port}/metrics", timeout=5) as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match=rf"metrics\.port: \[::1\]:{served.port} cannot be opened"):
            HealthServer(pipeline(), served.port, "::1")


@ipv6
def test_the_service_listens_on_ipv6():
    check_reach(ServeConfig(address="::1"), None)
    with pytest.raises(ValueError, match="open to the network"):
        check_reach(ServeConfig(address="::"), None)
    with listen(ServeConfig(address="::1", port=0)) as opened:
        port = opened.getsockname()[1]
        with (
            pytest.raises(OSError, match=rf"serve\.port: \[::1\]:{port} cannot be opened"),
            listen(ServeConfig(address="::1", port=port)),
        ):
            pass


@ipv6
@pytest.mark.slow
def test_the_demo_starts_on_ipv6_where_another_user_owns_gradios_temporary_folder(tmp_path: Path):
    (tmp_path / "gradio").touch()  # not even root makes a folder below it
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamer", "demo", "--host", "::1", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as demo:
        answered, deadline = False, time.monotonic() + 120
        while not answered and demo.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://[::1]:{port}/", timeout=5).close()
                answered = True
            except OSError:
                time.sleep(0.2)
        demo.terminate()
        told = demo.communicate(timeout=30)[0]
    assert answered, told
    assert f"open http://[::1]:{port} in a browser" in told
    assert [path.name for path in tmp_path.iterdir()] == ["gradio"]  # what it made is gone


def test_a_user_without_a_home_has_no_cache_and_is_told(monkeypatch: pytest.MonkeyPatch, caplog):
    def no_such_user(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    assert with_cache(Config()).cache is None
    assert "no cache for compiled models" in caplog.text


@pytest.mark.slow
def test_a_user_without_home_and_entry_analyses_a_file():
    if os.getuid():
        pytest.skip("needs root, to be another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        clip = write_video(Path(folder) / "clip.avi", 5)
        clip.chmod(0o644)
        command = [sys.executable, "-m", "streamer", "run", str(clip), "--log", f"{folder}/out.jsonl"]
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        where = {"env": environment, "cwd": folder, "user": NOBODY, "group": NOBODY, "extra_groups": ()}
        try:
            subprocess.run([sys.executable, "-c", "import numpy, streamer"], check=True, capture_output=True, **where)
        except (subprocess.CalledProcessError, OSError):
            pytest.skip("another user may not run this Python")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **where)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert Path(folder, "out.jsonl").stat().st_uid == NOBODY


@pytest.mark.parametrize("name", ["2026-03-01T12:30:00.mp4", "100%.mp4", "%d.mp4", "file:%03d.avi", "=1+2 'ü' #?.mkv"])
def test_a_video_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    with VideoSink(Path(name), 25) as video:
        for index in range(5):
            video.write(result(index), picture())
    assert os.listdir() == [name]
    assert len(read(open_source(name)).frames) == 5
