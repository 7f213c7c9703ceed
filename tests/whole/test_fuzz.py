"""Ten thousand bad inputs for every surface that takes what comes from outside: each is told in words, none crashes.

`make soak` runs them; `--hypothesis-seed` repeats a run.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import load_engine
from engines.errors import UserError
from streamer.config import Config, check_config, load_config
from streamer.records.reading import problems, read_log, trusting
from streamer.records.run_manifest import read_manifest
from streamer.records.summary import summarise_log
from streamer.records.tables import convert
from streamer.sinks.log import LogSink
from streamer.sources import SourceError, open_source, redact
from streamer.sources.pictures import read_picture
from tests.make import face, result

CASES = 10_000
thoroughly = settings(
    max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True
)

SECTIONS = Config().model_dump()
NAMES = sorted({*SECTIONS, *(name for section in SECTIONS.values() if isinstance(section, dict) for name in section)})
SCALARS = (
    None,
    True,
    0,
    -1,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "hog",
    "é\x00",
    "auto",
    b"x",
    "a" * 99,
)


def anything(chance: random.Random, names: list[str], depth: int = 3) -> Any:
    """Return a value as a YAML or JSON file might hold it, with names that mean something among its keys."""
    kind = chance.randrange(4 if depth else 2)
    if kind == 2:
        return [anything(chance, names, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 3:
        keys = [
            chance.choice(names) if chance.random() < 0.9 else str(chance.random()) for _ in range(chance.randrange(5))
        ]
        return {key: anything(chance, names, depth - 1) for key in keys}
    return chance.choice(SCALARS)


def one_line(error: Exception) -> None:
    text = " ".join(str(error).split())
    assert text
    assert len(text) < 20_000


# Configuration


@pytest.mark.slow
def test_any_configuration_is_taken_or_refused_in_words():
    chance, taken = random.Random(4), 0
    for _ in range(CASES):
        section = {name: anything(chance, NAMES, 2) for name in chance.sample(NAMES, chance.randrange(4))}
        overrides = [f"{chance.choice(NAMES)}.{chance.choice(NAMES)}={chance.choice(SCALARS)}"] * chance.randrange(2)
        try:
            check_config(Config, section, overrides, "fuzz")
            taken += 1
        except UserError as error:
            one_line(error)
    assert taken > CASES / 100


PIECES = [
    "detector",
    ":",
    " ",
    "\n",
    "  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!!python/object:os.system ",
    "|",
    "'",
    '"',
    "#",
    "%",
    "@",
    "\t",
    "kind",
    "hog",
    "1e999",
    ".nan",
    "~",
    "<<: ",
    "\x00",
    "é",
    "---\n",
]


@pytest.mark.slow
def test_any_file_is_a_configuration_or_refused_in_words(tmp_path: Path):
    path, chance = tmp_path / "fuzz.yaml", random.Random(7)
    for _ in range(CASES):
        path.write_text("".join(chance.choices(PIECES, k=chance.randrange(25))), encoding="utf-8")
        try:
            load_config(Config, path)
        except UserError as error:
            one_line(error)


def test_a_configuration_that_unfolds_into_billions_is_refused_in_a_line(tmp_path: Path):
    path = tmp_path / "laughs.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path.write_text("\n".join([*lines, "bars: *a8", "detector: {min_face: *a8}"]))
    with pytest.raises(ValueError, match="'detector.min_face'") as refused:
        load_config(Config, path)
    one_line(refused.value)


# Sources and their names


@pytest.mark.slow
@thoroughly
@given(
    st.text(max_size=60)
    | st.builds("{}://{}".format, st.sampled_from(["rtsp", "http", "udp", "x"]), st.text(max_size=50))
)
def test_any_text_is_a_source_or_refused_in_words(text: str):
    redact(text)
    try:
        open_source(text)
    except SourceError as error:
        one_line(error)


@pytest.mark.slow
@thoroughly
@given(st.text("abcdefgh0123@:/?#&=%", min_size=0, max_size=30))
def test_no_password_is_ever_shown(rest: str):
    secret = "S3CRETWORD"
    assert secret not in redact(f"rtsp://user:{secret}@camera/{rest}")
    assert secret not in redact(f"http://camera/{rest.replace('?', '').replace('#', '')}?password={secret}&{rest}")


# Logs and manifests


@pytest.fixture(scope="module")
def whole_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("log") / "out.jsonl"
    with LogSink(path, {"version": "1"}) as sink:
        for index in range(4):
            sink.write(result(index, face(), face(track_id=2, expression=None)))
        sink.write_state("cam", "retrying", "gone", "lost")
    return path.read_bytes()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some changed, cut out, repeated, or replaced by what means something."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        end = min(len(changed), at + chance.choice((1, 1, 4, 40)))
        way = chance.randrange(5)
        if way == 0:
            changed[at:end] = chance.randbytes(end - at)
        elif way == 1:
            del changed[at:end]
        elif way == 2:
            changed[at:at] = changed[at:end]
        elif way == 3:
            changed[at:end] = chance.choice(
                (b"null", b"[]", b"{}", b"-1", b"1e999", b"\n", b'"', b"\xff", b"NaN", b"0" * 400)
            )
        else:
            del changed[at:]
    return bytes(changed)


def summed_up(path: Path) -> None:
    with trusting(path):
        summarise_log(read_log(path))


@pytest.mark.slow
def test_any_damaged_log_is_read_or_refused_in_words(whole_log: bytes, tmp_path: Path):
    path = tmp_path / "out.jsonl"
    chance = random.Random(0)
    for _ in range(CASES):
        path.write_bytes(damaged(whole_log, chance))
        for use in (
            lambda: list(problems(path)),
            lambda: summed_up(path),
            lambda: convert(path, tmp_path / "out.csv"),
        ):
            try:
                use()
            except (UserError, OSError) as error:
                one_line(error)


@pytest.mark.slow
def test_any_json_is_a_manifest_or_refused_in_words(tmp_path: Path):
    path, chance = tmp_path / "fuzz.manifest.json", random.Random(5)
    names = ["manifest", "run", "version", "versions", "inputs", "config", "models", "log", "sha256", "live", *NAMES]
    for _ in range(CASES):
        value = {"manifest": 1} | {name: anything(chance, names) for name in chance.sample(names, 7)}
        path.write_text(json.dumps(value if chance.random() < 0.95 else anything(chance, names), default=str))
        try:
            read_manifest(path)
        except UserError as error:
            one_line(error)


# The control API


@pytest.fixture(scope="module")
def api() -> Iterator[Callable[..., Any]]:
    """Return a function that sends a request to a service whose streams are refused, and gives the answer."""
    pytest.importorskip("fastapi", reason="needs fastapi (extra serve)")
    from starlette.testclient import TestClient

    from streamer.service.control import Desk, Health, Refused, create_app
    from streamer.service.guard import Guard
    from streamer.watching.door import Door

    class Board:
        def list(self) -> list[Any]:
            return []

        def add(self, wish: Any) -> Any:
            open_source(wish.source)
            raise Refused(503, "full")

        def remove(self, name: str) -> None:
            raise Refused(404, "no such stream")

        def health(self) -> Health:
            return Health(streams=0, load=0.0, shed="nothing")

    desk, done = Desk(), threading.Event()

    def work() -> None:
        while not done.wait(0.0005):
            desk.work()

    thread = threading.Thread(target=work)
    thread.start()
    app = Guard(create_app(Board(), desk), Door(), token="right", requests=1e9)
    with TestClient(app, raise_server_exceptions=True) as client:
        yield client.request
    done.set()
    thread.join()


METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")
PATHS = ("/streams", "/streams", "/streams/x", "/health", "/healthz", "/readyz", "/metrics", "/", "/streams/%2e%2e")
HEADERS = {
    "authorization": ("Bearer right", "Bearer right", "Bearer wrong", "Bearer é", "Basic x", ""),
    "content-type": ("application/json", "text/plain", ""),
    "content-length": ("5", "-1", "99999999", "x"),
    "transfer-encoding": ("chunked", "gzip"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_any_request_is_answered_in_words(api: Callable[..., httpx.Response]):
    chance, codes = random.Random(6), set()
    for _ in range(CASES):
        chosen = chance.sample(sorted(HEADERS), chance.choice((1, 1, 2, 3)))
        headers = {name: chance.choice(HEADERS[name]).encode("latin-1") for name in {"authorization", *chosen}}
        body = chance.choice(
            (chance.randbytes(30), json.dumps(anything(chance, ["source", "name"], 2), default=str).encode(), b"")
        )
        path = chance.choice(PATHS)
        answer = api(chance.choice(METHODS), path, headers=headers, content=body)
        codes.add(answer.status_code)
        if path.startswith("/streams") and headers["authorization"] != b"Bearer right":
            assert answer.status_code >= 400
    assert codes <= {200, 400, 401, 404, 405, 413, 422, 503}
    assert {200, 401, 404, 405, 413, 422} <= codes


# Pictures


@pytest.mark.slow
def test_any_damaged_picture_is_decoded_or_left_out(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    whole = {}
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp", ".ppm"):
        path = tmp_path / f"whole{suffix}"
        cv2.imwrite(str(path), image)
        whole[suffix] = path.read_bytes()
    run_apart(
        """
wholes = {path.suffix: path.read_bytes() for path in folder.glob("whole*")}
read = 0
for case in range(cases):
    suffix = chance.choice(sorted(wholes))
    path = folder / f"case{suffix}"
    path.write_bytes(damaged(wholes[suffix], chance))
    picture = read_picture(path)
    assert picture is None or (picture.ndim == 3 and picture.dtype == "uint8"), case
    read += picture is not None
assert cases / 100 < read < cases
""",
        tmp_path,
    )


# Models


def refused_or_run(path: Path, task: str) -> bool:
    """Load a model and tell whether it runs; a refusal must be one short line."""
    try:
        load_engine(path, task, precision="f32").close()
    except (UserError, OSError) as error:
        one_line(error)
        return False
    return True


def garbled(text: bytes, chance: random.Random) -> bytes:
    """Return JSON that is JSON still, with some values replaced or left out."""
    whole = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        places = list(inside(whole))
        if places:
            holder, key = chance.choice(places)
            values = (*SCALARS[:10], [], {}, chance.choice(places)[0], None)
            value = values[chance.randrange(len(values))]
            if value is None:
                del holder[key]
            else:
                holder[key] = json.loads(json.dumps(value))
    return json.dumps(whole).encode()


def inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a JSON value as its holder and its key or index."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield value, key
        yield from inside(one)


def damaged_archive(whole: bytes, chance: random.Random) -> bytes:
    """Damage an archive: its bytes, the bytes of one member, or the values of a member that is JSON."""
    if chance.random() < 0.3:
        return damaged(whole, chance)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        texts = [name for name in names if name.endswith((".json", "/spec"))]
        change, chosen = chance.choice(((damaged, chance.choice(names)), (garbled, chance.choice(texts))))
        for name in names:
            new.writestr(name, change(old.read(name), chance) if name == chosen else old.read(name))
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage", "needed"), [("tiny.onnx", "damaged", "onnx"), ("tiny.pt2", "damaged_archive", "torch")]
)
def test_any_damaged_model_is_refused_in_words_or_runs(tmp_path: Path, name: str, damage: str, needed: str):
    pytest.importorskip(needed, reason=f"needs {needed} (extra train)")
    from tests.networks import write_tiny

    write_tiny(tmp_path)
    run_apart(
        f"""
whole = (folder / "{name}").read_bytes()
assert refused_or_run(folder / "{name}", "expression")
ran = 0
for case in range(cases):
    path = folder / "case{Path(name).suffix}"
    path.write_bytes({damage}(whole, chance))
    ran += refused_or_run(path, "expression")
assert 0 < ran < cases / 2, ran
""",
        tmp_path,
    )


@pytest.mark.slow
def test_any_shipped_model_that_is_cut_or_has_wrong_bits_is_refused_in_words_or_runs(tmp_path: Path):
    """Half of the wrong bits lie where graph and spec are, not in the weights between."""
    run_apart(
        """
tasks = {"detector": "detection", "landmarks": "landmarks"}
counts = Counter()
for whole in sorted(ZOO.glob("*.onnx")):
    data = whole.read_bytes()
    path = folder / whole.name
    for case in range(cases // 100):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 8, 64))):
            edge = chance.choice((len(data), 4096, 4096))
            at = chance.randrange(edge) - chance.choice((0, edge))
            changed[at] ^= 1 << chance.randrange(8)
        if case % 3 == 0:
            del changed[chance.randrange(len(data)):]
        path.write_bytes(changed)
        counts[refused_or_run(path, tasks.get(whole.name.split(".")[0], "expression"))] += 1
    path.unlink()
assert min(counts[True], counts[False]) > 10, counts
""",
        tmp_path,
    )


def run_apart(code: str, folder: Path) -> None:
    """Run a program that may crash in a process of its own; it sees `folder`, `cases` and `chance`."""
    head = f"""
import random, sys
from collections import Counter
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from engines import ZOO
from streamer.sources.pictures import read_picture
from tests.whole.test_fuzz import damaged, damaged_archive, refused_or_run
folder, cases, chance = Path({str(folder)!r}), {CASES}, random.Random(1)
"""
    command = [sys.executable, "-c", head + code]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=900, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_a_picture_of_absurd_size_is_left_out(tmp_path: Path):
    path = tmp_path / "bomb.ppm"
    path.write_bytes(b"P6 30000 30000 255\n")
    script = f"""
from streamer.__main__ import limit_memory
limit_memory()
from pathlib import Path
from streamer.sources.pictures import read_picture
assert read_picture(Path({str(path)!r})) is None
status = Path("/proc/self/status")  # getrusage would tell the peak of the process that started this one
peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
assert int(peak.split()[1]) < 600_000
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_whole_picture_of_more_pixels_than_the_command_line_takes_is_left_out(tmp_path: Path):
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.zeros((14_200, 14_200), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    script = f"""
from pathlib import Path
import streamer.__main__
from streamer.sources.pictures import read_picture
assert read_picture(Path({str(path)!r})) is None
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_small_part_of_each_surface_holds_in_every_run(whole_log: bytes, tmp_path: Path):
    chance = random.Random(3)
    path = tmp_path / "out.jsonl"
    for _ in range(200):
        path.write_bytes(damaged(whole_log, chance))
        with suppress(UserError, OSError):
            list(problems(path))
        picture = tmp_path / "x.png"
        picture.write_bytes(damaged(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes(), chance))
        read_picture(picture)
