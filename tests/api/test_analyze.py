from __future__ import annotations

import gc
import http.server
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import streamer
from streamer.api import pictures, warm
from tests.api.parts import EXAMPLES, OneFace, light
from tests.make import streamer as command_line
from tests.web import Quiet, web_server

TWO = EXAMPLES / "two.jpg"


class Pictures(Quiet, http.server.BaseHTTPRequestHandler):
    """Send a picture to who says the right password; other paths fail in several ways."""

    data = b""

    def do_GET(self) -> None:
        if self.path.startswith("/gone"):
            self.send_error(404)
        elif self.path.startswith("/closed") and self.headers["Authorization"] != "Basic bWU6c2Vjw6lyZXQ=":
            self.send_error(401)
        elif self.path.startswith("/short"):
            self.send_response(200)
            self.send_header("Content-Length", str(2 * len(self.data)))
            self.end_headers()
            self.wfile.write(self.data)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.data)


@pytest.fixture(scope="module", autouse=True)
def _freed():
    yield
    streamer.close()


def said(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return what an error says, in one line."""
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


def test_a_photo_is_called_the_same_as_by_the_command(tmp_path: Path):
    names = ["two.jpg", "hidden.jpg", "side.jpg"]
    shutil.copy(EXAMPLES / "hidden.jpg", tmp_path)
    shutil.copy(TWO, tmp_path)
    portrait = np.asarray(cv2.imread(str(EXAMPLES / "portrait.jpg")))
    cv2.imwrite(str(tmp_path / "side.jpg"), np.rot90(portrait))
    paths = [tmp_path / name for name in names]
    done = command_line("photo", *paths, "--out", tmp_path / "out", "--no-report")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "photos.json").read_text())["photos"]
    found = streamer.analyze(paths)
    assert [json.loads(json.dumps(one.to_dict())) for one in found] == told
    assert found[2].notes == ("turned by 90°",)
    assert [len(one) for one in found] == [2, 2, 1]
    assert all(one.image is None for one in found)
    by_array = streamer.analyze(cv2.imread(str(paths[0])))
    assert [face.to_dict() for face in by_array] == [face.to_dict() for face in found[0]]
    rgb = np.asarray(Image.open(paths[0]))
    by_rgb = streamer.analyze(rgb, rgb=True)
    assert [face.label for face in by_rgb] == [face.label for face in by_array]
    assert [face.to_dict() for face in streamer.analyze(paths[0].read_bytes())] == [face.to_dict() for face in found[0]]
    with web_server(Pictures, data=paths[0].read_bytes()) as address:
        assert streamer.analyze(f"{address}/two.jpg").to_dict() == found[0].to_dict()


def test_faces_are_a_sequence_and_hold_the_picture_and_the_keys_of_a_log():
    with light() as analyzer:
        faces = analyzer.analyze(np.zeros((80, 60, 3), np.uint8))
    assert len(faces) == len(list(faces)) == 1
    [face] = faces
    assert (face.label, face.confidence) == ("happiness", pytest.approx(0.9))
    assert faces[0] is faces[:1][0] is face
    assert (faces.name, faces.width, faces.height, faces.notes) == ("picture", 60, 80, ())
    assert faces.image is not None
    assert faces.image.shape == (80, 60, 3)
    assert repr(faces) == "<Faces of picture: happiness 0.90>"
    known = face.to_dict()
    assert known["box"] == [15, 20, 45, 60]
    assert known["label"] == "happiness"
    values = faces.to_dict()
    assert set(values["faces"][0]) - {"next"} <= set(known)
    values["faces"].clear()
    assert faces.to_dict()["faces"]


def test_several_pictures_give_a_list_with_names_of_their_own():
    array = np.zeros((40, 40, 3), np.uint8)
    with light() as analyzer:
        assert analyzer.analyze([]) == []
        found = analyzer.analyze(one for one in (array, str(TWO), TWO, array))
    assert [one.name for one in found] == ["picture", "two.jpg", "two.jpg-2", "picture-2"]
    assert [one.to_dict()["name"] for one in found] == [one.name for one in found]


def test_own_arrays_are_neither_frozen_nor_changed_and_may_lie_in_memory_as_they_like():
    detector = OneFace()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    with light(detector=detector) as analyzer:
        for array in (noise, noise[..., ::-1], noise[::2, ::-1], np.asfortranarray(noise)):
            before, writeable = array.copy(), array.flags.writeable
            faces = analyzer.analyze(array)
            assert array.flags.writeable == writeable
            assert (array == before).all()
            assert (detector.seen[-1] == before).all()
            assert faces.image is not None
            assert not faces.image.flags.writeable
        frozen = noise.copy()
        frozen.flags.writeable = False
        analyzer.analyze(frozen)
        analyzer.analyze(noise, rgb=True)
    assert (detector.seen[-1] == noise[..., ::-1]).all()


def test_privacy_holds_for_what_is_returned():
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    with light(overrides=["landmarks.kind=none", "privacy.blur=faces"]) as analyzer:
        faces = analyzer.analyze(noise)
    assert faces.image is not None
    assert (faces.image[25:55, 25:55] != noise[25:55, 25:55]).mean() > 0.9
    assert (faces.image[0] == noise[0]).all()


def test_a_picture_analysed_again_is_a_new_one():
    array = np.zeros((40, 40, 3), np.uint8)
    with light() as analyzer:
        assert [analyzer.analyze(array)[0].track_id for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("nothing.jpg", "nothing.jpg: no such file: expected a path"),
        ("", "empty path: no such file"),
        ("a\0b.jpg", "a?b.jpg: no such file"),
        ("/9j/" + "A" * 5000, r"\.\.\.: no such file"),
        (".", "found a folder: give its files as a list"),
        ("ftp://host/a.jpg", "expected an address http://"),
        ("http://[::1/a.jpg", "expected an address http://"),
        (b"", "picture: expected a picture .* found an empty file"),
        (b"%PDF-1.7", "found a PDF"),
        (bytearray(TWO.read_bytes()[:3000]), "picture: .*cut off|complete"),
        (np.zeros((4, 4), np.uint8), r"found \(4, 4\) uint8: cv2.cvtColor"),
        (np.zeros((4, 4, 4), np.uint8), "leave out transparency"),
        (np.zeros((2, 4, 4, 3), np.uint8), "as a list"),
        (np.zeros((4, 4, 3), np.float32), r"found \(4, 4, 3\) float32: values are 0 to 255"),
        (np.zeros((0, 4, 3), np.uint8), "with a pixel at least"),
        (None, "or several of them, found NoneType"),
        (7, "or several of them, found int"),
        ({"a": 1}, "found dict"),
        ([3], "expected a path, .* found int"),
    ],
)
def test_what_is_no_picture_is_told_in_one_line(given: object, line: str):
    with light() as analyzer, pytest.raises(streamer.UserError, match=line) as error:
        analyzer.analyze(given)
    assert len(said(error)) < 300


def test_an_address_that_gives_no_picture_is_told_without_its_password():
    data = TWO.read_bytes()
    with web_server(Pictures, data=data) as address, light() as analyzer:
        host = address.removeprefix("http://")
        for place, line in {
            f"{address}/gone.jpg": "error 404",
            f"http://me:wrong@{host}/closed.jpg?token=hush": "error 401",
            f"{address}/short.jpg": "cannot be decoded|cannot be read",
        }.items():
            with pytest.raises(streamer.UserError, match=line) as error:
                analyzer.analyze(place)
            assert "wrong" not in said(error)
            assert "hush" not in said(error)
        assert analyzer.analyze(f"http://me:sec%C3%A9ret@{host}/closed.jpg").name == "closed.jpg"
    with light() as analyzer:
        with pytest.raises(streamer.UserError, match="cannot be reached: Connection refused") as error:
            analyzer.analyze(f"http://me:secret@{host}/two.jpg")
        assert "secret" not in said(error)


def test_what_never_ends_is_not_fetched_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "LARGEST", 1000)
    with (
        web_server(Pictures, data=bytes(5000)) as address,
        light() as analyzer,
        pytest.raises(streamer.UserError, match="at most"),
    ):
        analyzer.analyze(address)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"config": "phtos"}, "phtos: expected a YAML file or one of the presets crowd, default, photos"),
        ({"config": 3}, "expected a preset's name, .* found int"),
        ({"overrides": ["detector.size=3"]}, "unknown key 'detector.size'"),
        ({"overrides": "detector.min_face=none"}, "detector.min_face"),
        ({"detector": "hog"}, "detector: expected an object with the method 'detect', found str"),
        ({"landmarker": 3}, "landmarker: expected an object with the method 'look', found int"),
        ({"classifier": OneFace()}, "classifier: expected an object with the method 'infer', found OneFace"),
    ],
)
def test_a_wrong_configuration_is_told_at_once_in_one_line(values: dict[str, object], line: str):
    with pytest.raises(streamer.UserError, match=line) as error:
        streamer.Analyzer(**values)
    said(error)


def test_a_configuration_is_a_preset_a_file_or_a_config_with_changes(tmp_path: Path):
    (tmp_path / "my.yaml").write_text("privacy: {blur: frame}\n")
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3), np.uint8)
    for config in (str(tmp_path / "my.yaml"), tmp_path / "my.yaml", streamer.Config(privacy={"blur": "frame"})):
        with light(config=config) as analyzer:
            image = analyzer.analyze(noise).image
        assert image is not None
        assert (image[:10, :10] == image[0, 0]).all()


def test_a_missing_model_is_told_by_the_first_use(tmp_path: Path):
    with (
        light(classifier=tmp_path / "gone.onnx") as analyzer,
        pytest.raises(streamer.UserError, match="gone.onnx: expected a model file, found none") as error,
    ):
        analyzer.analyze(np.zeros((40, 40, 3), np.uint8))
    said(error)


def test_a_closed_analyzer_says_so():
    analyzer = light()
    array = np.zeros((40, 40, 3), np.uint8)
    analyzer.analyze(array)
    analyzer.close()
    analyzer.close()
    for use in (lambda: analyzer.analyze(array), lambda: next(analyzer.watch([array]))):
        with pytest.raises(streamer.UserError, match="this analyzer is closed"):
            use()


def test_threads_take_turns_and_find_what_one_finds():
    inside, most = 0, 0
    lock = threading.Lock()

    def count(images: object) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.005)
        with lock:
            inside -= 1

    greys = [np.full((40, 40 + 2 * number, 3), number, np.uint8) for number in range(24)]
    with light(detector=OneFace(count)) as analyzer, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(analyzer.analyze, greys))
    assert most == 1
    assert [one.width for one in found] == [grey.shape[1] for grey in greys]
    assert all(one[0].label == "happiness" and one[0].track_id == 1 for one in found)


def test_one_warm_analyzer_is_kept_for_a_configuration_and_freed(monkeypatch: pytest.MonkeyPatch):
    made: list[streamer.Analyzer] = []

    def make(config: streamer.Config) -> streamer.Analyzer:
        made.append(light(config=config))
        return made[-1]

    streamer.close()
    monkeypatch.setattr(warm, "Analyzer", make)
    array = np.zeros((40, 40, 3), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(streamer.analyze, [array] * 8))
    assert len(made) == 1
    for preset in ("crowd", "default", "photos", "crowd"):
        streamer.analyze(array, config=preset)
    assert len(made) == 3
    assert len({id(made[0]), *(id(one) for one in warm._analyzers.values())}) == 3
    for face in range(40, 40 + warm.MOST):
        streamer.analyze(array, overrides=[f"detector.min_face={face}"])
    assert len(warm._analyzers) == warm.MOST
    with pytest.raises(streamer.UserError, match="closed"):
        made[0].analyze(array)
    streamer.close()
    assert not warm._analyzers
    assert streamer.analyze(array)[0].label == "happiness"
    streamer.close()
    gc.collect()
