"""Every loader on a tiny set in its documented layout, and what it says of a wrong one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from train.data import BASIC, EMOTIONS, LOADERS, FaceSet, labelled, load
from train.data.labels import label_distribution, majority_labels, seed_labels
from train.data.sets import utkface
from train.data.sets.expw import around_box
from train.data.splits import drawn, folded, portion, stratified_fifth

RANDOM = np.random.default_rng(0)


def write_picture(path: Path, height: int = 48, width: int = 48, colour: bool = False) -> NDArray[np.uint8]:
    picture = RANDOM.integers(0, 256, (height, width, 3) if colour else (height, width), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return picture


def pixels(seed: int) -> str:
    return " ".join(map(str, np.random.default_rng(seed).integers(0, 256, 48 * 48)))


def write_fer2013(folder: Path, rows: list[tuple[int, int, str]], header: str = "emotion,pixels,Usage") -> Path:
    """Write rows of emotion, seed of the pixels and Usage; columns in the order of the header."""
    folder.mkdir(exist_ok=True)
    order = [name.strip() for name in header.split(",")]
    cells = [{"emotion": str(label), "pixels": pixels(seed), "Usage": usage} for label, seed, usage in rows]
    lines = [header, *(",".join(row[name] for name in order) for row in cells)]
    name = "icml_face_data.csv" if " " in header else "fer2013.csv"
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


FER_ROWS = [(0, 1, "Training"), (3, 2, "Training"), (6, 3, "PublicTest"), (5, 2, "PrivateTest"), (1, 4, "PrivateTest")]


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "emotion, Usage, pixels"])
def test_fer2013_is_read_in_both_forms_with_our_order_of_the_emotions(tmp_path: Path, header: str) -> None:
    found = load("fer2013", write_fer2013(tmp_path / "set", FER_ROWS, header), "private", "fer2013")
    assert found.classes == BASIC
    assert [found.classes[label] for label in found.labels] == ["surprise", "disgust"]
    assert found.names.tolist() == ["fer0000003.png", "fer0000004.png"]
    assert found.images.shape == (2, 48, 48, 1)
    assert found.images[1].ravel().tolist() == list(map(int, pixels(4).split()))
    assert found.leaked.tolist() == [True, False]  # the pixels of the first stand in the training rows too
    assert found.distribution.sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,{},Training", r"fer2013.csv, line 3, emotion: expected a number in 0-6, found '7'"),
        ("angry,{},Training", r"line 3, emotion: expected a number in 0-6, found 'angry'"),
        ("1,{},Train", r"line 3, Usage: expected one of Training, PublicTest, PrivateTest, found 'Train'"),
        ("1,1 2 3,Training", r"line 3, pixels: expected 2304 numbers, found 3"),
        ("1,1 2 300,Training", r"line 3, pixels: expected numbers in 0-255"),
        ("1", r"line 3: the row ends before column pixels, Usage"),
    ],
)
def test_a_wrong_row_of_fer2013_is_named(tmp_path: Path, row: str, message: str) -> None:
    folder = write_fer2013(tmp_path / "set", FER_ROWS[:1])
    with (folder / "fer2013.csv").open("a") as file:
        file.write(row.format(pixels(1)) + "\n")
    with pytest.raises(ValueError, match=message):
        load("fer2013", folder, "train", "fer2013")


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected fer2013.csv or icml_face_data.csv, found neither"):
        load("fer2013", tmp_path, "train", "fer2013")
    (tmp_path / "fer2013.csv").write_text("emotion,Usage\n")
    with pytest.raises(ValueError, match=r"fer2013.csv: missing column pixels; found emotion, Usage"):
        load("fer2013", tmp_path, "train", "fer2013")
    with pytest.raises(FileNotFoundError, match=r"train_labels.csv: expected a CSV file with the columns image, label"):
        load("rafdb", tmp_path, "train", "basic")
    with pytest.raises(FileNotFoundError, match=r"Train: expected a folder of pictures, found none"):
        load("sfew", tmp_path, "train", "basic")


VOTES = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def write_ferplus(folder: Path, votes: list[str], usages: list[str]) -> Path:
    write_fer2013(folder, [(0, seed, usage) for seed, usage in enumerate(usages)])
    rows = [
        f"{usage},{f'fer{i:07d}.png' if vote else ''},{vote or '0,0,0,0,0,0,0,0,0,10'}"
        for i, (usage, vote) in enumerate(zip(usages, votes, strict=True))
    ]
    (folder / "fer2013new.csv").write_text("\n".join([f"Usage,Image name,{VOTES}", *rows]) + "\n")
    return folder


def test_ferplus_joins_votes_and_pixels_by_row(tmp_path: Path) -> None:
    votes = ["8,0,0,2,0,0,0,0,0,0", "", "0,1,0,0,4,5,0,0,0,0", "5,5,0,0,0,0,0,0,0,0"]
    found = load("ferplus", write_ferplus(tmp_path / "set", votes, ["Training"] * 4), "train", "ferplus_majority")
    assert found.classes == EMOTIONS
    assert found.names.tolist() == ["fer0000000.png", "fer0000002.png", "fer0000003.png"]  # the second was removed
    assert found.labels.tolist() == [0, 5, -1]
    assert found.images[1].ravel().tolist() == list(map(int, pixels(2).split()))
    np.testing.assert_allclose(found.distribution[1, [4, 5]], [4 / 9, 5 / 9], rtol=1e-6)  # the single vote is a slip


def test_ferplus_refuses_files_that_do_not_belong_together(tmp_path: Path) -> None:
    folder = write_ferplus(tmp_path / "set", ["8,0,0,2,0,0,0,0,0,0"] * 2, ["Training"] * 2)
    write_fer2013(folder, [(0, 0, "Training"), (0, 1, "PublicTest")])
    with pytest.raises(ValueError, match=r"fer2013new.csv, line 3: Usage is Training, but PublicTest in fer2013.csv"):
        load("ferplus", folder, "train", "ferplus_seed")
    write_fer2013(folder, [(0, 0, "Training")])
    with pytest.raises(ValueError, match="expected equally many rows"):
        load("ferplus", folder, "train", "ferplus_seed")
    write_ferplus(folder, ["8,0,0,x,0,0,0,0,0,0"], ["Training"])
    with pytest.raises(ValueError, match=r"line 2, sadness: expected a number in 0-10, found 'x'"):
        load("ferplus", folder, "train", "ferplus_seed")


@pytest.mark.parametrize(
    ("votes", "seed", "majority"),
    [
        ([9, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0, 0),
        ([5, 0, 0, 3, 1, 0, 0, 0, 1, 0], 0, 0),  # the single votes are left out
        ([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], 0, -1),  # a tie of two emotions
        ([4, 3, 3, 0, 0, 0, 0, 0, 0, 0], -1, -1),  # three emotions
        ([4, 0, 0, 0, 2, 0, 0, 0, 4, 0], -1, -1),  # 'unknown' ties with the top
        ([2, 0, 0, 5, 0, 0, 0, 0, 3, 0], -1, -1),  # half of the votes at most
        ([0, 0, 0, 2, 0, 0, 0, 0, 0, 8], -1, -1),  # not a face
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], -1, -1),  # nothing but slips
    ],
)
def test_label_rules_decide_a_row(votes: list[int], seed: int, majority: int) -> None:
    assert seed_labels(np.array([votes]))[0] == seed
    assert majority_labels(np.array([votes]))[0] == majority


@pytest.mark.data
def test_label_rules_reproduce_every_row_of_the_published_votes(shared: Path) -> None:
    import pyarrow.parquet as parquet

    columns = ["votes", "ferplus_seed", "ferplus_majority"]
    tables = [parquet.read_table(file, columns=columns) for file in sorted((shared / "data/fer").glob("*.parquet"))]
    votes = np.array([row for table in tables for row in table["votes"].to_pylist()], np.int64)
    for name, rule in (("ferplus_seed", seed_labels), ("ferplus_majority", majority_labels)):
        assert (rule(votes) == np.concatenate([table[name].to_numpy() for table in tables])).all()


@pytest.mark.data
def test_the_rows_of_lian_et_al_are_reproduced(shared: Path) -> None:
    counts = np.bincount(load("fer", shared / "data/fer", "private", "ferplus_seed").labels + 1)[1:]
    assert counts.tolist() == [1219, 920, 429, 421, 287, 19, 88, 21]


def test_votes_for_unknown_leave_no_distribution() -> None:
    votes = np.array([[6, 2, 0, 1, 0, 0, 0, 0, 1, 0], [3, 0, 0, 0, 0, 0, 0, 0, 7, 0]], np.float32)
    assert label_distribution(votes).tolist() == [[0.75, 0.25, 0, 0, 0, 0, 0, 0], [0] * 8]


def write_rafdb(folder: Path) -> Path:
    for split, count in (("train", 7), ("test", 2)):
        rows = [(f"{split}_{i:05d}_aligned.jpg", i % 7 + 1) for i in range(count)]
        for name, label in rows:
            write_picture(folder / split / str(label) / name, 100, 100, colour=True)
        lines = [f"{name},{label}" for name, label in rows]
        (folder / f"{split}_labels.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    return folder


def test_rafdb_maps_its_numbers_to_our_order(tmp_path: Path) -> None:
    found = load("rafdb", write_rafdb(tmp_path), "train", "basic")
    assert found.images.shape == (7, 100, 100, 3)
    order = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert [found.classes[label] for label in found.labels] == order
    (tmp_path / "test_labels.csv").write_text("image,label\na.jpg,8\n")
    with pytest.raises(ValueError, match=r"test_labels.csv, line 2, label: expected a number in 1-7, found '8'"):
        load("rafdb", tmp_path, "test", "basic")


def test_unreadable_pictures_are_left_out_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(200):
        write_picture(tmp_path / "happy" / f"{i:03d}.png", 4, 4)
    (tmp_path / "happy/007.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = load("folder", tmp_path, "all", "emotion")
    assert len(found) == 199
    assert "1 of 200 pictures cannot be read and are left out" in caplog.text
    assert "007.png" in caplog.text
    for i in range(3):
        (tmp_path / f"happy/{i:03d}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"4 of 200 pictures cannot be read, more than 1 %: .*000.png"):
        load("folder", tmp_path, "all", "emotion")


def write_expw(folder: Path, lines: list[str]) -> Path:
    (folder / "label").mkdir(parents=True, exist_ok=True)
    (folder / "label/label.lst").write_text("\n".join(lines) + "\n")
    return folder


def test_expw_cuts_out_confident_faces_and_splits_each_class_four_to_one(tmp_path: Path) -> None:
    lines = [f"photo_{i // 2}.jpg {i % 2} 20 30 60 70 {61 if i < 40 else 60} {3 if i % 4 else 6}" for i in range(44)]
    for i in range(22):
        write_picture(tmp_path / "image/origin" / f"photo_{i}.jpg", 100, 120, colour=True)
    folder = write_expw(tmp_path, lines)
    train, test = (load("expw", folder, split, "confident") for split in ("train", "test"))
    assert [(len(part), *np.bincount(part.labels)[:2]) for part in (train, test)] == [(32, 8, 24), (8, 2, 6)]
    assert not set(train.names) & set(test.names)
    assert train.boxes is not None
    assert train.boxes[0].tolist() == [25, 20, 55, 70]  # half of the longer side around it, as far as the photo goes
    tenth, rest = (load("expw", folder, f"train:{part}", "confident") for part in ("tenth", "rest"))
    assert {*tenth.names} | {*rest.names} == {*train.names}
    assert len(load("expw", folder, "train", "all")) + len(load("expw", folder, "test", "all")) == 44


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg 0 1 2 3 4 90", "line 1: expected 8 columns .*, found 7"),
        ("a.jpg 0 1 2 3 4 90 9", "line 1, label: expected a number in 0-6, found '9'"),
        ("a.jpg 0 9 2 3 4 90 1", "line 1: expected top < bottom and left < right"),
        ("a.jpg 0 1 2 3 4 high 1", "line 1: expected a confidence, found 'high'"),
    ],
)
def test_a_wrong_line_of_expw_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("expw", write_expw(tmp_path, [line]), "train", "confident")


def test_a_large_face_is_cut_out_small_with_its_box() -> None:
    found = around_box(np.zeros((900, 900, 3), np.uint8), np.array([300, 300, 700, 600], np.float32))
    assert found is not None
    picture, box = found
    assert max(picture.shape) == 256
    np.testing.assert_allclose(box / 256 * 800, [200, 200, 600, 500], atol=1)
    assert around_box(np.zeros((90, 90, 3), np.uint8), np.array([300, 300, 310, 310], np.float32)) is None


def test_sfew_reads_frames_by_emotion_and_film(tmp_path: Path) -> None:
    write_picture(tmp_path / "Train/Angry/Airheads_000519240_00000005.png", 57, 72, colour=True)
    write_picture(tmp_path / "Train/Surprise/Juno_000101010_00000001.png", 57, 72, colour=True)
    write_picture(tmp_path / "Val/Neutral/Saw_000000000_00000001.png", 57, 72, colour=True)
    found = load("sfew", tmp_path, "train", "basic")
    assert [found.classes[label] for label in found.labels] == ["anger", "surprise"]
    assert found.subjects is not None
    assert found.subjects.tolist() == ["Airheads", "Juno"]
    assert found.boxes is not None
    assert np.isnan(found.boxes).all()  # the face has to be found
    write_picture(tmp_path / "Train/Bored/Juno_1_1.png")
    with pytest.raises(ValueError, match=r"Juno_1_1.png: unknown label 'Bored': expected one of neutral"):
        load("sfew", tmp_path, "train", "basic")


def test_sfew_reads_the_faces_that_its_authors_cut_out(tmp_path: Path) -> None:
    write_picture(tmp_path / "Train/Angry/Airheads_000519240_00000005.jpg", 181, 143, colour=True)
    write_picture(tmp_path / "Train/Sad/Juno_000101010_00000001.jpg", 181, 143, colour=True)
    found = load("sfew", tmp_path, "train", "basic")
    assert found.boxes is None  # the picture is the face
    assert found.images.shape == (2, 181, 143, 3)
    write_picture(tmp_path / "Train/Sad/Saw_000000000_00000001.png", 57, 72, colour=True)
    mixed = load("sfew", tmp_path, "train", "basic")
    assert mixed.boxes is not None


def test_utkface_tells_who_is_seen_and_has_no_labels(tmp_path: Path) -> None:
    write_picture(tmp_path / "48_1_2_20170109002813437.jpg.chip.jpg", colour=True)
    write_picture(tmp_path / "9_0_0_20170109002813437.jpg", colour=True)
    found = load("utkface", tmp_path, "all", "none")
    assert (found.labels == -1).all()
    assert utkface.person(found.names[0], "") == (48, "female", "Asian")
    assert utkface.person(found.names[1], "") == (9, "male", "White")
    write_picture(tmp_path / "48_7_2_1.jpg")
    with pytest.raises(ValueError, match=r"48_7_2_1.jpg, gender: expected a number in 0-1, found '7'"):
        load("utkface", tmp_path, "all", "none")
    (tmp_path / "48_7_2_1.jpg").rename(tmp_path / "unknown.jpg")
    with pytest.raises(ValueError, match="expected a name like 25_0_2_2017"):
        load("utkface", tmp_path, "all", "none")


def test_a_part_of_a_split_is_divided_like_a_split(tmp_path: Path) -> None:
    for number in range(60):
        write_picture(tmp_path / f"{'happy' if number % 3 else 'sad'}/{number}.png")
    names = {
        split: set(load("folder", tmp_path, split, "emotion").names.tolist())
        for split in ("all", "all:fifth", "all:others", "all:others:tenth", "all:others:rest")
    }
    rows = load("folder", tmp_path, "all", "emotion")
    assert names["all:fifth"] == set(rows.names[stratified_fifth(rows.labels, rows.names.tolist())].tolist())
    assert len([name for name in names["all:fifth"] if "sad" in name]) == 4  # a fifth of each class
    assert names["all:fifth"] | names["all:others"] == names["all"]
    assert not names["all:fifth"] & names["all:others"]
    assert names["all:others:tenth"] | names["all:others:rest"] == names["all:others"]
    assert names["all:others:tenth"]
    with pytest.raises(ValueError, match="unknown part of a split 'half': expected one of tenth, rest, fifth, others"):
        load("folder", tmp_path, "all:half", "emotion")


def write_rafd(folder: Path) -> Path:
    for person in (1, 15, 16, 30, 44, 58, 73):
        for angle in ("000", "090"):
            for emotion in ("happy", "contemptuous"):
                write_picture(folder / f"Rafd{angle}_{person:02d}_Caucasian_female_{emotion}_left.jpg", 102, 68)
    return folder


def test_rafd_is_divided_as_in_the_paper(tmp_path: Path) -> None:
    folder = write_rafd(tmp_path)
    first, rest = (load("rafd_front", folder, split, "basic") for split in ("fold0", "not fold0"))
    assert first.subjects is not None
    assert rest.subjects is not None
    assert first.subjects.tolist() == ["01", "15"]
    assert rest.subjects.tolist() == ["16", "30", "44", "58", "73"]
    assert set(first.labels) == {1}  # contempt is left out
    assert len(load("rafd_front", folder, "fold0", "all")) == 4
    pose = load("rafd_pose", folder, "fold0", "basic")
    assert pose.images.shape == (4, 284, 284, 1)
    assert pose.boxes is None
    write_picture(folder / "face.jpg")
    with pytest.raises(ValueError, match=r"face.jpg: expected a name like Rafd090_01"):
        load("rafd_front", folder, "fold0", "basic")


def test_ckplus_and_jaffe_keep_people_in_one_fold(tmp_path: Path) -> None:
    for person in range(10):
        write_picture(tmp_path / f"ck/happy/S{person:03d}_004_00000017.png")
        write_picture(tmp_path / f"ck/contempt/S{person:03d}_005_00000017.png")
        code = f"K{chr(65 + person)}"
        write_picture(tmp_path / f"jaffe/{code}.HA1.{person}.tiff", 64, 64)
        write_picture(tmp_path / f"jaffe/{code}.FE2.{person}.tiff", 64, 64)
    for name, path, labels in (("ckplus", "ck", "all"), ("jaffe", "jaffe", "basic")):
        folds = [load(name, tmp_path / path, f"fold{k}", labels) for k in range(5)]
        people = [set(fold.subjects.tolist()) for fold in folds if fold.subjects is not None]
        assert [len(group) for group in people] == [2] * 5
        assert len(set.union(*people)) == 10
        rest = load(name, tmp_path / path, "not fold0", labels)
        assert rest.subjects is not None
        assert set(rest.subjects) == set.union(*people[1:])
    jaffe = load("jaffe", tmp_path / "jaffe", "all", "basic")
    assert {jaffe.classes[label] for label in jaffe.labels} == {"happiness", "fear"}
    assert len(load("ckplus", tmp_path / "ck", "all", "all").classes) == 8
    write_picture(tmp_path / "jaffe/KA.XX1.39.tiff")
    with pytest.raises(ValueError, match="unknown label 'XX': expected one of NE, HA"):
        load("jaffe", tmp_path / "jaffe", "all", "basic")


def test_happei_reads_photos_of_any_size_with_an_intensity(tmp_path: Path) -> None:
    write_picture(tmp_path / "images/a.jpg", 60, 80, colour=True)
    write_picture(tmp_path / "images/b.jpg", 50, 2048, colour=True)
    (tmp_path / "labels.csv").write_text("image,intensity\na.jpg,0\nb.jpg,5\n")
    found = load("happei", tmp_path, "all", "intensity")
    assert [picture.shape for picture in found.images] == [(60, 80, 3), (25, 1024, 3)]
    assert [found.classes[label] for label in found.labels] == ["neutral", "thrilled"]


def test_lfw_is_read_from_folders_and_from_parquet_without_labels(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    names = [f"Some_One{chr(65 + i)}_{k:04d}.jpg" for i in range(20) for k in (1, 2)]
    for name in names:
        write_picture(tmp_path / "tree" / name[:-9] / name, 40, 40, colour=True)
    contents = [(tmp_path / "tree" / name[:-9] / name).read_bytes() for name in names]
    (tmp_path / "table").mkdir()
    parquet.write_table(pa.table({"name": names, "jpg": contents}), tmp_path / "table/lfw.parquet")
    for path, channels in (("tree", 3), ("table", 1)):
        parts = [load("lfw", tmp_path / path, split, "none") for split in ("train", "validation", "test")]
        assert sum(len(part) for part in parts) == 40
        assert not set(parts[0].subjects) & set(parts[2].subjects)  # type: ignore[arg-type]
        assert parts[0].images.shape[1:] == (40, 40, channels)
        assert set(parts[0].labels) == {-1}
        assert parts[0].distribution.sum() == 0


def test_any_folder_is_read_by_the_words_of_its_classes_or_by_their_names(tmp_path: Path) -> None:
    for word in ("Happy", "anger", "Sadness"):
        for i in range(30):
            write_picture(tmp_path / word / f"{i}.png", 8 + i % 2, 8)
    parts = [load("folder", tmp_path, split, "emotion") for split in ("train", "validation", "test")]
    assert sum(len(part) for part in parts) == 90
    assert 60 <= len(parts[0]) <= 84
    assert parts[0].images.dtype == object  # pictures of two sizes
    named = load("folder", tmp_path, "all", "names")
    assert named.classes == ("Happy", "Sadness", "anger")
    divided = tmp_path / "divided"
    write_picture(divided / "test/happy/a.png")
    assert load("folder", divided, "test", "emotion").names.tolist() == ["happy/a.png"]
    for place in ("train/angry/b.png", "train/happy/c.png", "kept/d.png"):
        write_picture(divided / place)
    (divided / "test/empty").mkdir()
    for split, labels in (("train", [0, 1]), ("test", [1])):
        part = load("folder", divided, split, "names")
        assert (part.classes, part.labels.tolist()) == (("angry", "happy"), labels)
    with pytest.raises(ValueError, match=r"expected pictures in .*/<class>/, or a folder .*/validation; data\.train"):
        load("folder", divided, "validation", "emotion")
    with pytest.raises(ValueError, match=r"unknown split 'dev': expected one of train, validation, test"):
        load("folder", tmp_path, "dev", "emotion")


def test_the_parquet_set_names_a_missing_column_or_folder(tmp_path: Path, toy_set: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    found = load("fer", toy_set, "public", "fer2013")
    assert found.classes == BASIC
    assert len(found) == 48
    with pytest.raises(FileNotFoundError, match=r"expected fer-\*.parquet, found none; set data.path"):
        load("fer", tmp_path, "train", "ferplus_seed")
    parquet.write_table(pa.table({"name": ["a"], "split": ["train"]}), tmp_path / "fer-0.parquet")
    with pytest.raises(ValueError, match=r"fer-0.parquet: missing column ferplus_seed, png, private_dup"):
        load("fer", tmp_path, "train", "ferplus_seed")


@pytest.mark.parametrize("name", list(LOADERS))
def test_unknown_splits_and_rules_are_refused_by_every_loader(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown (split|label rule) 'nonsense': expected one of"):
        load(name, tmp_path, "nonsense", "nonsense")
    with pytest.raises(ValueError, match="unknown data set 'nonsense': expected one of ckplus"):
        load("nonsense", tmp_path, "train", "basic")


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    folder = write_fer2013(tmp_path / "set", FER_ROWS[:1])
    with pytest.raises(ValueError, match="split 'private' of 'fer2013' is empty"):
        load("fer2013", folder, "private", "fer2013")


def test_a_tenth_and_the_rest_of_a_split_are_complementary_and_keep_people_together(tmp_path: Path) -> None:
    for person in range(40):
        for i in range(3):
            write_picture(tmp_path / f"fear/S{person:03d}_001_0000000{i}.png", 4, 4)
    tenth, rest = (load("ckplus", tmp_path, f"all:{part}", "all") for part in ("tenth", "rest"))
    assert len(tenth) + len(rest) == 120
    assert 0 < len(tenth) < 40
    assert not set(tenth.subjects) & set(rest.subjects)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown part of a split 'half': expected one of tenth, rest"):
        load("ckplus", tmp_path, "all:half", "all")


def test_drawn_splits_do_not_change_when_pictures_are_added() -> None:
    few, many = [f"{i}" for i in range(50)], [f"{i}" for i in range(80)]
    for split in ("train", "validation", "test"):
        assert drawn(many, split)[:50].tolist() == drawn(few, split).tolist()
    assert portion(np.array(["one", "two", "one"]), "tenth").sum() in (1, 2)  # of two people one
    assert portion(np.array(many), "tenth")[:50].tolist() == portion(np.array(few), "tenth").tolist()


def test_a_stratified_fifth_takes_a_fifth_of_each_class() -> None:
    labels = np.array([0] * 51 + [1] * 9 + [2] * 4)
    chosen = stratified_fifth(labels, [str(i) for i in range(64)])
    assert np.bincount(labels[chosen], minlength=3).tolist() == [10, 1, 0]


def test_nobody_is_in_two_folds() -> None:
    subjects = [f"person {i % 13}" for i in range(100)]
    inside = np.stack([folded(subjects, f"fold{k}") for k in range(5)])
    assert inside.sum(axis=0).tolist() == [1] * 100
    assert (folded(subjects, "not fold3") == ~inside[3]).all()


def test_a_set_of_uneven_columns_is_refused_and_rows_are_taken_from_every_column() -> None:
    images = np.zeros((3, 4, 4, 1), np.uint8)
    people: NDArray[Any] = np.array(["a", "b", "c"])
    found = labelled(BASIC, ["x", "y", "z"], images, [0, 1, -1], subjects=people)
    part = found[np.array([2, 0])]
    assert part.names.tolist() == ["z", "x"]
    assert part.subjects is not None
    assert part.subjects.tolist() == ["c", "a"]
    assert part.distribution.sum(axis=1).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"FaceSet.subjects: expected 3 rows as in images, found 2"):
        FaceSet(BASIC, found.names, images, found.labels, found.distribution, found.leaked, subjects=people[:2])
