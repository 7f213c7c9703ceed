"""What `import streamer` gives, how faces become a table, own networks, and the scripts for new users."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import streamer
from engines import load_engine
from tests.api.parts import EXAMPLES, light, write_network
from tests.conftest import LABELS, picture
from tests.make import face, result
from tests.make import streamer as command_line
from tests.media import write_video

SCRIPTS = Path(__file__).parents[2] / "docs" / "examples"
FIVE = ("photo_table", "webcam", "own_sink", "own_network", "own_arrays")
HEAVY = ("numpy", "cv2", "openvino", "dlib", "pydantic", "yaml", "torch", "pandas", "prometheus_client", "PIL", "rich")


def python(*arguments: object, **changes) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, without what other tests of this one have set."""
    command = [sys.executable, *map(str, arguments)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=own, **changes)


def test_the_import_loads_nothing_until_it_is_used():
    code = "import sys, streamer; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = python("-c", code).stdout.split()
    assert "streamer" in loaded
    assert not {"engines", *HEAVY} & set(loaded)
    code = "import sys, streamer; print(streamer.Analyzer); print('openvino' in sys.modules, 'torch' in sys.modules)"
    done = python("-c", code)
    assert done.stdout.splitlines()[1:] == ["False False"], done.stderr


def test_every_name_that_is_offered_is_there_and_described():
    assert sorted(streamer.__all__) == streamer.__all__
    assert set(streamer.__all__) == {name for names in streamer.PLACES.values() for name in names}
    assert set(streamer.__all__) <= set(dir(streamer))
    for name in streamer.__all__:
        assert getattr(streamer, name).__doc__, name
    mistyped = "analyse"
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        getattr(streamer, mistyped)


def test_an_engines_of_somebody_else_is_named(tmp_path: Path):
    (tmp_path / "engines.py").write_text("turbines = 4\n")
    done = python("-c", "import streamer; streamer.analyze('a.jpg')", cwd=tmp_path)
    assert "ImportError" in done.stderr.splitlines()[-1]
    assert f"{tmp_path / 'engines.py'} is found before it" in done.stderr


def test_a_table_of_results_has_the_columns_of_a_converted_log(tmp_path: Path):
    log = tmp_path / "out.jsonl"
    assert command_line("run", EXAMPLES / "two.jpg", "--log", log).returncode == 0
    assert command_line("log", "convert", log, tmp_path / "out.csv").returncode == 0
    told = pd.read_csv(tmp_path / "out.csv").drop(columns=["run", "wall_time"])
    with streamer.watch(EXAMPLES / "two.jpg") as results:
        table = streamer.frame_table(results).drop(columns="wall_time")
    assert len(told) == 2
    pd.testing.assert_frame_equal(table, told, check_dtype=False)


def test_a_table_of_photos_is_named_by_photo_and_says_nothing_of_time():
    with light() as analyzer:
        found = analyzer.analyze([picture(), picture()])
        one = analyzer.analyze(picture())
    table = streamer.frame_table(found)
    assert list(table["name"]) == ["picture", "picture-2"]
    assert list(table["label"]) == ["happiness"] * 2
    assert table["probabilities_happiness"].tolist() == pytest.approx([0.9, 0.9])
    assert list(table["box_x1"]) == [16, 16]
    assert not {"time", "stream", "index", "wall_time", "stable", "run"} & set(table.columns)
    assert len(streamer.frame_table(one)) == 1
    assert list(streamer.frame_table(one).columns) == list(table.columns)


def test_a_table_without_a_face_or_with_one_not_judged_keeps_its_columns_and_types():
    full = streamer.frame_table(result(0, face(), face(track_id=2, expression=None)))
    assert full["confidence"].dtype == full["visible_eyes"].dtype == float
    assert full["label"].isna().tolist() == [False, True]
    for nothing in ([], [result(0)], result(0)):
        empty = streamer.frame_table(nothing)
        assert len(empty) == 0
        assert list(empty.columns) == list(full.columns)
        assert empty["confidence"].dtype == float


@pytest.mark.parametrize("given", [3, [3], ["a"], None, [face()]])
def test_what_makes_no_table_is_told(given: object):
    with pytest.raises(streamer.UserError, match="expected results of watch, or what analyze found, found"):
        streamer.frame_table(given)


def test_results_and_pictures_make_no_table_together():
    with light() as analyzer, pytest.raises(streamer.UserError, match="found both"):
        streamer.frame_table([result(0, face()), analyzer.analyze(picture())])


def test_a_table_without_pandas_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(streamer.MissingPackage, match="pip install pandas") as error:
        streamer.frame_table([])
    assert isinstance(error.value, streamer.UserError)
    assert isinstance(error.value, ImportError)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("softmax", [False, True])
def test_a_converted_network_answers_as_it_was_trained(tmp_path: Path, channels: int, softmax: bool, last: bool):
    weights, _ = write_network(tmp_path / "own.onnx", 3, channels, softmax=softmax, last=last)
    mean, std = [0.2, 0.4, 0.6][:channels], 0.5
    names = ["calm", "tense", "glad"]
    out = streamer.convert_classifier(
        tmp_path / "own.onnx", tmp_path / "own.xml", names, mean=mean, std=std, logits=not softmax, margin=0.1
    )
    assert out == tmp_path / "own.xml"
    engine = load_engine(out, "expression")
    assert (engine.spec.labels, engine.spec.crop.margin) == (tuple(names), 0.1)
    batch = np.random.default_rng(0).integers(0, 256, (5, 32, 32, channels), np.uint8)
    batch[0] = 255
    found = engine.infer(batch)["probabilities"]
    engine.close()
    values = (batch[..., ::-1].mean(axis=(1, 2)) / 255 - mean) / std  # the engine is given BGR
    powers = np.exp(values @ weights.T)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "gone.onnx"}, "gone.onnx: expected a model file, found none"),
        ({"model": "text.onnx"}, "text.onnx: cannot be converted"),
        ({"out": "own.onnx"}, "expected a name like own.xml"),
        ({"out": "net.onnx/own.xml"}, "net.onnx/own.xml: cannot be written"),
        ({"labels": ["calm"]}, "expected two different names or more"),
        ({"labels": ["calm", "calm"]}, "expected two different names or more"),
        ({"labels": "calm"}, "expected two different names or more"),
        ({"labels": ["a", "b", "c"]}, r"expected an output \(N, 3\), one for each label, found \(\?, 2\)"),
        ({"logits": False}, "say logits=True"),
        ({"std": 0.0}, "std: expected numbers above 0"),
        ({"mean": [0.1, 0.2]}, "mean: expected one number or 1"),
        ({"margin": 3.0}, "margin: expected -0.5 to 1"),
        ({"model": "soft.onnx"}, "say logits=False"),
        ({"model": "free.onnx"}, "expected a fixed height and width"),
        ({"model": "deep.onnx"}, "of 1 or 3 channels"),
    ],
)
def test_a_network_that_is_not_as_was_said_is_told_in_one_line(tmp_path, monkeypatch, changes, line):
    monkeypatch.chdir(tmp_path)
    write_network(Path("net.onnx"))
    write_network(Path("soft.onnx"), softmax=True)
    write_network(Path("free.onnx"), side="side")
    write_network(Path("deep.onnx"), channels=5)
    Path("text.onnx").write_text("no network")
    values = {"model": "net.onnx", "out": "own.xml", "labels": ["calm", "tense"]} | changes
    with pytest.raises(streamer.UserError, match=line) as error:
        streamer.convert_classifier(values.pop("model"), values.pop("out"), values.pop("labels"), **values)
    assert "\n" not in str(error.value)


def test_a_converted_network_serves_the_command_line_too(tmp_path: Path):
    write_network(tmp_path / "own.onnx", channels=3)
    out = streamer.convert_classifier(tmp_path / "own.onnx", tmp_path / "own.xml", ["calm", "tense"])
    command = ("run", EXAMPLES / "two.jpg", "--log", tmp_path / "out.jsonl", "--set", f"classifier.model={out}")
    refused = command_line(*command)
    assert refused.returncode == 2
    assert "with regions=null the classifier judges partly hidden faces too" in refused.stderr
    done = command_line(*command, "--set", "regions=null")
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    faces = [one for line in lines for one in line.get("faces", ())]
    assert {name for one in faces for name in one["probabilities"]} == {"calm", "tense"}


@pytest.mark.parametrize("name", FIVE)
def test_a_script_for_new_users_has_ten_lines_at_most(name: str):
    lines = (SCRIPTS / f"{name}.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10


def script(name: str, *arguments: object, folder: Path) -> str:
    """Run a script in a folder; return what it printed."""
    done = python(SCRIPTS / f"{name}.py", *arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_what_the_pages_show_runs_as_it_stands(page: str, tmp_path: Path):
    shutil.copy(EXAMPLES / "two.jpg", tmp_path / "photo.jpg")
    write_video(tmp_path / "clip.mp4", frames=10)
    write_network(tmp_path / "network.onnx", channels=3)
    text = (SCRIPTS.parents[1] / page).read_text(encoding="utf-8")
    code = "".join(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "streamer." in block)
    assert code.count("streamer.") > 3
    code = code.replace("streamer.watch(0)", "streamer.watch('clip.mp4')")  # here is no webcam
    (tmp_path / "page.py").write_text(f"import streamer\nnames = ['photo.jpg']\n{code}", encoding="utf-8")
    done = python("page.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "happiness" in done.stdout


def test_the_script_that_makes_a_table_of_photos(tmp_path: Path):
    told = script("photo_table", EXAMPLES / "two.jpg", EXAMPLES / "portrait.jpg", folder=tmp_path)
    assert told.count("happiness") == 3
    with (tmp_path / "faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["two.jpg", "two.jpg", "portrait.jpg"]
    assert {row["label"] for row in rows} <= {*LABELS, "uncertain"}


def test_the_script_that_watches_a_webcam_with_a_video_in_its_place(tmp_path: Path):
    lines = script("webcam", EXAMPLES / "clip.mp4", folder=tmp_path).splitlines()
    assert len(lines) == 100
    assert lines[-1].startswith("3.96 s")
    assert sum("happiness" in line for line in lines) > 50


def test_the_script_with_a_sink_of_its_own(tmp_path: Path):
    assert script("own_sink", EXAMPLES / "clip.mp4", "faces.db", folder=tmp_path) == ""
    with sqlite3.connect(tmp_path / "faces.db") as database:
        rows = database.execute("SELECT time, id, label, confidence FROM faces").fetchall()
    database.close()
    assert len(rows) > 50
    assert rows == sorted(rows, key=lambda row: row[0])


def test_the_script_with_a_network_and_labels_of_its_own(tmp_path: Path):
    write_network(tmp_path / "net.onnx", channels=3)
    told = script("own_network", "net.onnx", EXAMPLES / "two.jpg", "calm", "tense", folder=tmp_path)
    assert len(told.splitlines()) == 2
    assert "'calm'" in told
    assert "'tense'" in told


def test_the_script_with_arrays_of_its_own(tmp_path: Path):
    lines = script("own_arrays", EXAMPLES / "clip.mp4", folder=tmp_path).splitlines()
    assert len(lines) == 100
    assert lines[1].startswith("0.04 s")
    assert sum("happiness" in line for line in lines) > 50
