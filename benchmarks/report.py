"""Write a benchmark's figures as JSON and Markdown, with machine, date and the command that made them."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamer.watching.machine import cores, processor

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Name processor, cores and Python, and what else the machine was doing."""
    load = f"load {os.getloadavg()[0]:.1f}" + (f", niceness {os.nice(0)}" if os.nice(0) else "")
    return f"{processor()}, {cores()} cores, {load}, Python {platform.python_version()}"


def write(
    name: str, title: str, rows: Sequence[Mapping[str, Any]], notes: str = "", bars: tuple[str, str] | None = None
) -> None:
    """Write results/NAME.json and results/NAME.md, and print the table.

    bars: the columns of names and of a figure to be drawn as results/NAME.png.
    """
    shown = [Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:]]  # no path of this machine
    command = "python " + " ".join([os.path.relpath(sys.argv[0]), *shown])
    head = {"title": title, "date": datetime.now(UTC).date().isoformat(), "machine": machine(), "command": command}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**head, "notes": notes, "rows": list(rows)}, indent=2) + "\n")
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows]
    text = "\n".join([f"# {title}", "", f"{head['date']}, {head['machine']}. `{command}`", "", *lines, "", notes])
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n")
    print(text)
    if bars:
        draw_bars(name, title, rows, *bars)


def draw_bars(name: str, title: str, rows: Sequence[Mapping[str, Any]], of: str, figure: str) -> None:
    """Draw one figure of every row as a bar, with its value."""
    import altair

    values = [{"of": row[of], "figure": float(row[figure])} for row in rows]
    names = altair.Y("of:N", sort=None, title=None, axis=altair.Axis(labelLimit=400))
    data = altair.InlineData(values=values)
    base = altair.Chart(data, title=title, width=420).encode(x=altair.X("figure:Q", title=figure), y=names)
    text = base.mark_text(align="left", dx=3).encode(text="figure:Q")
    (base.mark_bar() + text).save(str(RESULTS / f"{name}.png"))
