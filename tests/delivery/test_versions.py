"""The lock that the container is made of, what is asked of it, and the versions that are tested beside the newest."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if re.match(r"\w", line)]
EXTRAS = re.findall(r"--extra (\S+)", MAKEFILE)


def wanted() -> list[Requirement]:
    """Return what the container needs: the core and the extras that `make lock` names."""
    lines = PROJECT["dependencies"] + [line for name in EXTRAS for line in PROJECT["optional-dependencies"][name]]
    return [Requirement(line) for line in lines]


def pinned(name: str, python: str) -> str:
    """Return the version that is locked for a Python on Linux."""
    where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    [pin] = [one for one in PINS if one.name == name and (one.marker is None or one.marker.evaluate(where))]
    [only] = pin.specifier
    assert only.operator == "=="
    return only.version


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_what_is_locked_is_what_is_declared(python: str):
    assert {"serve", "cluster", "parquet", "video", "heic"} == set(EXTRAS)
    for one in wanted():
        assert one.specifier.contains(Version(pinned(one.name, python))), f"{one}: say `make lock`"


def test_every_locked_version_has_hashes_and_nothing_says_where_it_came_from():
    blocks = re.split(r"^(?=\w)", LOCK, flags=re.M)[1:]
    assert len(blocks) == len(PINS) > len(wanted())
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_every_dependency_says_the_lowest_version_that_is_tested():
    assert [str(one) for one in wanted() if not any(bound.operator == ">=" for bound in one.specifier)] == []


def test_the_newest_python_is_one_that_runs(tmp_path: Path):
    good, bad = tmp_path / "python3.13", tmp_path / "python3.14"
    good.write_text("#!/bin/sh\necho 3 13\n")
    bad.write_text("#!/bin/sh\nexit 127\n")
    for one in (good, bad):
        one.chmod(0o755)
    command = [sys.executable, str(ROOT / ".ci" / "newest.py")]
    environment = os.environ | {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == f"{good}\n"
    good.unlink()
    none = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert none.stdout == "\n"


def audited(*packages: dict[str, object]) -> tuple[list[str], int]:
    verdict: Callable[..., tuple[list[str], int]] = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["verdict"]
    return verdict("locked", list(packages))


def test_an_audit_without_data_is_no_clean_bill():
    lines, code = audited({"name": "a", "skip_reason": "not found"}, {"name": "b", "skip_reason": "not found"})
    assert code == 0
    assert lines == ["audit: NOT DONE: the package index has no data on weaknesses of any of 2 locked packages"]


def test_an_audit_names_what_is_weak_and_fails():
    weak = {"name": "b", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    well = {"name": "a", "version": "2.0", "vulns": []}
    assert audited(well, weak, {"name": "c", "skip_reason": "not found"}) == (
        ["b 1.0: PYSEC-1, mended in 1.1", "audit: 2 of 3 locked packages looked up, 1 known weaknesses"],
        1,
    )
    assert audited(well) == (["audit: 1 of 1 locked packages looked up, 0 known weaknesses"], 0)
