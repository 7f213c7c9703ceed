from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml

from streamer.build import build_stages
from streamer.config import Config, load_config
from streamer.pipeline import SourceState
from streamer.service.reload import reload
from streamer.sources import Cause, State
from streamer.types import Expression, Face, Frame, Result
from streamer.watching.health import SILENT_FOR, HealthServer, check_alive, check_ready
from streamer.watching.logs import JsonFormatter
from streamer.watching.metrics import Metrics
from tests.conftest import ListSource, picture
from tests.make import SAMPLE, pipeline, start, streamer

DEPLOY = Path(__file__).parents[2] / "configs" / "deploy"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="needs promtool, of Debian's package prometheus")


def promtool(*arguments: object, stdin: str | None = None) -> str:
    command = [str(PROMTOOL), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def said(label: str, time: float = 1.0, track_id: int = 1) -> Result:
    expression = Expression(label, 0.9, {"happiness": 0.9}, "face", None, True, 1.0)
    face = Face(track_id, np.zeros(4, np.float32), 0.9, 1.0, expression=expression)
    return Result(Frame(picture(), "cam", 0, time, time), (face,))


def served() -> Metrics:
    """Return metrics in which everything was recorded once."""
    metrics = Metrics()
    metrics.describe("1.2.3", {"zoo/face.onnx": "ab12"})
    for label in ("happiness", "uncertain", "uncertain"):
        metrics.record(said(label), captured=3, dropped=1)
    with metrics.stage("perceive", 2):
        pass
    metrics.record_state("cam", State.RETRYING, Cause.LOST)
    metrics.lost.labels("log").inc()
    metrics.failing.labels("log").set(1)
    return metrics


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


# Metrics


def test_labels_their_changes_causes_and_batches_are_counted():
    value = served().value
    assert value("streamer_labels_total", stream="cam", label="uncertain") == 2
    assert value("streamer_label_changes_total", stream="cam") == 1
    assert value("streamer_source_failures_total", stream="cam", cause="lost") == 1
    assert value("streamer_stage_batch_size_sum", stage="perceive") == 2
    assert value("streamer_model", path="face.onnx", sha256="ab12") == 1
    assert value("streamer_build_info", version="1.2.3", python=".".join(map(str, __import__("sys").version_info[:3])))


def test_a_label_of_another_face_is_no_change():
    metrics = Metrics()
    for track_id, label in ((1, "happiness"), (2, "anger"), (2, "anger")):
        metrics.record(said(label, track_id=track_id), captured=1, dropped=0)
    assert metrics.value("streamer_label_changes_total", stream="cam") == 0


@needs_promtool
def test_prometheus_finds_no_fault_with_the_metrics():
    with HealthServer(pipeline(metrics=served()), 0, "127.0.0.1") as server:
        _, text = get(server.port, "/metrics")
    assert promtool("check", "metrics", stdin=text).strip() == ""


@needs_promtool
def test_the_alert_rules_fire_when_they_should_and_only_then(tmp_path: Path):
    assert "SUCCESS" in promtool("check", "rules", DEPLOY / "alerts.yml")
    assert "SUCCESS" in promtool("check", "config", DEPLOY / "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", DEPLOY / "alerts.test.yml")
    tested = {
        test["alertname"]
        for test in yaml.safe_load((DEPLOY / "alerts.test.yml").read_text())["tests"][0]["alert_rule_test"]
    }
    [group] = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    assert tested == {rule["alert"] for rule in group["rules"]}


@needs_promtool
def test_the_dashboards_queries_are_valid(tmp_path: Path):
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert "SUCCESS" in promtool("check", "rules", path)


def test_alerts_and_dashboard_use_metrics_and_labels_that_exist():
    metrics = served()
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    known = {sample.name: set(sample.labels) for sample in samples}
    text = (DEPLOY / "alerts.yml").read_text() + (DEPLOY / "dashboard.json").read_text()
    used = set(re.findall(r"\bstreamer_\w+", text))
    assert len(used) > 12
    assert used <= set(known)
    states = {
        value for sample in samples if sample.name == "streamer_source_state" for value in [sample.labels["state"]]
    }
    for wanted in re.findall(r'state=~\\?"([\w|]+)', text):
        assert set(wanted.split("|")) <= states


# Health


def test_a_run_is_alive_while_its_loop_turns_and_ready_once_a_source_is_live():
    run = pipeline()
    assert check_alive(run)[0]
    assert not check_ready(run)[0]
    run.turned_at = 100.0
    run.states["cam"] = SourceState(State.LIVE, "", None, 0.0)
    run.states["door"] = SourceState(State.RETRYING, "connection refused", Cause.REFUSED, 12.3456)
    ready, details = check_ready(run, 101.0)
    assert ready
    assert details["sources"] == {
        "cam": {"state": "live", "reason": "", "cause": None, "since": 0.0},
        "door": {"state": "retrying", "reason": "connection refused", "cause": "refused", "since": 12.346},
    }
    assert not check_alive(run, 100.0 + SILENT_FOR)[0]
    assert not check_ready(run, 100.0 + SILENT_FOR)[0]
    run.states["cam"] = SourceState(State.STALLED, "", None, 0.0)
    assert not check_ready(run, 101.0)[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_health_is_served_beside_the_metrics():
    run = pipeline(ListSource("a", 1))
    with HealthServer(run, 0, "127.0.0.1") as server:
        port = server.port
        assert get(port, "/readyz")[0] == 503
        with run as results:
            list(results)
        run.states["a"] = SourceState(State.LIVE, "", None, 0.0)
        for path in ("/healthz", "/readyz"):
            code, text = get(port, path)
            assert (code, json.loads(text)["sources"]["a"]["state"]) == (200, "live")
        assert get(port, "/else")[0] == 404
        assert "streamer_results_total" in get(port, "/metrics")[1]


# Logs and reload


def test_log_records_become_one_json_object_a_line():
    logger = logging.getLogger("streamer.test")
    record = logger.makeRecord(logger.name, logging.WARNING, "f", 1, "lost %s", ("ä",), None, extra={"stream": "cam"})
    line = json.loads(JsonFormatter().format(record))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "WARNING", "logger": "streamer.test", "message": "lost ä", "stream": "cam"}


def test_with_json_logs_nothing_else_is_printed(tmp_path: Path):
    done = streamer("--json-logs", "run", SAMPLE, "rtsp://me:hunter2@127.0.0.1:9/x", "--set", "source.retries=0")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["state"] for line in lines if line.get("stream") == "sample"] == ["connecting", "live", "ended"]
    [summary] = [line["summary"] for line in lines if "summary" in line]
    assert summary["sources"]["sample"]["results"] > 100
    assert lines[-1]["level"] == "ERROR"
    assert "hunter2" not in done.stderr


def test_a_reload_takes_over_what_can_be_changed_and_says_what_cannot(caplog: pytest.LogCaptureFixture):
    now = Config()
    wanted = load_config(Config, None, ["expression.threshold=0.9", "privacy.blur=faces", "detector.min_face=60"])
    stages = build_stages(now)
    with stages.pipeline([ListSource("a", 5)]) as results:
        kept = reload(stages, now, lambda: wanted)
        list(results)
    assert (kept.expression.threshold, kept.privacy.blur, kept.detector.min_face) == (0.9, "faces", None)
    assert "expression, privacy changed" in caplog.text
    assert "detector can only be changed by a restart" in caplog.text
    assert stages.express.settings.threshold == 0.9
    assert stages.finish.blur == "faces"


def test_a_wrong_configuration_is_not_reloaded(caplog: pytest.LogCaptureFixture):
    now, stages = Config(), build_stages(Config())

    def wrong() -> Config:
        return load_config(Config, None, ["expression.threshold=9"])

    assert reload(stages, now, wrong) is now
    stages.close()
    assert "configuration not reloaded: configuration: 'expression'" in caplog.text


def test_a_running_program_tells_its_health_and_reloads_its_file_on_sighup(tmp_path: Path):
    config, log = tmp_path / "my.yaml", tmp_path / "out.jsonl"
    config.write_text("expression: {threshold: 0.4}\n")
    port = free_port()
    run = start("run", SAMPLE, "--config", config, "--log", log, "--set", f"metrics.port={port}")
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 8) and time.monotonic() < deadline:
        time.sleep(0.02)
    answers = {path: get(port, path) for path in ("/healthz", "/readyz", "/metrics")}
    config.write_text("expression: {threshold: 0.99}\n")
    run.send_signal(signal.SIGHUP)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    assert "configuration reloaded: expression changed" in errors
    assert {path: status for path, (status, _) in answers.items()} == dict.fromkeys(answers, 200)
    assert json.loads(answers["/readyz"][1])["sources"]["sample"]["state"] == "live"
    assert 'streamer_model{path="face.onnx"' in answers["/metrics"][1]
