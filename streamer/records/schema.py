"""What every record holds, in one place: lines, validation, columns of CSV and Parquet and the tables of docs/log.md
are derived from these models, so that a new key is one more line here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import described
from streamer.faces.visibility import part_visibility
from streamer.types import Expression, Face, Result

SCHEMA = 1
MOST_OFFSET = 0.5  # s; a larger change of the offset means that the wall clock was set, or that the machine slept

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Wall = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Box = Annotated[list[float], Field(min_length=4, max_length=4)]


def key(meaning: str, read: Callable[[Any], Any] | None = None) -> Any:
    """Describe a key of a record, and say how it is read off the thing that is recorded."""
    return Field(description=meaning, json_schema_extra=None if read is None else {"read": read})  # type: ignore[dict-item]


def said(read: Callable[[Expression], Any]) -> Callable[[Face], Any]:
    """Read off a face's expression; None where the face was not classified yet."""
    return lambda face: face.expression and read(face.expression)


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Round for the log; a missing value stays missing."""
    return None if value is None else round(float(value), digits) + 0.0  # no -0.0


class Record(BaseModel):
    """Be the base of all records; keys of later versions are let through."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    @classmethod
    def readers(cls) -> list[tuple[str, Callable[[Any], Any]]]:
        """Return the names of the keys and how each is read, in order."""
        extras = ((name, field.json_schema_extra) for name, field in cls.model_fields.items())
        return [(name, extra["read"]) for name, extra in extras if isinstance(extra, dict)]  # type: ignore[misc]


class FaceRecord(Record):
    """Record a face, off a `Face`."""

    id: Count = key("number of the track; unique in its stream, never used again in a run", lambda face: face.track_id)
    box: Box = key(
        "x1, y1, x2, y2 in pixels of the frame; may reach outside",
        lambda face: [rounded(value, 1) for value in face.box],
    )
    score: Share = key("of the newest detection, 0–1", lambda face: rounded(face.score))
    label: str | None = key(
        "the emotion shown: the likeliest of `probabilities`, or `uncertain` where none has led for a while or is "
        "likely enough",
        said(lambda expression: expression.label),
    )
    confidence: Share | None = key(
        "the highest of `probabilities`: that of the label, or of the likeliest emotion where uncertain, 0–1",
        said(lambda expression: rounded(expression.confidence)),
    )
    probabilities: dict[str, Share] | None = key(
        "of every emotion, or of those in `expression.labels`, calibrated, smoothed over time; they sum to 1 but for "
        "rounding",
        said(lambda expression: {name: rounded(value) for name, value in expression.probabilities.items()}),
    )
    region: str | None = key(
        "part of the face that was looked at; `none` where too little can be seen to judge",
        said(lambda expression: expression.region),
    )
    reliability: Share | None = key(
        "how often such an answer from that region was right on validation data, 0–1; `null` where it was not "
        "measured, as with `expression.labels` or `expression.prior`",
        said(lambda expression: rounded(expression.reliability)),
    )
    visible: dict[str, Share] | None = key(
        "how far eyes, nose and mouth can be seen, 0–1; `null` where nobody looked",
        lambda face: (
            None
            if face.visibility is None
            else {part: rounded(value) for part, value in part_visibility(face.visibility).items()}
        ),
    )
    usable: Share | None = key(
        "score that this is a face that can be judged, 0–1; `null` where nobody looked",
        lambda face: rounded(face.usable),
    )
    stable: bool | None = key("whether the label has settled", said(lambda expression: expression.stable))
    detected_time: Seconds = key(
        "`time` of the frame in which the face was last detected; in between it is tracked",
        lambda face: rounded(face.detected_time, 6),
    )
    classified_time: Seconds | None = key(
        "`time` of the frame that was last classified", said(lambda expression: rounded(expression.time, 6))
    )


FACE_READERS = FaceRecord.readers()


class FrameRecord(Record):
    """Record an analysed frame, off a `Result`; wall_time comes from the clock."""

    type: Literal["frame"] = key("`frame`", lambda result: "frame")
    stream: str = key("name of the source", lambda result: result.frame.stream)
    index: Count = key(
        "number of the frame in its source, from 0; a live source leaves gaps where frames were dropped",
        lambda result: result.frame.index,
    )
    time: Seconds = key(
        "seconds since the stream's first frame: media time of a file, real time of a live source",
        lambda result: rounded(result.frame.time, 6),
    )
    wall_time: Wall = key("when the frame was read, ISO 8601 in UTC with milliseconds", lambda result: None)
    faces: list[FaceRecord] = key(
        "the faces, ordered by `id`",
        lambda result: [face_record(face) for face in result.faces],
    )


class SourceRecord(Record):
    """Record that a source is in another state."""

    type: Literal["source"] = key("`source`")
    stream: str = key("name of the source")
    state: str = key("`connecting`, `live`, `stalled`, `retrying`, `ended` or `failed`")
    reason: str = key("why, in words; empty where there is nothing to say")
    cause: str | None = key(
        "of a loss: `refused`, `unauthorised`, `not found`, `unreachable`, `stalled`, `lost`, `corrupt` or `other`"
    )
    wall_time: Wall = key("when that was noticed")


class GapRecord(Record):
    """Record that records are missing here, because the disk took none."""

    type: Literal["gap"] = key("`gap`")
    lost: Annotated[int, Field(ge=1)] = key("how many records were lost")
    reason: str = key("why, in words")
    since: Wall = key("when the first of them was lost")
    wall_time: Wall = key("when the log could be written again")


class RunRecord(Record):
    """Record the run that writes the log: the first record of every file."""

    type: Literal["run"] = key("`run`")
    schema_: int = Field(alias="schema", description="version of this format")
    run: str = key("id of the run; a log that was appended to holds several")
    part: Annotated[int, Field(ge=1)] = key("number of the file in its run: 1, and one more after each rotation")
    started: Wall = key("when the run began")


RECORDS: Mapping[str, type[Record]] = {
    "run": RunRecord,
    "frame": FrameRecord,
    "source": SourceRecord,
    "gap": GapRecord,
}
FRAME_READERS = FrameRecord.readers()


class WallClock:
    """Turn monotonic moments into wall time.

    The offset between the clocks is kept, so that stamps do not jitter, until the wall clock was set or the machine
    slept. wall, monotonic: the clocks, in seconds.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._offset = wall() - monotonic()

    def stamp(self, moment: float | None = None) -> str:
        """Write a monotonic moment (None: now) as ISO 8601 in UTC with milliseconds."""
        now = self._monotonic()
        offset = self._wall() - now
        if abs(offset - self._offset) > MOST_OFFSET:
            self._offset = offset
        seconds = (now if moment is None else moment) + self._offset
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def face_record(face: Face) -> dict[str, Any]:
    """Return the record of a face, as JSON values."""
    return {name: read(face) for name, read in FACE_READERS}


def frame_record(result: Result, clock: WallClock) -> dict[str, Any]:
    """Return the record of a result, as JSON values."""
    record = {name: read(result) for name, read in FRAME_READERS}
    record["wall_time"] = clock.stamp(result.frame.captured_at)
    return record


def source_record(stream: str, state: str, reason: str, cause: str | None, clock: WallClock) -> dict[str, Any]:
    """Return the record of a source's new state, as JSON values."""
    why = {"reason": reason, "cause": cause and str(cause)}
    return {"type": "source", "stream": stream, "state": str(state), **why, "wall_time": clock.stamp()}


def identity(run: str, record: Mapping[str, Any]) -> str:
    """Return what no other record shares and a repeated delivery of this one does: its key in a message broker.

    The time is part of it, as frames are counted from 0 again when a stream is removed and another gets its name.
    """
    last = record["index"] if record["type"] == "frame" else record["state"]
    return f"{run}/{record['stream']}/{record['type']}/{last}/{record['wall_time']}"


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of JSON. Raises RuntimeError where a number is not finite."""
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        place = " ".join(str(record[name]) for name in ("type", "stream", "index") if name in record)
        raise RuntimeError(f"expected finite numbers to log, found others in {place}") from error
    return (text + "\n").encode("utf-8", "backslashreplace")  # file names may hold what is not Unicode


def problem_of(record: Mapping[str, Any]) -> str | None:
    """Say in a few words what is wrong with a record, None where nothing is; unknown types are let through."""
    model = RECORDS.get(record["type"])
    try:
        if model:
            model.model_validate(record)
    except ValidationError as error:
        return described(error.errors()[0])
    return None
