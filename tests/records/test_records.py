from __future__ import annotations

import csv
import errno
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from streamer.commands.log import app as log_app
from streamer.config import Config, load_config
from streamer.records.journal import Journal, JournalSettings, numbered, parts
from streamer.records.reading import problems, read_log, trusting
from streamer.records.run_manifest import check_unchanged, describe, manifest_path, read_manifest, write_manifest
from streamer.records.schema import RECORDS, FaceRecord, WallClock, identity
from streamer.records.summary import summarise_log
from streamer.records.tables import convert
from streamer.sinks import Enduring, PerStream
from streamer.sinks.log import LogSink
from streamer.sources import open_source
from streamer.sources.pictures import Pictures
from streamer.watching.metrics import Metrics
from tests.conftest import picture
from tests.make import expression, face, result

PAGE = (Path(__file__).parents[2] / "docs" / "log.md").read_text(encoding="utf-8")


def head(part: int) -> bytes:
    return b"head %d\n" % part


def indices(path: Path) -> list[int]:
    return [record["index"] for record in read_log(path) if record["type"] == "frame"]


def settings(**changes: object) -> JournalSettings:
    return JournalSettings(**changes)


# The schema


def test_documents_every_key_with_its_meaning():
    models: list[type[BaseModel]] = [*RECORDS.values(), FaceRecord]
    for model in models:
        for name, field in model.model_fields.items():
            if name != "type":
                assert f"| `{field.alias or name}` | {field.description} |" in PAGE


def test_wall_times_do_not_jitter_but_follow_a_clock_that_is_set():
    clocks = {"wall": 1000.0, "monotonic": 5.0}
    clock = WallClock(lambda: clocks["wall"], lambda: clocks["monotonic"])
    assert clock.stamp(4.0) == "1970-01-01T00:16:39.000Z"
    clocks["wall"] += 0.3
    assert clock.stamp(4.0) == "1970-01-01T00:16:39.000Z"
    clocks["wall"] += 3600
    assert clock.stamp(4.0) == "1970-01-01T01:16:39.300Z"
    clocks["wall"] -= 7200
    assert clock.stamp() == "1969-12-31T23:16:40.300Z"


def test_a_record_has_one_identity_for_every_delivery():
    frame = {"type": "frame", "stream": "cam", "index": 7, "wall_time": "T"}
    state = {"type": "source", "stream": "cam", "state": "live", "wall_time": "T"}
    assert identity("r", frame) == identity("r", frame | {"time": 3}) == "r/cam/frame/7/T"
    assert identity("r", frame | {"wall_time": "later"}) != identity("r", frame)
    assert identity("r", state) == "r/cam/source/live/T"
    assert identity("s", frame) != identity("r", frame)


# The journal


def write_journal(path: Path, count: int = 2) -> None:
    with LogSink(path, run="first") as sink:
        for index in range(count):
            sink.write(result(index, face()))


def test_a_log_cut_at_any_byte_gives_its_whole_records_and_can_be_gone_on_with(tmp_path: Path):
    path, cut = tmp_path / "out.jsonl", tmp_path / "cut.jsonl"
    write_journal(path)
    whole = path.read_bytes()
    ends = [match.end() for match in re.finditer(b"\n", whole)]
    for size in range(ends[0], len(whole)):
        cut.write_bytes(whole[:size])
        kept = list(range(sum(end <= size for end in ends) - 1))
        assert indices(cut) == kept
        sink = LogSink(cut, run="second", settings=settings(append=True))
        sink.write(result(0))
        sink._journal.close()
        assert indices(cut) == [*kept, 0]
        assert [record["run"] for record in read_log(cut) if record["type"] == "run"] == ["first", "second"]


def test_a_log_whose_very_head_is_torn_is_begun_anew(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"type":"run","sch')
    with LogSink(path, settings=settings(append=True)) as sink:
        sink.write(result(0))
    assert indices(path) == [0]
    assert list(problems(path)) == []


KILLED = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from streamer.commands.log import app as log_app
from streamer.records.journal import JournalSettings
from streamer.sinks.log import LogSink
from streamer.types import Frame, Result
image = np.zeros((8, 8, 3), np.uint8)
for trial in range(20):
    path = Path(sys.argv[1]) / f"{trial}.jsonl"
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with LogSink(path, {"about": "x" * 500}, JournalSettings(rotate_bytes=4096, sync=0.01)) as sink:
            for index in range(10_000_000):
                sink.write(Result(Frame(image, "cam", index, index / 25, 0.0), ()))
                if index == 100:
                    os.write(writer, b"!")
    os.read(reader, 1)
    time.sleep(0.0137 * (trial % 7 + 1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_twenty_kills_tear_and_repeat_nothing(tmp_path: Path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, timeout=120)
    for trial in range(20):
        path = tmp_path / f"{trial}.jsonl"
        assert len(parts(path)) > 1
        found = indices(path)
        assert len(found) > 100
        assert found == list(range(len(found)))
        assert list(problems(path)) == []


def test_a_log_is_rotated_by_size_and_reads_as_one(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    with LogSink(path, {"version": "1"}, settings(rotate_bytes=1024)) as sink:
        for index in range(30):
            sink.write(result(index))
    assert len(parts(path)) > 3
    assert all(part.stat().st_size <= 1024 for part in parts(path))
    heads = [json.loads(part.read_text().splitlines()[0]) for part in parts(path)]
    assert [one["part"] for one in heads] == list(range(1, len(heads) + 1))
    assert {(one["run"], one["version"]) for one in heads} == {(heads[0]["run"], "1")}
    assert indices(path) == list(range(30))
    assert sum(record["type"] == "run" for record in read_log(path)) == 1
    with LogSink(path, settings=settings(append=True)) as sink:
        sink.write(result(0))
    assert indices(path) == [*range(30), 0]
    with LogSink(path) as sink:
        sink.write(result(0))
    assert parts(path) == [path]


@contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    """Let this process have no more of something for a while."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


@pytest.mark.parametrize("what", ["descriptors", "disk"])
def test_a_part_that_cannot_be_begun_leaves_the_log_as_it_was(tmp_path: Path, what: str):
    path = tmp_path / "out"
    journal = Journal(path, head, settings(rotate_bytes=1024))
    lines = [b"%03d %s\n" % (number, b"x" * 600) for number in range(4)]
    journal.append(lines[0])
    next_free = os.open(path, os.O_RDONLY)
    os.close(next_free)
    limit = limited(resource.RLIMIT_NOFILE, next_free) if what == "descriptors" else limited(resource.RLIMIT_FSIZE, 3)
    with limit, pytest.raises(OSError, match="Too many open files" if what == "descriptors" else "File too large"):
        journal.append(lines[1])
    assert [part.read_bytes() for part in parts(path)] == [b"head 1\n" + lines[0]]
    for line in lines[1:]:
        journal.append(line)
    journal.close()
    assert [part.read_bytes() for part in parts(path)] == [
        head(number) + line for number, line in enumerate(lines, start=1)
    ]


def test_a_log_is_rotated_by_age_but_never_while_empty(tmp_path: Path):
    now = [0.0]
    journal = Journal(tmp_path / "out", head, settings(rotate_seconds=60), lambda: now[0])
    for moment in (0, 59, 60, 61, 500, 501):
        now[0] = moment
        journal.append(b"%d\n" % moment)
    journal.close()
    texts = [part.read_text() for part in parts(tmp_path / "out")]
    assert texts == ["head 1\n0\n59\n", "head 2\n60\n61\n", "head 3\n500\n501\n"]


def test_a_log_that_was_taken_away_goes_on_with_the_next_part(tmp_path: Path):
    path = tmp_path / "out"
    journal = Journal(path, head, settings(rotate_bytes=1024))
    for number in range(100):
        if number == 8:
            path.unlink()
        journal.append(b"%0100d\n" % number)
    journal.close()
    kept = b"".join(part.read_bytes() for part in parts(path))
    lost = [number for number in range(100) if b"%0100d\n" % number not in kept]
    assert lost == list(range(10))  # what was in it, and came until it was full


def test_a_picture_that_cannot_be_read_stops_no_manifest(tmp_path: Path):
    there = tmp_path / "1.png"
    cv2.imwrite(str(there), picture())
    source = Pictures(str(tmp_path), "photos", [there, tmp_path / "gone.png"])
    [found] = describe("run", Config(), [str(tmp_path)], [source], tmp_path / "out.jsonl").inputs
    assert list(found.sha256) == [str(there)]


def test_a_pipe_is_written_to_while_it_is_read_and_fails_without_a_reader(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads this pipe: start its reader first"):
        Journal(path, head)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    journal = Journal(path, head)
    journal.append(b"one\n")
    assert os.read(reader, 100) == b"head 1\none\n"
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        journal.append(b"two\n")
    journal.close()


def test_parts_older_than_the_retention_are_deleted_even_while_nothing_is_written(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    old = numbered(path, 1)
    old.write_bytes(b"old\n")
    os.utime(old, (0, 0))
    journal = Journal(path, head, settings(retention=3600, append=True, sync=0.01))
    journal.append(b"new\n")
    journal.start()
    try:
        for _ in range(500):
            if not old.exists():
                break
            threading.Event().wait(0.01)
    finally:
        journal.close()
    assert not old.exists()
    assert path.read_text() == "head 1\nnew\n"


def test_a_part_that_cannot_be_deleted_is_told_once_and_the_others_are_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "out.jsonl"
    stuck, old = numbered(path, 1), numbered(path, 2)
    stuck.mkdir()  # not even root deletes it like a file
    old.write_bytes(b"old\n")
    for part in (stuck, old):
        os.utime(part, (0, 0))
    journal = Journal(path, head, settings(retention=3600, append=True, sync=0.01))
    journal.start()
    try:
        for part in (old, numbered(path, 3)):
            part.write_bytes(b"old\n")
            os.utime(part, (0, 0))
            deadline = time.monotonic() + 10
            while part.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not part.exists()
    finally:
        journal.close()
    assert caplog.text.count("out.000001.jsonl: cannot be deleted after the retention of 3600 s") == 1


def test_the_millionth_part_is_read_after_those_before_it(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    for number in (999_999, 1_000_000, 999_998):
        numbered(path, number).touch()
    assert [part.name for part in parts(path)] == [numbered(path, n).name for n in (999_998, 999_999, 1_000_000)]


def test_a_journal_goes_on_flushing_after_too_many_files_were_open(tmp_path: Path):
    journal = Journal(tmp_path / "out.jsonl", head, settings(sync=0.01))
    journal.start()
    before, held, written = resource.getrlimit(resource.RLIMIT_NOFILE), [], []
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, before[1]))

    def told() -> bool:
        with suppress(OSError):  # what others close meanwhile is taken too
            while True:
                held.append(os.dup(0))
        try:
            journal.append(b"one\n")
        except OSError as error:
            return error.errno == errno.EMFILE
        written.append(b"one\n")
        return False

    try:
        failed = until(told)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for file in held:
            os.close(file)
        flushed = until(lambda: not journal._unflushed)  # the thread lives, and has flushed
        journal._flush_error = None  # of a round before the files were closed
        journal.append(b"two\n")
        journal.close()
    assert failed
    assert flushed
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join([b"head 1\n", *written, b"two\n"])


def until(reached):
    deadline = time.monotonic() + 20
    while not (now := reached()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return now


def test_two_runs_do_not_write_one_log(tmp_path: Path):
    with LogSink(tmp_path / "out.jsonl") as sink:
        sink.write(result(0))
        with pytest.raises(OSError, match="cannot write the log: another run writes it"):
            LogSink(tmp_path / "out.jsonl")
    assert indices(tmp_path / "out.jsonl") == [0]


def test_a_full_disk_loses_records_but_not_the_run_and_the_log_says_how_many(tmp_path: Path):
    code = """
        import resource, signal, sys
        from pathlib import Path
        from streamer.watching.metrics import Metrics
        from streamer.sinks import Enduring
        from streamer.sinks.log import LogSink
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        told, metrics = [], Metrics()
        with LogSink(Path(sys.argv[1])) as log:
            sink = Enduring("log", log, metrics, told.append)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
            for _ in range(9):
                sink.write_state("cam", "live", "because " * 20)
            assert metrics.value("streamer_sink_failing", sink="log") == 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            sink.write_state("cam", "live", "again")
        assert metrics.value("streamer_sink_failing", sink="log") == 0
        assert metrics.value("streamer_sink_lost_total", sink="log") == sink.lost
        print(*told, sep=chr(10))
    """
    path = tmp_path / "out.jsonl"
    script = "\n".join(line[8:] for line in code.splitlines())
    found = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True, timeout=60)
    records = list(read_log(path))
    [gap] = [record for record in records if record["type"] == "gap"]
    assert [record["type"] for record in records][-2:] == ["gap", "source"]
    assert gap["lost"] + len(records) - 2 == 10
    assert gap["reason"] == "File too large"
    failed, back = found.stdout.splitlines()
    assert failed == f"{path}: cannot write the log: File too large; the run goes on, and tries again with every result"
    assert back == f"log: can be written again; {gap['lost']} records were lost so far"
    assert list(problems(path)) == []


def test_a_failing_sink_is_told_once_and_counted():
    class Broken:
        wants_picture = True

        def write(self, result, picture):
            raise OSError("no room")

    told: list[str] = []
    metrics = Metrics()
    sink = Enduring("video", Broken(), metrics, told.append)
    for index in range(5):
        sink.write(result(index), None)
    sink.write_state("cam", "live", "")  # which it does not take
    assert (sink.lost, len(told), str(sink.failure)) == (5, 1, "no room")


def test_one_failing_stream_among_several_is_told_once_too():
    class Broken:
        wants_picture = False

        def __init__(self, stream: str) -> None:
            self.stream = stream

        def write(self, result, picture):
            if self.stream == "bad" and result.frame.index < 5:
                raise OSError("no room")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    told: list[str] = []
    metrics = Metrics()
    sink = Enduring("video", PerStream(Broken, ()), metrics, told.append)
    for index in range(5):
        for stream in ("bad", "good"):
            sink.write(result(index, stream=stream), None)
    assert (sink.lost, len(told)) == (5, 1)
    assert metrics.value("streamer_sink_failing", sink="video") == 1
    sink.write(result(5, stream="bad"), None)
    assert told[1] == "video of bad: can be written again; 5 records were lost so far"
    assert metrics.value("streamer_sink_failing", sink="video") == 0


# Reading


def test_finds_what_is_wrong_with_a_log(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    with LogSink(path) as sink:
        for index in (0, 2, 2, 1):
            sink.write(result(index, face()))
    lines = path.read_text().splitlines()
    lines += [lines[1].replace('"score":0.9', '"score":1.7').replace('"index":0', '"index":9')]
    lines += [lines[1].replace('"label":"happiness",', ""), '{"type":"later"}']
    path.write_text("\n".join(lines) + "\n")
    found = list(problems(path))
    assert [line.split(": ")[0] for line in found] == [f"{path}, line {number}" for number in (4, 5, 6, 7)]
    assert "frame 2 at 0.08 s of 'cam' follows frame 2" in found[0]
    assert "'faces.0.score': input should be less than or equal to 1, found 1.7" in found[2]
    assert "'faces.0.label': field required" in found[3]


def test_a_name_that_is_used_anew_counts_from_zero_again(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    with LogSink(path) as sink:
        for _ in range(2):
            sink.write_state("cam", "connecting", "")
            sink.write(result(0))
            sink.write(result(1))
    assert list(problems(path)) == []


def test_validate_prints_the_first_problems_and_fails(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    with LogSink(path) as sink:
        for _ in range(30):
            sink.write(result(0))
    told = CliRunner().invoke(log_app, ["validate", str(path)])
    *first, last = told.output.splitlines()
    assert told.exit_code == 1
    assert len(first) == 20
    assert first[0].startswith(f"{path}, line 3: frame 0")
    assert last == "... and more"


def test_a_log_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="expected a log, found no such file"):
        list(read_log(tmp_path / "no.jsonl"))


def test_sums_up_a_log(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    with LogSink(path) as sink:
        sink.write(
            result(0, face(), face(track_id=2, expression=expression("uncertain")), face(track_id=3, expression=None))
        )
        sink.write(result(50, face()))
        sink.write_state("cam", "ended", "")
    assert summarise_log(read_log(path)) == {
        "runs": 1,
        "lost": 0,
        "streams": {
            "cam": {
                "frames": 2,
                "seconds": 2.0,
                "faces": 4,
                "tracks": 3,
                "labels": {"happiness": 0.6667, "uncertain": 0.3333},
                "states": {"ended": 1},
            }
        },
    }


def test_the_seconds_of_appended_runs_add_up(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    for last in (50, 25):
        with LogSink(path, settings=settings(append=True)) as sink:
            sink.write(result(0, face()))
            sink.write(result(last, face()))
    found = summarise_log(read_log(path))
    stream = found["streams"]["cam"]
    assert (found["runs"], stream["seconds"], stream["faces"], stream["tracks"]) == (2, 3.0, 4, 2)


def test_an_error_that_no_record_is_to_blame_for_stays_what_it_is(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    with LogSink(path) as sink:
        sink.write(result(0, face()))
    with pytest.raises(KeyError, match="bug"), trusting(path):
        raise KeyError("bug")
    path.write_text(path.read_text() + '{"type":"frame","stream":"cam"}\n')
    with pytest.raises(ValueError, match=r"out.jsonl: a record is not as schema 1 says"), trusting(path):
        raise KeyError("faces")


# Tables


def test_csv_and_parquet_hold_the_same_rows_for_every_face(tmp_path: Path):
    log = tmp_path / "out.jsonl"
    with LogSink(log, run="r1") as sink:
        sink.write(result(0, face(), face(track_id=2, expression=None), stream=os.fsdecode(b"\xff")))
        sink.write(result(1))
        sink.write(result(2, face()))
    assert convert(log, tmp_path / "out.csv") == convert(log, tmp_path / "out.parquet") == 3
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    with (tmp_path / "out.csv").open(newline="") as file:
        texts = list(csv.DictReader(file))
    assert [list(row) for row in texts] == [list(row) for row in rows]
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows] == texts
    first, unknown, last = rows
    assert (first["run"], first["stream"], first["id"], first["box_x2"]) == ("r1", "\\udcff", 1, 40.0)
    assert first["probabilities_happiness"] == 0.9
    assert unknown["label"] is unknown["probabilities_happiness"] is unknown["stable"] is None
    assert (last["index"], last["time"], last["stable"]) == (2, 0.08, True)
    assert pq.read_schema(tmp_path / "out.parquet").metadata[b"streamer.schema"] == b"1"
    assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", "out.csv", "out.parquet"}


def test_frames_and_states_make_tables_too(tmp_path: Path):
    log, table = tmp_path / "out.jsonl", tmp_path / "out.parquet"
    with LogSink(log) as sink:
        sink.write(result(0, face(), face(track_id=2)))
        sink.write_state("cam", "ended", "the end")
    assert convert(log, table, "frame") == convert(log, table, "source") == 1
    assert convert(log, table, "gap") == 0
    convert(log, table, "frame")
    assert pq.read_table(table).to_pylist()[0]["faces"] == 2


def test_a_table_is_whole_or_not_there(tmp_path: Path):
    log = tmp_path / "out.jsonl"
    write_journal(log)
    with log.open("a") as file:
        file.write("broken\n")
    with pytest.raises(ValueError, match="line 4: expected a JSON object"):
        convert(log, tmp_path / "out.csv")
    with pytest.raises(ValueError, match=r"cannot write a table as '\.xls': expected \.csv or \.parquet"):
        convert(log, tmp_path / "out.xls")
    write_journal(log)
    with pytest.raises(OSError, match="cannot write the table: No such file"):
        convert(log, tmp_path / "no" / "out.csv")
    assert list(tmp_path.iterdir()) == [log]


# Manifests


def manifest_of(tmp_path: Path, *names: str):
    sources = [open_source(name) for name in names]
    return describe("r", Config(), names, sources, tmp_path / "out.jsonl")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.ppm"
    path.write_bytes(b"P6 2 2 255\n" + bytes(12))
    return path


def test_a_manifest_says_what_was_run_on_what(tmp_path: Path, photo: Path):
    path = manifest_path(tmp_path / "out.jsonl")
    manifest = manifest_of(tmp_path, str(tmp_path / "*.ppm"), "rtsp://me:secret@cam/1")
    write_manifest(manifest, path)
    assert path.name == "out.manifest.json"
    assert read_manifest(path) == manifest
    folder, camera = manifest.inputs
    assert list(folder.sha256) == [str(photo)]
    assert (camera.live, camera.sha256) == (True, {})
    assert "secret" not in path.read_text()
    found = {Path(path).name: digest for path, digest in manifest.models.items()}
    listed = json.loads(Path(next(iter(manifest.models))).with_name("manifest.json").read_text())
    assert "face.onnx" in found
    assert found.items() <= listed.items()


def test_a_run_that_cannot_be_repeated_is_refused(tmp_path: Path, photo: Path):
    manifest = manifest_of(tmp_path, str(photo))
    check_unchanged(manifest, tmp_path / "m")
    photo.write_bytes(photo.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"m: .*photo\.ppm was changed: expected sha256 \w+, found"):
        check_unchanged(manifest, tmp_path / "m")
    photo.unlink()
    with pytest.raises(ValueError, match=r"photo\.ppm is gone"):
        check_unchanged(manifest, tmp_path / "m")
    with pytest.raises(ValueError, match="cannot replay 'rtsp://cam/1': only files"):
        check_unchanged(manifest_of(tmp_path, "rtsp://cam/1"), tmp_path / "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "found no JSON"),
        ("[]", "of version 1, found version None"),
        ('{"manifest": 2}', "of version 1, found version 2"),
        ('{"manifest": 1}', "'run': field required"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_manifest(path)


def test_the_journal_is_configured_like_everything_else():
    assert load_config(Config, None, ["log.rotate_bytes=5000", "log.append=true"]).log.append
    for wrong in ("log.sync=0", "log.rotate_bytes=3", "log.retentoin=5"):
        with pytest.raises(ValueError, match=re.escape(wrong.partition("=")[0])):
            load_config(Config, None, [wrong])
