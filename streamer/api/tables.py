"""Faces as a pandas DataFrame, one row a face."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engines.errors import MissingPackage, UserError
from streamer.api.faces import Faces
from streamer.emotions import EMOTIONS
from streamer.photo.render import TIMES
from streamer.records.schema import WallClock, frame_record
from streamer.records.tables import columns_of, names_in, rows_of
from streamer.types import Result

if TYPE_CHECKING:
    from pandas import DataFrame

OF_PICTURES = ("run", "index", "time", "wall_time", *TIMES)  # columns of streams that say nothing of a picture


def frame_table(results: Result | Faces | Iterable[Result | Faces]) -> DataFrame:
    """Return results of `watch`, or what `analyze` found, as a DataFrame with a row for each face.

    Columns are those of `streamer log convert`: of results `stream`, `index`, `time` and `wall_time`, of pictures
    `name`, then those of the face: `box_x1`, `label`, `probabilities_happiness`, ... Raises MissingPackage where pandas
    is not installed, and UserError for what is neither.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingPackage("frame_table needs pandas: pip install pandas") from error
    given = [results] if isinstance(results, Result | Faces) else results
    if not isinstance(given, Iterable):
        raise _neither(given)
    clock = WallClock()
    found = [(isinstance(one, Faces), _record(one, clock)) for one in given]
    if len({one for one, _ in found}) > 1:
        raise UserError("expected results of watch or what analyze found, found both: make a table of each")
    pictures, records = any(one for one, _ in found), [record for _, record in found]
    names = names_in(records)
    columns = columns_of("face", names | {"probabilities": names["probabilities"] or list(EMOTIONS)})
    left_out = OF_PICTURES if pictures else ("run",)
    kinds = {name: kind for name, kind in columns.items() if name not in left_out}
    table = pd.DataFrame(list(rows_of("face", records)), columns=list(kinds))
    floats = [name for name, kind in kinds.items() if kind is float]
    table[floats] = table[floats].astype(float)  # of which all are missing, too
    return table.rename(columns={"stream": "name"}) if pictures else table


def _record(one: Any, clock: WallClock) -> dict[str, Any]:
    """Return a frame's record, or what a picture's would be."""
    if isinstance(one, Result):
        return frame_record(one, clock)
    if isinstance(one, Faces):
        return {"type": "frame", "stream": one.name, "faces": [face.to_dict() for face in one]}
    raise _neither(one)


def _neither(found: object) -> UserError:
    return UserError(f"expected results of watch, or what analyze found, found {type(found).__name__}")
