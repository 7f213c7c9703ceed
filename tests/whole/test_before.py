"""What the program wrote and was told before its parts were moved: logs, YAML files and command lines hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

import streamer.__main__ as streamer_main
import train.__main__ as train_main
from streamer.config import Config, load_config
from streamer.watching.metrics import Metrics
from tests.make import SAMPLE
from tests.make import streamer as run_streamer

YAML = Path(__file__).with_name("before.yaml")
FACE = (
    '{"id":1,"box":[113.3,101.0,248.7,271.0],"score":0.9516,"label":"happiness","confidence":0.995,"probabilities":'
    '{"neutral":0.0031,"happiness":0.995,"surprise":0.0016,"sadness":0.0,"anger":0.0,"disgust":0.0,"fear":0.0002,'
    '"contempt":0.0001},"region":"face","reliability":0.9254,"visible":{"eyes":0.9928,"nose":0.9927,"mouth":0.992},'
    '"usable":0.9996,"stable":false,"detected_time":0.0,"classified_time":0.0}'
)
LOG = f"""\
{{"type":"run","schema":1,"run":"2d3f3c6b1f4f43f39478b1477f8e8f3a","part":1,"started":"2026-11-30T01:02:23.322Z",\
"version":"0.1.0","models":{{"zoo/face.onnx":"38aa4b9f343d0785885e45f3d18f9ecef4564b5ff324a6ff595423df55a6ec4a"}},\
"sources":{{"clip":{{"live":false}}}}}}
{{"type":"source","stream":"clip","state":"connecting","reason":"","cause":null,"wall_time":"2026-11-30T01:02:23.601Z"}}
{{"type":"source","stream":"rtsp://127.0.0.1:9/live","state":"failed","reason":"rtsp://127.0.0.1:9/live: connection \
refused","cause":"refused","wall_time":"2026-11-30T01:02:23.602Z"}}
{{"type":"frame","stream":"clip","index":0,"time":0.0,"wall_time":"2026-11-30T01:02:23.366Z","faces":[{FACE}]}}
{{"type":"frame","stream":"clip","index":1,"time":0.04,"wall_time":"2026-11-30T01:02:23.390Z","faces":[]}}
{{"type":"gap","lost":2,"reason":"No space left on device","since":"2026-11-30T01:02:23.400Z",\
"wall_time":"2026-11-30T01:02:23.500Z"}}
{{"type":"source","stream":"clip","state":"ended","reason":"","cause":null,"wall_time":"2026-11-30T01:02:23.802Z"}}
"""
TABLE = """\
run,stream,index,time,wall_time,id,box_x1,box_y1,box_x2,box_y2,score,label,confidence,probabilities_neutral,\
probabilities_happiness,probabilities_surprise,probabilities_sadness,probabilities_anger,probabilities_disgust,\
probabilities_fear,probabilities_contempt,region,reliability,visible_eyes,visible_nose,visible_mouth,usable,stable,\
detected_time,classified_time
2d3f3c6b1f4f43f39478b1477f8e8f3a,clip,0,0.0,2026-11-30T01:02:23.366Z,1,113.3,101.0,248.7,271.0,0.9516,happiness,0.995,\
0.0031,0.995,0.0016,0.0,0.0,0.0,0.0002,0.0001,face,0.9254,0.9928,0.9927,0.992,0.9996,False,0.0,0.0
"""
METRICS = (
    "build classifications detections events_waiting faces frames frames_dropped label_changes labels latency_seconds "
    "load model results results_fresh shedding_step sink_failing sink_lost source_failures source_retries source_state "
    "stage_batch_size stage_seconds tracks"
)
FIGURES = "dropped faces fps frames fresh_results latency_ms results retries tracks detections"
OPTIONS = {
    "run": "--config --events --log --set --summary --video --window",
    "photo": "--attention --config --out --report --set",
    "explain": "--config --out --set",
    "demo": "--auth --config --host --port --seats --set",
    "report": "--out --thumbnails",
    "serve": "--config --events --log --set --token",
    "bench": "--config --duration --faces --fps --json --offline --plot --set --size --source --streams --warm-up",
    "batch": "--config --out --ray --set",
    "replay": "--log",
    "log convert": "--rows",
    "log validate": "",
    "log summary": "--json",
    "train fit": "--data --set --until",
    "train repeat": "--data --folds --seeds --set --split",
    "train evaluate": "--data --out --set --set-name --split",
    "train export": "--data --format --int8 --out --precision --set --target --test",
    "train compare": "--data --out --set --split",
    "train explain": "--data --out --per-class --set --split --store",
    "train analyze faithful": "--data --faces --out --set --split",
    "train analyze saliency": "--data --faces --out --set --split",
    "train analyze transfer": "--most --out --photos",
    "train analyze regions": "--data --out --set --split",
    "train analyze grid": "--data --out --per-class --set --split",
    "train analyze occlusion": "--data --landmarks --most --occluders --out --set --split",
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    path.write_text(LOG)
    return path


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(streamer_main.app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_log_of_before_is_valid_and_summed_up(log: Path):
    assert invoke("log", "validate", log).strip() == f"{log}: valid"
    found = json.loads(invoke("log", "summary", log, "--json"))
    assert (found["runs"], found["lost"]) == (1, 2)
    clip = {"frames": 2, "seconds": 0.04, "faces": 1, "tracks": 1, "labels": {"happiness": 1.0}}
    assert found["streams"]["clip"] == clip | {"states": {"connecting": 1, "ended": 1}}
    assert found["streams"]["rtsp://127.0.0.1:9/live"]["states"] == {"failed": 1}


def test_a_log_of_before_becomes_the_same_table(log: Path, tmp_path: Path):
    table = tmp_path / "faces.csv"
    invoke("log", "convert", log, table)
    assert table.read_text() == TABLE


def test_a_log_of_before_becomes_a_page(log: Path):
    invoke("report", log)
    assert "Emotions over time" in log.with_suffix(".html").read_text()


def test_a_yaml_file_of_before_says_the_same():
    given = yaml.safe_load(YAML.read_text())
    read = load_config(Config, YAML).model_dump(mode="json")
    assert _known_to(given, read) == given


def _known_to(given: Any, read: Any) -> Any:
    """Return what was read of the keys that are given; later versions may have more."""
    return {key: _known_to(value, read[key]) for key, value in given.items()} if isinstance(given, dict) else read


def _options(app: typer.Typer, words: list[str]) -> set[str]:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("command", OPTIONS)
def test_the_options_of_before_are_known(command: str):
    words = command.split()
    app = train_main.app if words[0] == "train" else streamer_main.app
    assert set(OPTIONS[command].split()) <= _options(app, words[words[0] == "train" :])


def test_a_command_line_and_a_file_of_before_give_what_they_gave(tmp_path: Path):
    summary, log = tmp_path / "summary.json", tmp_path / "out.jsonl"
    given = ("--config", YAML, "--set", "detection.interval=0.4", "--set", "log.retention=null", "--log", log)
    done = run_streamer("--json-logs", "run", SAMPLE, *given, "--summary", summary)
    assert done.returncode == 0, done.stderr
    found = json.loads(summary.read_text())
    assert set(found) >= {*FIGURES.split(), "seconds", "stages_ms", "sources"}
    assert set(found["sources"]["sample"]) >= {*FIGURES.split(), "state"}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["state"] for line in lines if line["type"] == "source"] == ["connecting", "live", "ended"]
    assert set(next(line for line in lines if line.get("faces"))["faces"][0]) >= set(json.loads(FACE))
    assert log.with_suffix(".manifest.json").is_file()


def test_the_metrics_of_before_have_their_names():
    known = {family.name for family in Metrics().registry.collect()}
    assert {f"streamer_{name}" for name in METRICS.split()} <= known
