from __future__ import annotations

import sys

import pytest


@pytest.fixture(params=["pyav", "opencv"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have a test run once with the extra `video` and once as without it."""
    if request.param == "pyav":
        pytest.importorskip("av", reason="needs the extra `video`")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    return str(request.param)


@pytest.fixture
def _pyav() -> None:
    pytest.importorskip("av", reason="needs the extra `video`")


@pytest.fixture
def _only_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
