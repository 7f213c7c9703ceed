"""Fill the page templates: everything a page needs is inside it, and nothing is fetched when it is opened."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from engines.errors import MissingPackage
from streamer.emotions import EMOTIONS, GREY, colours

MISSING = "reports need the extra `report`: pip install 'emotion-streamer[report]'"


def require_charts() -> Any:
    """Return the chart library. Raises MissingPackage that names the extra."""
    try:
        importlib.import_module("vl_convert")
        return importlib.import_module("altair")
    except ImportError as error:
        raise MissingPackage(MISSING) from error


@contextmanager
def preparing_charts() -> Iterator[None]:
    """Assemble the chart library on another thread while a report's contents are found: it takes 1.5 s.

    Raises MissingPackage that names the extra.
    """
    require_charts()
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(_library)
        yield
        ready.result()


def hex_colour(label: str | None, known: Sequence[str] = EMOTIONS) -> str:
    """Return a label's colour of the overlay as #rrggbb; known: all labels of the network, in its order."""
    blue, green, red = colours(tuple(known)).get(label or "", GREY)
    return f"#{red:02x}{green:02x}{blue:02x}"


def label_colours(field: str, labels: Sequence[str], known: Sequence[str]) -> Any:
    """Return the colour channel of a chart for a field that holds labels, with its legend above.

    labels: those that occur. known: see `hex_colour`.
    """
    alt = require_charts()
    scale = alt.Scale(domain=labels, range=[hex_colour(label, known) for label in labels])
    return alt.Color(f"{field}:N", scale=scale, title=None, sort=labels, legend=alt.Legend(orient="top"))


def render(template: str, charts: dict[str, Any], **values: Any) -> str:
    """Fill a template of this folder; charts are Altair charts by the id of the element that shows them."""
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("streamer.report", "."), autoescape=True, trim_blocks=True)
    pages.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.0f} %"
    pages.filters["sure"] = lambda share: "–" if share is None else f"{100 * min(share, 0.99):.0f} %"  # never all sure
    # A '<' of a file name could end the script; to JSON its code is the same.
    specs = {
        name: chart.properties(background="transparent").to_json(indent=None).replace("<", "\\u003c")
        for name, chart in charts.items()
    }
    return pages.get_template(template).render(specs=specs, library=_library(), **values)


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all. Raises OSError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(f"{path}: cannot write the report: {error.strerror}") from error


@cache
def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    script: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
    return script.replace("</script", "<\\/script")
