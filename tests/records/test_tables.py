"""Tables of one schema whatever was seen, one data set for pandas, Polars and DuckDB, mere text for spreadsheets."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import duckdb
import numpy as np
import pandas
import polars
import pyarrow.parquet as pq
import pytest

from streamer.commands.batch import RUNS, analyse, is_done, part_of, place_of
from streamer.config import Config
from streamer.emotions import EMOTIONS
from streamer.faces.regions import PARTS
from streamer.records.tables import convert
from streamer.sinks.log import LogSink
from tests.make import SAMPLE, expression, face, result
from tests.media import cut


def written(path: Path, *results, **about) -> Path:
    with LogSink(path, about) as sink:
        for one in results:
            sink.write(one)
    return path


def schema(log: Path, rows="face"):
    table = log.with_suffix(f".{rows}.parquet")
    convert(log, table, rows)
    return pq.read_schema(table)


@pytest.mark.parametrize("rows", ["face", "frame", "source", "gap"])
def test_one_schema_whatever_was_seen(tmp_path: Path, rows):
    nobody = written(tmp_path / "a.jsonl", result(0))
    unjudged = written(tmp_path / "b.jsonl", result(0, face(expression=None)))
    judged = written(tmp_path / "c.jsonl", result(0, face(visibility=np.ones(68, np.float32))))
    assert schema(nobody, rows) == schema(unjudged, rows) == schema(judged, rows)
    if rows == "face":
        names = schema(nobody).names
        assert [name for name in names if name.startswith("probabilities_")] == [f"probabilities_{e}" for e in EMOTIONS]
        assert [name for name in names if name.startswith("visible_")] == [f"visible_{part}" for part in PARTS]


def test_the_labels_of_another_network_are_columns_before_anybody_is_seen(tmp_path: Path):
    log = written(tmp_path / "a.jsonl", result(0), labels=["calm", "tense"])
    assert [name for name in schema(log).names if "probabilities" in name] == [
        "probabilities_calm",
        "probabilities_tense",
    ]


def test_records_of_many_inputs_are_one_data_set_for_pandas_polars_and_duckdb(tmp_path: Path):
    empty, odd = tmp_path / "empty", tmp_path / f"damaged {os.fsdecode(bytes([0xE9]))}"
    for folder in (empty, odd):
        folder.mkdir()
        for name in ("a.png", "b.png"):
            cv2.imwrite(str(tmp_path / "one.png"), np.full((64, 64, 3), 90, np.uint8))
            (tmp_path / "one.png").rename(folder / name)
    cut(odd / "b.png", 0.5)
    out, told = tmp_path / "records", []
    (out / RUNS).mkdir(parents=True)
    values = Config().model_dump(mode="json")
    for name in map(str, (empty, odd, SAMPLE)):
        told.append(analyse(values, name, str(place_of(out, name)), str(out / RUNS / ".unfinished-1")))
        assert is_done(Config(), name, place_of(out, name))
    assert [bool(one) for one in told] == [False, True, False]
    assert "could not be read to its end" in told[1]
    frames, faces = out / "frames", out / "faces"
    count = pandas.read_parquet(frames).shape[0]
    assert count == 2 + 1 + 175  # of the damaged input those that could be read
    assert polars.read_parquet(frames).height == duckdb.sql(f"FROM '{frames}/*/*.parquet'").shape[0] == count
    seen = pandas.read_parquet(faces)
    assert seen["input"].nunique() == 1
    assert polars.read_parquet(faces).height == duckdb.sql(f"FROM '{faces}/**/*.parquet'").shape[0] == len(seen) > 200
    assert set(polars.read_parquet(faces).columns) == set(seen.columns)
    assert seen["probabilities_happiness"].notna().any()
    part = part_of(place_of(out, str(SAMPLE)), "face")
    part.unlink()
    assert not is_done(Config(), str(SAMPLE), place_of(out, str(SAMPLE)))


@pytest.mark.parametrize("bom", [False, True])
def test_csv_shows_names_as_text_and_runs_none(tmp_path: Path, bom):
    names = ["=1+2", "@SUM(A1)", "+1", "-1", "\t=1", "Überwachung 日本", "clip"]
    results = [result(0, face(expression=expression("=cmd|' /C calc'!A0")), stream=name) for name in names]
    table = tmp_path / "out.csv"
    convert(written(tmp_path / "a.jsonl", *results), table, bom=bom)
    assert table.read_bytes().startswith(b"\xef\xbb\xbf") == bom
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["stream"] for row in rows] == ["'=1+2", "'@SUM(A1)", "'+1", "'-1", "'\t=1", "Überwachung 日本", "clip"]
    assert {row["label"] for row in rows} == {"'=cmd|' /C calc'!A0"}
    assert {row["box_x1"] for row in rows} == {"8.0"}


def test_a_byte_order_mark_is_for_csv_alone(tmp_path: Path):
    with pytest.raises(ValueError, match=r"out.parquet: only CSV has a byte order mark: expected a name like out.csv"):
        convert(written(tmp_path / "a.jsonl"), tmp_path / "out.parquet", bom=True)
