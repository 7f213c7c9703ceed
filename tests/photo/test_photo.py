"""Group photos: whatever comes as a photo, what a group shows, and what `streamer photo` leaves behind."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from streamer.commands.photo import run
from streamer.config import Config
from streamer.photo.decode import Photo, photo_paths, read_photo
from streamer.photo.group import sum_up
from streamer.photo.render import record, report
from streamer.types import NO_REGION, Expression, Face, Frame, Result
from tests.conftest import LABELS
from tests.make import SAMPLE, expression, face, streamer


def striped(height: int = 60, width: int = 90) -> NDArray[np.uint8]:
    """Return a picture that is bright on the left."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 3] = (40, 120, 220)
    return image


def judged(label: str, confidence: float = 0.8, happiness: float = 0.1, reliability: float | None = None) -> Face:
    shares = dict.fromkeys(LABELS, 0.0) | {label: confidence, "happiness": happiness}
    return face(expression=expression(label, confidence, probabilities=shares, reliability=reliability))


def hidden() -> Face:
    """Return a face that cannot be judged, as the stage of expressions gives it."""
    expression = Expression("uncertain", 1 / 8, dict.fromkeys(LABELS, 1 / 8), NO_REGION, None, True, 0.0)
    return Face(2, np.zeros(4, np.float32), 0.9, 0.0, expression=expression)


def huge_png(path: Path, width: int, height: int) -> Path:
    """Write the head of a PNG that says it is huge."""
    data = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"0")):
        data += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data)
    return path


def test_a_turned_photo_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(striped()[..., ::-1]).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_photo(tmp_path / "a.jpg").image
    assert image.shape == (90, 60, 3)
    assert image[:20].mean() > 80 > 10 > image[40:].mean()


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_picture_becomes_bgr(tmp_path: Path, mode: str) -> None:
    rgb = Image.fromarray(striped()[..., ::-1])
    grey = np.asarray(rgb.convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    (wide if mode == "I;16" else rgb.convert(mode)).save(path)
    photo = read_photo(path)
    assert photo.image.shape == (60, 90, 3)
    assert photo.image.dtype == np.uint8
    assert photo.image[:, :28].mean() > photo.image[:, 40:].mean() + 80
    assert photo.notes == ()


def test_an_animated_picture_gives_its_first_and_says_so(tmp_path: Path) -> None:
    pictures = [Image.fromarray(striped()[..., ::-1]), Image.new("RGB", (90, 60))]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    photo = read_photo(tmp_path / "a.gif")
    assert photo.image[:, :28].mean() > 80
    assert photo.notes == ("animated: its first picture",)


def test_a_hundred_megapixels_are_scaled_with_a_note(tmp_path: Path) -> None:
    Image.new("L", (10_000, 10_000), 90).save(tmp_path / "a.png", compress_level=1)
    photo = read_photo(tmp_path / "a.png")
    assert 39e6 < photo.image.shape[0] * photo.image.shape[1] <= 40e6
    assert photo.notes == ("scaled from 10000 × 10000",)


@pytest.mark.parametrize("size", [(20_000, 9_500), (60_000, 60_000)])
def test_more_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at most 178"):
        read_photo(huge_png(tmp_path / "a.png", *size))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7 whatever", "found a PDF"),
        (b"", "found an empty file"),
        (b"\x00\x00\x00\x18ftypmp42", "found a video"),
        (b"PK\x03\x04word", "found a ZIP archive or office document"),
        (b"just words, no picture", "found something else"),
        (b"\xff\xd8\xff\xe0\x00", "found a JPEG that is cut off"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=f"^a.jpg: expected a picture .*{said}"):
        read_photo(tmp_path / "a.jpg")


def test_paths_come_from_files_folders_and_patterns_once(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    both = [tmp_path / "2.png", tmp_path / "10.png"]
    assert photo_paths([str(tmp_path)]) == both
    assert photo_paths([str(tmp_path / "*.png"), str(both[0])]) == both
    assert photo_paths([str(tmp_path / "notes.txt")]) == [tmp_path / "notes.txt"]
    with pytest.raises(ValueError, match="no photo there"):
        photo_paths([str(tmp_path / "none*.jpg")])


def test_a_group_is_summed_up_by_confidence_and_reliability() -> None:
    group = sum_up(
        [
            judged("happiness", 0.9, 0.9, reliability=0.9),
            judged("happiness", 0.6, 0.6, reliability=0.9),
            judged("sadness", 0.5, 0.2, reliability=0.6),
            Face(4, np.zeros(4, np.float32), 0.9, 0.0),
        ]
    )
    assert group.faces == 4
    assert group.counts == {"happiness": 2, "sadness": 1}
    assert group.shares == pytest.approx({"happiness": 0.75, "sadness": 0.25})
    assert group.happiness == pytest.approx(100 * (0.81 + 0.54 + 0.12) / 2.4)
    assert group.happei == pytest.approx(group.happiness / 20)
    assert group.agreement == pytest.approx(1 / 3)


def test_faces_that_cannot_be_judged_change_no_figure_and_uncertain_ones_do_not_agree() -> None:
    faces = [judged("happiness", 0.95, 0.95), judged("sadness", 0.6, 0.1)]
    alone, beside = sum_up(faces), sum_up([*faces, hidden(), hidden(), hidden()])
    assert beside == replace(alone, faces=5)
    nobody = sum_up([hidden(), hidden()])
    assert (nobody.faces, nobody.counts, nobody.shares, nobody.happiness) == (2, {}, {}, None)
    unsure = sum_up([judged("uncertain", 0.3), judged("uncertain", 0.3), judged("fear")])
    assert unsure.counts == {"uncertain": 2, "fear": 1}
    assert unsure.agreement is None


def test_a_page_tells_how_many_faces_could_not_be_judged() -> None:
    pytest.importorskip("vl_convert", reason="needs the extra report")
    photo = Photo(striped())
    for faces, said in (
        ((judged("happiness"), hidden()), "2 faces, 1 of them too hidden to judge:\n"),
        ((hidden(),), "1 face, 1 of them too hidden to judge.\n"),
        ((judged("happiness"),), "1 face:\n"),
    ):
        values = record("a.jpg", photo, Result(Frame(photo.image, "a", 0, 0.0, 0.0), faces))
        assert f"<p>{said}" in report([values], [{}])
        assert [one["next"] is None for one in values["faces"]] == [not one.expression.judged for one in faces]


def test_unknown_reliability_weighs_as_the_others_and_nobody_gives_no_figure() -> None:
    assert sum_up([judged("fear", happiness=0.2), judged("fear", happiness=0.4)]).happiness == pytest.approx(30)
    nobody = sum_up([])
    assert (nobody.faces, nobody.happiness, nobody.agreement, nobody.shares) == (0, None, None, {})
    assert sum_up([judged("fear")]).agreement is None


def test_photos_give_pictures_json_and_a_page_that_fetches_nothing(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    capture = cv2.VideoCapture(str(SAMPLE))
    cv2.imwrite(str(photos / "two.jpg"), capture.read()[1])
    capture.release()
    cv2.imwrite(str(photos / "<b>nobody.png"), np.full((80, 120, 3), 90, np.uint8))
    (photos / "paper.jpg").write_bytes(b"%PDF-1.7")
    done = streamer("photo", photos, "--out", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert "paper.jpg: expected a picture" in done.stderr
    found = json.loads((tmp_path / "out/photos.json").read_text())
    by_name = {photo["name"]: photo for photo in found["photos"]}
    two = by_name["two.jpg"]
    assert two["summary"]["counts"] == {"happiness": 2}
    assert two["summary"]["happiness"] > 80
    assert all(sum(face["probabilities"].values()) == pytest.approx(1, abs=0.01) for face in two["faces"])
    assert {face["next"] for face in two["faces"]}.isdisjoint({"happiness", None})
    assert by_name["<b>nobody.png"]["faces"] == []
    assert "paper.jpg" in found["unreadable"][0]
    assert cv2.imread(str(tmp_path / "out/two.png")).shape == cv2.imread(str(photos / "two.jpg")).shape
    page = (tmp_path / "out/report.html").read_text()
    assert "No face was found" in page
    assert "<b>nobody" not in page
    assert 'vegaEmbed("#shares"' in page
    assert not re.search(r'(src|href)="http', page)
    assert page.count("data:image/jpeg;base64,") == 2


def test_a_wrong_request_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7")
    for arguments, said in (
        ((tmp_path / "paper.jpg", "--out", tmp_path / "out"), "found a PDF"),
        ((tmp_path / "missing.jpg", "--out", tmp_path / "out"), "no photo there"),
        ((tmp_path / "paper.jpg", "--out", tmp_path / "paper.jpg"), "expected a folder to write to"),
    ):
        done = streamer("photo", *arguments)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("names", [["photos/a.png"], ["photos/*.png"], ["photos"], ["b.jpg"]])
def test_no_photo_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a", "b"):
        Image.fromarray(striped()).save(f"photos/{name}.png")
    Path("b.jpg").symlink_to("photos/b.png")
    before = {path: path.read_bytes() for path in Path("photos").iterdir()}
    with pytest.raises(ValueError, match=r"photos/[ab]\.png: is a source too, and would be replaced: choose another"):
        run(Config(), names, Path("photos"))
    assert {path: path.read_bytes() for path in Path("photos").iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "closed" in streamer("photo", SAMPLE, "--out", closed / "out").stderr


def test_a_network_that_knows_no_happiness_gives_no_figure_of_it() -> None:
    said = replace(expression("sadness"), probabilities={"calm": 0.3, "sadness": 0.7})
    group = sum_up([replace(judged("sadness"), expression=said)])
    assert (group.happiness, group.happei, group.counts) == (None, None, {"sadness": 1})
