"""Which package imports which: the analyzer never needs what trains its networks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("engines", "streamer", "train")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for part in PARTS for path in (ROOT / part).rglob("*.py")}


def imported(node: ast.stmt) -> list[str]:
    """Return the modules that a statement imports, `from a import b` as a.b where that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [
            f"{node.module}.{one.name}" if f"{node.module}.{one.name}" in MODULES else node.module for one in node.names
        ]
    return []


def imports_of(path: Path) -> set[str]:
    """Return the modules of ours that one imports, at its top or in its functions."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.stmt)]
    return {name for node in nodes for name in imported(node)} & MODULES.keys()


@pytest.mark.parametrize(("part", "never"), [("engines", "streamer"), ("engines", "train"), ("streamer", "train")])
def test_imports_run_one_way(part: str, never: str):
    for name, path in MODULES.items():
        if name.partition(".")[0] == part:
            assert not {one for one in imports_of(path) if one.partition(".")[0] == never}, name
