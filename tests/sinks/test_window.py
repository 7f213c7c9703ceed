from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

from streamer.sinks.window import WindowSink, tile
from tests.conftest import picture
from tests.make import result


@pytest.fixture
def pygame(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return pygame with SDL's driver that has no display."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return pytest.importorskip("pygame", reason='needs pygame: pip install "emotion-streamer[window]"')


def colour(pygame: Any, x: int, y: int) -> tuple[int, int, int]:
    red, green, blue, _ = pygame.display.get_surface().get_at((x, y))
    return red, green, blue


def test_shows_the_newest_picture_in_its_colours(pygame: Any) -> None:
    orange = np.full((48, 64, 3), (0, 128, 255), np.uint8)
    with WindowSink("test", size=(320, 240)) as sink:
        sink.write(result(), picture(0))
        sink.write(result(), orange)
        assert colour(pygame, 160, 120) == (255, 128, 0)
        assert not sink.closed
        assert pygame.display.get_caption()[0] == "test"
    assert not pygame.display.get_init()


def test_keeps_the_shape_of_a_picture(pygame: Any) -> None:
    with WindowSink("test", size=(320, 240)) as sink:
        sink.write(result(), np.full((100, 400, 3), 255, np.uint8))
        assert colour(pygame, 160, 120) == (255, 255, 255)
        assert colour(pygame, 160, 20) != (255, 255, 255)


def test_shows_several_streams_side_by_side(pygame: Any) -> None:
    with WindowSink("test", size=(320, 240)) as sink:
        for stream, level in (("a", 50), ("b", 100), ("c", 150), ("a", 60)):
            sink.write(result(stream=stream), picture(level))
        assert [colour(pygame, x, y)[0] for x, y in ((80, 60), (240, 60), (80, 180))] == [60, 100, 150]
        assert colour(pygame, 240, 180)[0] < 50


def test_follows_the_size_of_the_window(pygame: Any) -> None:
    with WindowSink("test", size=(320, 240)) as sink:
        sink.write(result(), picture(200))
        pygame.display.set_mode((640, 480), pygame.RESIZABLE)
        pygame.event.post(pygame.event.Event(pygame.VIDEORESIZE, size=(640, 480), w=640, h=480))
        assert not sink.closed
        assert colour(pygame, 600, 440) == (200, 200, 200)


@pytest.mark.parametrize("how", ["q", "escape", "close"])
def test_tells_when_the_user_wants_to_end(pygame: Any, how: str) -> None:
    events = {
        "q": pygame.event.Event(pygame.KEYDOWN, key=pygame.K_q),
        "escape": pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE),
        "close": pygame.event.Event(pygame.QUIT),
    }
    with WindowSink("test") as sink:
        sink.write(result(), picture())
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a))
        assert not sink.closed
        pygame.event.post(events[how])
        sink.write(result(), picture())
        assert sink.closed
        sink.write(result(), picture())


def test_closes_the_window_after_an_error(pygame: Any) -> None:
    def run() -> None:
        with WindowSink("test"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert not pygame.display.get_init()


def test_says_that_there_is_no_display(pygame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for driver in ("offscreen", "no-such-driver"):
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
        with pytest.raises(OSError, match="cannot open a window"):
            WindowSink("test")
        assert not pygame.display.get_init()


def test_works_in_the_main_thread_only(pygame: Any) -> None:
    caught: list[Exception] = []

    def work() -> None:
        try:
            WindowSink("test")
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "expected the main thread" in str(caught[0])


def test_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ImportError, match=r'pip install "emotion-streamer\[window\]"'):
        WindowSink("test")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_tiles_fill_the_window_without_overlap(count: int) -> None:
    covered = np.zeros((101, 203), int)
    for index in range(count):
        x, y, width, height = tile(index, count, (203, 101))
        covered[y : y + height, x : x + width] += 1
    assert covered.max() == 1
    assert covered.mean() > 0.5
