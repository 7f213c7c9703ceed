"""What the command line of training says: a line for what a user can mend, a traceback for a bug."""

from __future__ import annotations

import pytest

from engines.errors import UserError
from train import __main__ as command_line


def test_what_a_user_can_mend_is_one_line_and_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        raise error

    monkeypatch.setattr(command_line, "app", lambda: fail(UserError("expected a number")))
    with pytest.raises(SystemExit, match="2"):
        command_line.run()
    assert capsys.readouterr().err == "error: expected a number\n"
    monkeypatch.setattr(command_line, "app", lambda: fail(ValueError("of NumPy")))
    with pytest.raises(ValueError, match="of NumPy"):
        command_line.run()
