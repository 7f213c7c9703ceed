"""How the code is laid out: no import runs in a circle, and no folder holds more files than one overlooks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("engines", "streamer", "train")
MOST = 14  # Python files of a folder beside its __init__
PEERS = {"train/models", "train/data/sets", "train/analysis"}  # one file each of architectures, data sets, analyses


def modules() -> dict[str, Path]:
    """Return the files of the packages by the names of their modules."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    parts = {file: file.relative_to(ROOT).with_suffix("").parts for file in files}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): file for file, name in parts.items()}


def imports_at_the_top(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run when a module is imported; those for types alone do not."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from imports_at_the_top([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from imports_at_the_top([*node.body, *(one for each in node.handlers for one in each.body)])
        elif isinstance(node, ast.ClassDef | ast.With):
            yield from imports_at_the_top(node.body)


def graph() -> dict[str, set[str]]:
    """Return for each module the modules of ours that it imports."""
    known, found = modules(), {}
    for name, file in known.items():
        needed = set()
        for node in imports_at_the_top(ast.parse(file.read_text(encoding="utf-8")).body):
            if isinstance(node, ast.Import):
                needed |= {alias.name for alias in node.names}
                continue
            assert node.level == 0, f"{name}: expected whole names in imports, found relative ones"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            needed |= {one if one in known else str(node.module) for one in whole}
        found[name] = needed & known.keys() - {name}
    return found


def circle(needs: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, none where there is no circle."""
    left = {name: set(needed) for name, needed in needs.items()}
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    if not left:
        return []
    path = [next(iter(left))]
    while (following := min(left[path[-1]] & left.keys())) not in path:
        path.append(following)
    return [*path[path.index(following) :], following]


def test_no_import_runs_in_a_circle() -> None:
    needs = graph()
    assert len(needs) > 150
    assert "train.loop" in needs["train.expression.fit"]
    assert not (found := circle(needs)), " -> ".join(found)


def test_a_circle_is_found_and_named() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_folder_holds_more_files_than_one_overlooks() -> None:
    counts: dict[str, int] = {}
    for file in modules().values():
        folder = file.parent.relative_to(ROOT).as_posix()
        counts[folder] = counts.get(folder, 0) + (file.name != "__init__.py")
    assert counts.keys() >= PEERS
    assert {name: count for name, count in counts.items() if count > MOST and name not in PEERS} == {}
