from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from engines import load_engine
from streamer.config import load_config
from streamer.faces.boxes import iou as box_iou
from streamer.types import Detections
from tests.train.elsewhere import Elsewhere
from train.detector import export, fit, start, validate
from train.detector.batches import collate, people, pictures, place, rendered, sources
from train.detector.batches.damage import damage, occlude
from train.detector.batches.mine import mine
from train.detector.batches.pictures import Picture
from train.detector.batches.place import Pose, Scene
from train.detector.batches.scenes import Painter
from train.detector.centerface import decode
from train.detector.config import Architecture, DetectorConfig, DetectorData, Losses, Scenes
from train.detector.evaluate import choose_threshold
from train.detector.losses import Truth, assign, efficient_iou_loss, iou, losses
from train.detector.scores import at_threshold, average_precision, match, recall_at_alarms
from train.detector.served import ServedDetector
from train.detector.sets import Judged, _half
from train.detector.teacher import Teacher, agree, merge
from train.models.detector import FaceDetector, Maps, fold
from train.tasks import TASKS, task_of

CONFIG = Path(__file__).parents[3] / "configs" / "train" / "detector.yaml"
BOX = np.array([[170, 65, 275, 205]], np.float32)  # the face of the portrait
POINTS = np.array([[[203, 115], [246, 115], [226, 143], [208, 165], [245, 165]]], np.float32)


@pytest.fixture(scope="module")
def faces():
    grey = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)
    face = Picture(grey, BOX, POINTS, np.array([True]), "lfw")
    none = np.zeros((0, 5, 2), np.float32)
    wall = Picture(grey[300:, :150], np.zeros((0, 4), np.float32), none, np.zeros(0, bool), "textures")
    return [
        face,
        Picture(grey[:, ::-1], BOX[:, [0, 1, 2, 3]] * 0 + [237, 65, 342, 205], POINTS, face.sure, "lfw", True),
        wall,
    ]


def small_config(folder: Path, **changes: object) -> DetectorConfig:
    values = {
        "task": "detection",
        "name": "toy",
        "steps": 20,
        "data": {"cache": str(folder / "faces.npz")},
        "model": {"stem": 8, "widths": [16, 16, 16], "blocks": [1, 1, 1], "pyramid": 16},
        "scenes": {
            "smallest": 24,
            "largest": 60,
            "degrees": 5,
            "occlude": 0,
            "blur": 0,
            "coarse": 0,
            "noise": 0,
            "jpeg": 0,
            "dark": 0,
            "glare": 0,
        },
        "optimizer": {"rule": "adam", "rate": 0.004, "batch": 4, "average": 0.9, "weight_decay": 0.0},
        "phases": [{"epochs": 2, "size": 96}],
        "runs": str(folder / "runs"),
    }
    return DetectorConfig.model_validate(values | changes)


def maps_of(boxes: torch.Tensor, logits: torch.Tensor, centres: torch.Tensor, stride: float) -> Maps:
    count, cells = logits.shape
    return Maps(logits, boxes, torch.zeros(count, cells, 5, 2), centres, torch.full((cells,), stride))


def test_the_shipped_configuration_is_a_small_detector():
    config = load_config(DetectorConfig, CONFIG)
    assert task_of(CONFIG) == TASKS["detection"]
    assert task_of(CONFIG.with_name("face.yaml")) is TASKS["expression"]
    assert sum(parameter.numel() for parameter in start.build(config).parameters()) <= 400_000


@pytest.mark.parametrize("size", [(32, 32), (64, 160)])
def test_any_size_in_steps_of_32_gives_cells_at_three_strides(size):
    maps = FaceDetector(stem=8, widths=(8, 8, 8), blocks=(0, 0, 0), pyramid=8)(torch.zeros(2, 1, *size))
    cells = sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
    assert maps.logits.shape == (2, cells)
    assert maps.boxes.shape == (2, cells, 4)
    assert maps.points.shape == (2, cells, 5, 2)
    assert maps.centres[0].tolist() == [4.0, 4.0]
    assert maps.centres[-1].tolist() == [size[1] - 16, size[0] - 16]


def test_an_untrained_network_looks_for_boxes_of_four_strides_around_its_cells():
    network = FaceDetector(stem=8, widths=(8, 8, 8), blocks=(0, 0, 0), pyramid=8)
    torch.nn.init.zeros_(network.head[-1].weight)
    maps = network(torch.zeros(1, 1, 64, 64))
    assert maps.boxes[0, 0].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]
    assert (maps.points[0] == maps.centres[:, None]).all()


def test_a_face_gets_the_cells_whose_boxes_fit_and_far_cells_none():
    centres = torch.tensor([[4.0, 4.0], [12.0, 4.0], [60.0, 60.0]])
    truth = Truth(torch.tensor([[[0.0, 0, 10, 10]]]), torch.zeros(1, 1, 5, 2), torch.ones(1, 1))
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0.0, 0, 10, 9], [0.0, 0, 10, 10]]])
    boxes = torch.cat([boxes, boxes.new_zeros(1, 10, 4)], dim=1)
    centres = torch.cat([centres, torch.full((10, 2), 500.0)])
    found = assign(maps_of(boxes, torch.zeros(1, 13), centres, 8.0), truth)
    assert found.chosen[0, :3].tolist() == [True, True, False]  # the third fits, but looks from too far away
    torch.testing.assert_close(found.overlap[0, :2], torch.tensor([1.0, 0.9]))


def test_a_cell_between_two_faces_goes_to_the_better_one():
    centres = torch.tensor([[8.0, 8.0]]).repeat(10, 1)
    boxes = torch.tensor([[[0.0, 0, 16, 16]]]).repeat(1, 10, 1)
    faces = torch.tensor([[[0.0, 0, 16, 14], [0.0, 0, 16, 9]]])
    found = assign(
        maps_of(boxes, torch.zeros(1, 10), centres, 8.0), Truth(faces, torch.zeros(1, 2, 5, 2), torch.ones(1, 2))
    )
    assert found.chosen.any()
    assert (found.face[found.chosen] == 0).all()


def test_disputed_faces_teach_nothing():
    centres = torch.tensor([[float(8 * x + 4), 4.0] for x in range(12)])
    maps = maps_of(torch.zeros(1, 12, 4), torch.full((1, 12), 2.0), centres, 8.0)
    everywhere = torch.tensor([[[0.0, 0, 96, 96]]])
    disputed = losses(maps, Truth(everywhere, torch.zeros(1, 1, 5, 2), torch.tensor([[-1]])), Losses())
    nothing = losses(maps, Truth(everywhere, torch.zeros(1, 1, 5, 2), torch.tensor([[0]])), Losses())
    assert disputed["total"] == 0
    assert nothing["score"] > 1


def test_the_box_loss_is_zero_for_equal_boxes_and_grows_with_distance():
    box = torch.tensor([[10.0, 10, 30, 40]])
    moved = [float(efficient_iou_loss(box + shift, box)) for shift in (0, 5, 50)]
    assert moved[0] == pytest.approx(0, abs=1e-6)
    assert moved[0] < moved[1] < moved[2]
    assert float(iou(box, box)) == pytest.approx(1)


def test_a_placed_face_lies_where_its_pose_says_and_is_mirrored_with_its_points(faces):
    scene = Scene(np.zeros((128, 128), np.uint8))
    place.place(scene, faces[0], BOX[0], Pose(64, 60, 70, mirrored=True), (0, 0, 128, 128), 0)
    np.testing.assert_allclose(scene.boxes[0], [64 - 26.25, 25, 64 + 26.25, 95], atol=1e-3)
    right, left = scene.points[0][:2]
    assert right[0] < left[0]  # the person's right eye is on our left, in the mirror too
    assert scene.kind == [1]
    expected = cv2.resize(faces[0].image[65:205, 170:275][:, ::-1], (52, 70), interpolation=cv2.INTER_AREA)
    drawn = scene.image[25:95, 38:90]
    assert np.abs(drawn.astype(int) - expected).mean() < 12


def test_a_turned_face_keeps_its_points_inside_its_box(faces):
    for degrees in (-45, 20, 45):
        scene = Scene(np.zeros((128, 128), np.uint8))
        place.place(scene, faces[0], BOX[0], Pose(64, 64, 60, np.deg2rad(degrees)), (0, 0, 128, 128), -1)
        assert (scene.points[0] > scene.boxes[0][:2]).all()
        assert (scene.points[0] < scene.boxes[0][2:]).all()


@pytest.mark.parametrize(("x", "kinds"), [(64, [1]), (4, [1]), (-12, [-1]), (-40, [])])
def test_faces_that_are_cut_off_become_disputed_and_then_none(faces, x, kinds):
    scene = Scene(np.zeros((128, 128), np.uint8))
    place.place(scene, faces[0], BOX[0], Pose(x, 64, 80), (0, 0, 128, 128), 0)
    assert scene.kind == kinds


def test_a_cut_out_face_leaves_the_background_alone(faces):
    scene = Scene(np.full((128, 128), 7, np.uint8))
    place.cut_out(scene, faces[0], 0, Pose(64, 64, 60))
    assert scene.image[64, 64] != 7
    assert (scene.image[:20] == 7).all()
    assert len(scene.boxes) == 1


def test_scenes_are_repeatable_and_their_faces_have_the_wanted_sizes(faces):
    painter = Painter(faces, Scenes(smallest=20, largest=60))
    for seed in range(30):
        one, two = (painter.paint(np.random.default_rng(seed), 96) for _ in range(2))
        np.testing.assert_array_equal(one.image, two.image)
        assert one.image.shape == (96, 96)
        assert one.image.dtype == np.uint8
        sides = [
            max(box[2] - box[0], box[3] - box[1]) for box, kind in zip(one.boxes, one.kind, strict=True) if kind == 1
        ]
        assert min(sides, default=20) >= 20


@pytest.mark.parametrize("value", [0, 255])
def test_damage_keeps_shape_and_range(value):
    settings = Scenes(blur=1, coarse=1, noise=1, jpeg=1, dark=0.5, glare=0.5)
    for seed in range(8):
        scene = Scene(np.full((64, 64), value, np.uint8))
        damage(scene, settings, np.random.default_rng(seed))
        assert (scene.image.shape, scene.image.dtype) == ((64, 64), np.uint8)


def test_a_blur_that_suits_a_large_face_takes_the_small_ones_beside_it_out_of_the_lesson():
    settings, lost = Scenes(blur=1, coarse=0, noise=0, jpeg=0, dark=0, glare=0), 0
    for seed in range(20):
        boxes = [np.float32([0, 0, 100, 100]), np.float32([110, 0, 116, 6])]
        scene = Scene(np.full((128, 128), 90, np.uint8), boxes, [POINTS[0]] * 2, [1, 1])
        damage(scene, settings, np.random.default_rng(seed))
        assert scene.kind[0] == 1
        lost += scene.kind[1] == -1
    assert 3 < lost < 20


def test_every_occluder_stays_near_its_face_even_where_nobody_said_its_points():
    for seed in range(30):
        image = np.full((200, 200), 90, np.uint8)
        box = np.float32([80, 80, 120, 120])
        occlude(image, box, np.full((5, 2), np.nan, np.float32), np.random.default_rng(seed))
        assert (image != 90).any()
        assert (image[:20] == 90).all()


def test_views_that_agree_become_one_face_with_their_number():
    def view(*boxes: list[float]) -> Detections:
        n = len(boxes)
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.linspace(0.9, 0.8, n).astype(np.float32),
            np.zeros((n, 5, 2), np.float32),
        )

    faces, votes = merge([view([0, 0, 10, 10], [50, 50, 60, 60]), view([1, 0, 11, 10]), view()])
    assert votes.tolist() == [2, 1]
    np.testing.assert_allclose(faces.boxes[0], [0.5, 0, 10.5, 10])
    assert len(merge([view(), view()])[0]) == 0


def test_pictures_come_back_as_they_were_saved(faces, tmp_path):
    pictures.save(tmp_path / "faces.npz", faces)
    pictures.save(tmp_path / "few.npz", faces, '{"most": 3}')
    with pytest.raises(
        ValueError, match=r'few.npz: made of {"most": 3}, expected {"most": 0}; name another `data.cache`'
    ):
        pictures.load(tmp_path / "few.npz", '{"most": 0}')
    for before, after in zip(faces, pictures.load(tmp_path / "faces.npz"), strict=True):
        np.testing.assert_array_equal(before.image, after.image)
        np.testing.assert_array_equal(before.boxes, after.boxes)
        assert (before.source, before.held) == (after.source, after.held)
    (tmp_path / "faces.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="delete it"):
        pictures.load(tmp_path / "faces.npz")
    pictures.save(tmp_path / "faces.npz", faces)
    (tmp_path / "faces.npz").write_bytes((tmp_path / "faces.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"faces\.npz: not a file of labelled pictures .*; delete it"):
        pictures.load(tmp_path / "faces.npz")


def test_a_teacher_that_is_not_there_or_no_yunet_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"yunet\.onnx: expected the ONNX file of YuNet, found none"):
        Teacher(tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"yunet\.onnx: expected the ONNX file of YuNet, found something else"):
        Teacher(tmp_path / "yunet.onnx")


def test_a_second_answer_to_a_face_is_a_false_alarm_and_disputed_places_do_not_count():
    truth = np.array([[0, 0, 10, 10], [50, 0, 60, 10]], np.float32)
    answers = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [80, 80, 90, 90], [30, 30, 40, 40]], np.float32)
    found = Detections(answers, np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    fit_ = match(found, truth, np.array([[80, 80, 90, 90]], np.float32))
    assert fit_.right.tolist() == [True, False, False]
    assert fit_.stray.tolist() == [False, False, True]
    np.testing.assert_allclose(fit_.reached, [0.9, 0])
    counts = at_threshold([fit_], 0.75)
    assert (counts["found"], counts["alarms"], counts["recall"], counts["precision"]) == (1, 1, 0.5, 0.5)
    assert average_precision([fit_]) == pytest.approx(0.5)
    recall, threshold = recall_at_alarms([fit_], 1.0)
    assert (recall, threshold) == (0.5, pytest.approx(0.8))


def test_the_whole_box_of_a_cut_face_does_not_count():
    rest, none = np.array([[0, 0, 10, 3]], np.float32), np.zeros((0, 4), np.float32)
    answers = np.array([[0, 0, 10, 10], [0, 2, 10, 12], [20, 0, 30, 10]], np.float32)
    found = match(Detections(answers, np.array([0.9, 0.8, 0.7], np.float32)), none, rest)
    np.testing.assert_allclose(found.scores, [0.8, 0.7])


def test_detectors_that_answer_nothing_have_no_precision():
    nothing = match(Detections.empty(), BOX, np.zeros((0, 4), np.float32))
    assert average_precision([nothing]) == 0
    assert recall_at_alarms([nothing], 1.0) == (0.0, 1.0)


def test_evaluation_pictures_never_reach_training(tmp_path):
    for name in ("groups", "dlib"):
        (tmp_path / "media" / "photos" / name).mkdir(parents=True)
    (tmp_path / "media" / "masks" / "with_mask").mkdir(parents=True)
    for name in (*sources.HELD_BACK, "ultraface-3"):
        (tmp_path / "media" / "photos" / "groups" / f"{name}.jpg").write_bytes(b"")
    for number in range(4):
        (tmp_path / "media" / "masks" / "with_mask" / f"{number:04}.jpg").write_bytes(b"")
    read = {name: [Path(row.key).name for row in sources.READERS[name](tmp_path)] for name in ("groups", "masks")}
    assert read == {"groups": ["ultraface-3.jpg"], "masks": ["0000.jpg", "0002.jpg"]}
    held = [sources.is_held("lfw", f"Person_{n // 2}_{n % 2:04}.jpg") for n in range(400)]
    assert held[::2] == held[1::2]  # all pictures of a person go together
    assert 10 < sum(held) < 80
    assert held == [sources.is_held("ytf", f"Person_{n // 2}_{n % 2}.jpg") for n in range(400)]
    assert not any(sources.is_held("fer", f"Person_{n}_1.png") for n in range(400))


@pytest.mark.parametrize(("count", "taken"), [(19, 10), (10, 10), (3, 3)])
def test_no_source_gives_more_pictures_than_asked_for(count, taken):
    rows = [sources.Row(str(number), b"") for number in range(count)]
    chosen = sources.evenly(rows, 10)
    assert len(chosen) == taken
    assert (chosen[0], chosen[-1]) == (rows[0], rows[-1])


def test_a_stopped_run_goes_on_to_the_same_weights(faces, tmp_path):
    found = []
    for name, stops in (("whole", [None]), ("halves", [1, None])):
        config = small_config(tmp_path, name=name, steps=3, runs=tmp_path / "runs")
        pictures.save(config.data.cache, faces)
        for until in stops:
            path = fit.fit(config, until)
        found.append(torch.load(path, weights_only=True)["average"])
    assert all(torch.equal(one, two) for one, two in zip(found[0].values(), found[1].values(), strict=True))


def test_a_short_run_learns_and_its_artefact_answers_alike(faces, tmp_path, monkeypatch):
    config = small_config(tmp_path, steps=25)
    pictures.save(config.data.cache, faces)
    fit.fit(config)
    lines = (tmp_path / "runs" / "toy" / "epochs.jsonl").read_text().splitlines()
    first, last = (float(line.split('"total": ')[1].split(",")[0]) for line in (lines[0], lines[-1]))
    assert last < first
    scene = cv2.cvtColor(faces[0].image[:256, :256], cv2.COLOR_GRAY2BGR)
    monkeypatch.setattr(export, "scenes", lambda _: [Judged("portrait", scene, BOX[:, :4], BOX[:0])])
    path = export.export(config, tmp_path / "zoo" / "toy.onnx")
    engine = load_engine(path, "detection")
    assert engine.spec.channels == 1
    assert 0 <= engine.spec.metrics["scenes.recall"] <= 1
    assert str(tmp_path) not in engine.spec.model_dump_json()
    with pytest.raises(ValueError, match="the run was begun with seed=1, the configuration says seed=9"):
        export.export(config.model_copy(update={"seed": 9}), path)
    for shape in ((1, 32, 32), (3, 64, 96), (0, 64, 64)):
        outputs = engine.infer(np.zeros((*shape, 1), np.uint8))
        assert outputs["boxes"].shape[0] == shape[0]
        assert all(np.isfinite(value).all() for value in outputs.values())
    engine.close()


def test_a_network_without_batch_norms_answers_as_before():
    torch.manual_seed(0)
    network = FaceDetector(stem=8, widths=(8, 8, 8), blocks=(1, 1, 1), pyramid=8)
    pictures_ = torch.rand(4, 1, 64, 64) * 255
    network(pictures_)  # moves the running means
    before = network.eval()(pictures_)
    after = fold(network)(pictures_)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.boxes, before.boxes, atol=1e-2, rtol=1e-4)


def test_training_goes_on_from_an_artefact_with_more_blocks_and_from_its_own(faces, tmp_path, monkeypatch):
    config = small_config(tmp_path, steps=2)
    pictures.save(config.data.cache, faces)
    saved = torch.load(fit.fit(config, 1), weights_only=True)
    scene = cv2.cvtColor(faces[0].image[:64, :64], cv2.COLOR_GRAY2BGR)
    monkeypatch.setattr(export, "scenes", lambda _: [Judged("portrait", scene, BOX[:0], BOX[:0])])
    path = export.export(config, tmp_path / "zoo" / "toy.onnx")
    network = start.build(config).eval()
    network.load_state_dict(saved["average"])
    bare = {**config.model.model_dump(), "normalised": False}
    folded = start.build(small_config(tmp_path, model=bare))
    start.go_on_from(folded, path)
    images = torch.rand(2, 1, 64, 64) * 255
    torch.testing.assert_close(folded(images).logits, network(images).logits, atol=1e-3, rtol=1e-3)

    longer = small_config(tmp_path, name="longer", steps=2, init=path, model={**bare, "blocks": [1, 2, 1]})
    fit.fit(longer, 1)
    again = export.export(longer, tmp_path / "zoo" / "longer.onnx")
    second = start.build(longer)
    start.go_on_from(second, again)
    average = torch.load(tmp_path / "runs" / "longer" / "checkpoint.pt", weights_only=True)["average"]
    for name, value in second.state_dict().items():  # zeros of equal shape are one table in the file
        torch.testing.assert_close(value, average[name], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="without batch norms"):
        start.go_on_from(start.build(small_config(tmp_path, model={**bare, "pyramid": 8})), path)


def test_echoed_scenes_come_back_mirrored_after_a_few_others(faces, tmp_path):
    config = small_config(tmp_path, echo=2, steps=32)
    batches = collate.Batches(config, Painter(faces, config.scenes))
    shown = [batches[step] for step in range(2 * collate.Batches.KEPT)]
    images, truth = shown[3]
    echo, mirrored = shown[3 + collate.Batches.KEPT]
    torch.testing.assert_close(echo, images.flip(3))
    real = truth.kind != 0
    torch.testing.assert_close(mirrored.boxes[real][:, [2, 0]], 96 - truth.boxes[real][:, [0, 2]])
    torch.testing.assert_close(mirrored.points[real][:, 0, 0], 96 - truth.points[real][:, 1, 0])
    assert not torch.equal(shown[0][0], shown[1][0])


def test_processes_share_a_batch_and_paint_scenes_of_their_own(faces, tmp_path, monkeypatch):
    config, parts = small_config(tmp_path), []
    monkeypatch.setattr("train.processes.count", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr("train.processes.rank", lambda rank=rank: rank)
        parts.append(collate.Batches(config, Painter(faces, config.scenes))[0][0])
    assert [len(part) for part in parts] == [config.optimizer.batch // 2] * 2
    assert not torch.equal(*parts)
    monkeypatch.setattr("train.processes.count", lambda: 3)
    with pytest.raises(ValueError, match=r"optimizer\.batch \d+: expected a multiple of 3 processes"):
        fit.fit(config)


def test_mined_alarms_lie_off_the_faces_that_are_known(faces):
    torch.manual_seed(0)
    network = FaceDetector(stem=8, widths=(8, 8, 8), blocks=(0, 0, 0), pyramid=8).eval()
    torch.nn.init.zeros_(network.head[-1].weight)
    network.head[-1].bias.data[0] = 2.0  # sees a face everywhere
    alarms = mine(network, faces[:2], np.random.default_rng(0))
    assert alarms
    assert all((box_iou(alarm.box[None], alarm.picture.boxes) <= 0.05).all() for alarm in alarms)
    painter = Painter(faces, Scenes())
    painter.alarms = alarms
    assert painter.paint(np.random.default_rng(5), 96).image.shape == (96, 96)


def test_alarms_are_mined_wherever_the_network_lies(faces):
    nobody = maps_of(torch.zeros(1, 1, 4), torch.tensor([[-9.0]]), torch.zeros(1, 2), 8)
    assert mine(Elsewhere(lambda count: nobody), faces[:1], np.random.default_rng(0)) == []


def test_a_photo_of_half_size_keeps_its_faces_where_they_are():
    half = _half(Judged("photo", np.zeros((100, 80, 3), np.uint8), BOX, BOX[:0]))
    assert half.image.shape == (50, 40, 3)
    np.testing.assert_allclose(half.faces, BOX / 2)


class Sees:
    """A teacher that always gives one answer."""

    def __init__(self, agreed: bool, size: float = 1) -> None:
        self.agreed, self.size = agreed, np.float32(size)

    def label(self, image):
        return Detections(BOX * self.size, np.array([0.6], np.float32), POINTS), np.array([self.agreed])


def test_in_pictures_without_people_only_small_places_that_teachers_agree_about_are_disputed(tmp_path):
    content = cv2.imencode(".png", np.zeros((300, 400), np.uint8))[1].tobytes()
    for agreed, size, count in ((True, 0.2, 1), (True, 1, 0), (False, 0.2, 0)):
        found = sources.label("things", sources.Row("wall.png", content), Sees(agreed, size))
        assert (len(found.boxes), found.sure.any()) == (count, False)
    (tmp_path / "walls").mkdir()
    (tmp_path / "walls" / "icon.png").write_bytes(content)
    assert sources._read_backgrounds(tmp_path, tmp_path) == []


def test_what_is_labelled_of_a_source_is_kept_before_all_are(tmp_path):
    data = DetectorData(root=tmp_path, cache=tmp_path / "faces.npz", most=2)
    made = sources.part("textures", data)
    assert [len(one.boxes) for one in made] == [0, 0]
    file = tmp_path / "faces-textures.npz"
    written = file.stat().st_mtime_ns
    np.testing.assert_array_equal(sources.part("textures", data)[1].image, made[1].image)
    assert file.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"expected {\"most\": 1"):
        sources.part("textures", data.model_copy(update={"most": 1}))


def test_marked_faces_are_sure_whoever_sees_them_and_others_as_the_teachers_agree():
    content = cv2.imencode(".png", np.zeros((300, 400), np.uint8))[1].tobytes()
    far = np.array([[10, 10, 40, 50]], np.float32)
    found = sources.label("people", sources.Row("a.png", content, np.concatenate([BOX + 8, far])), Sees(False))
    np.testing.assert_array_equal(found.boxes, np.concatenate([BOX, far]))  # the teacher's box where it sees the face
    np.testing.assert_array_equal(found.points[0], POINTS[0])
    assert np.isnan(found.points[1]).all()
    assert found.sure.tolist() == [True, True]
    wide = BOX + np.array([-40, -40, 40, 40], np.float32)  # drawn loosely, it is still the same face
    found = sources.label("loose", sources.Row("a.png", content, wide), Sees(False))
    np.testing.assert_array_equal(found.boxes, BOX)
    for agreed in (True, False):
        found = sources.label("people", sources.Row("a.png", content, far), Sees(agreed))
        assert found.sure.tolist() == [True, agreed]


def test_the_judging_part_of_marked_pictures_is_never_read(tmp_path):
    rows = [f"facemask853/{number}.png,human,mask,1,2,10,20" for number in range(200)]
    (tmp_path / "boxes.csv").write_text(
        "\n".join(["picture,labels,class,x,y,w,h", *rows, "facemask853/e.png,none,,,,,"])
    )
    found = dict(people.marked(tmp_path, ("human",)))
    assert 130 < len(found) < 190
    assert all(people.number_of(name) % 5 for name in found)
    name, boxes = next(iter(found.items()))
    np.testing.assert_array_equal(boxes, [[1, 2, 11, 22]])
    assert 5 < sum(map(people.is_held, found)) < 40
    face = people.canonical(boxes, name)[0]
    np.testing.assert_allclose(face, [1.425, -1.35, 10.975, 20.95], atol=1e-3)
    with pytest.raises(FileNotFoundError, match=r"boxes\.csv: expected the table of marked faces"):
        list(people.marked(tmp_path / "nowhere", ("human",)))


def test_two_teachers_agree_or_the_witness_is_sure_alone():
    def seen(*rows: tuple[float, float]) -> Detections:
        boxes = np.array([[x, 0, x + 10, 10] for x, _ in rows], np.float32).reshape(-1, 4)
        return Detections(
            boxes, np.array([score for _, score in rows], np.float32), np.zeros((len(rows), 5, 2), np.float32)
        )

    faces, sure = agree(seen((0, 0.45), (50, 0.9)), seen((1, 0.5), (100, 0.7), (200, 0.7)), np.array([1, 2, 1]))
    assert faces.boxes[:, 0].tolist() == [0, 50, 100, 200]
    assert sure.tolist() == [True, False, True, False]
    assert agree(seen(), seen(), np.zeros(0, int))[1].tolist() == []


def test_the_maps_of_the_witness_become_boxes_around_their_cells():
    maps = np.zeros((4, 10, 6, 8), np.float32)
    maps[0, 0, 2, 5] = 0.9
    maps[1, :2, 2, 5] = np.log([6, 4])  # 24 pixels high, 16 wide
    maps[3, :2, 2, 5] = (0.25, 0.5)
    found = decode(maps[0, :1], maps[1, :2], maps[2, :2], maps[3])
    np.testing.assert_allclose((found.boxes[0, :2] + found.boxes[0, 2:]) / 2, [22, 10 - 0.02 * 24], atol=1e-4)
    np.testing.assert_allclose(found.boxes[0, 2:] - found.boxes[0, :2], [16 * 1.01, 24 * 1.04], rtol=1e-4)
    np.testing.assert_allclose(found.landmarks[0, 0], [22, -2 + 6])


def test_print_is_drawn_alike_from_the_same_numbers_and_some_fonts_are_kept_from_training():
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    trained, kept = (rendered.fonts_in(folder, unseen) for unseen in (False, True))
    assert not {font.stem.split("-")[0] for font in trained} & {font.stem.split("-")[0] for font in kept}
    for layout in (*rendered.TRAINED, *rendered.UNSEEN):
        one, two = (rendered.render(trained, np.random.default_rng(3), (layout,)) for _ in range(2))
        np.testing.assert_array_equal(one, two)
        assert one.dtype == np.uint8
        assert sorted(one.shape) == [480, 640]
        assert one.std() > 0
    with pytest.raises(FileNotFoundError, match=r"expected fonts"):
        rendered.fonts_in(folder.parent / "pdfcorefonts")


def test_points_that_nobody_said_teach_nothing_and_poison_nothing():
    torch.manual_seed(0)
    network = FaceDetector(stem=8, widths=(8, 8, 8), blocks=(0, 0, 0), pyramid=8)
    boxes = torch.tensor([[[8.0, 8, 40, 40]]])
    truth = Truth(boxes, torch.full((1, 1, 5, 2), torch.nan), torch.ones(1, 1))
    found = losses(network(torch.rand(1, 1, 64, 64) * 255), truth, Losses())
    found["total"].backward()
    assert found["points"] == 0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_a_wider_network_answers_at_first_as_the_artefact_it_goes_on_from(faces, tmp_path, monkeypatch):
    model = {"stem": 8, "widths": [16, 16, 16], "blocks": [1, 1, 1], "pyramid": 16, "normalised": False}
    config = small_config(tmp_path, steps=2, model=model)
    pictures.save(config.data.cache, faces)
    saved = torch.load(fit.fit(config, 1), weights_only=True)
    scene = cv2.cvtColor(faces[0].image[:64, :64], cv2.COLOR_GRAY2BGR)
    monkeypatch.setattr(export, "scenes", lambda _: [Judged("portrait", scene, BOX[:0], BOX[:0])])
    path = export.export(config, tmp_path / "zoo" / "toy.onnx")
    narrow = start.build(config).eval()
    narrow.load_state_dict(saved["average"])
    wide = start.build(small_config(tmp_path, model={**model, "stem": 12, "widths": [24, 20, 32], "pyramid": 20}))
    start.go_on_from(wide, path)
    images = torch.rand(2, 1, 64, 64) * 255
    torch.testing.assert_close(wide(images).logits, narrow(images).logits, atol=1e-3, rtol=1e-3)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ends in .onnx"):
        export.export(small_config(tmp_path), tmp_path / "toy.bin")


def test_paths_of_this_machine_stay_out_of_the_spec(tmp_path):
    config = small_config(tmp_path, data=DetectorData(root=tmp_path), model=Architecture())
    spec = export.describe(config, ServedDetector(start.build(config)), epochs=2)
    assert str(tmp_path) not in spec.model_dump_json()


def test_the_working_point_keeps_what_is_right_and_drops_what_is_wrong():
    truth = np.array([[0, 0, 10, 10], [50, 0, 60, 10]], np.float32)
    wrong = np.array([[100, 0, 110, 10]], np.float32)
    scores = np.array([0.9, 0.6, 0.3], np.float32)
    found = match(Detections(np.concatenate([truth, wrong]), scores), truth, np.zeros((0, 4), np.float32))
    assert choose_threshold([found]) == pytest.approx(0.31)


def test_a_second_or_loose_box_on_a_face_does_not_move_the_working_point():
    truth = np.array([[0, 0, 10, 10]], np.float32)
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [4, 0, 14, 10], [100, 0, 110, 10]], np.float32)
    found = match(Detections(boxes, np.array([0.9, 0.8, 0.7, 0.3], np.float32)), truth, np.zeros((0, 4), np.float32))
    assert choose_threshold([found]) == pytest.approx(0.31)


def test_networks_are_judged_where_few_pictures_without_people_are_hit(faces):
    held = Picture(faces[0].image, BOX, POINTS, faces[0].sure, "people", True)
    person = Picture(faces[0].image, BOX, POINTS, faces[0].sure, "lfw", True)
    nobody = [Picture(np.full((64, 96), 90, np.uint8), BOX[:0], POINTS[:0], faces[0].sure[:0], "things", True)] * 3
    sets = validate.trials([held, person, *nobody], None)
    assert sets["roll 45"][0].image.shape == (224, 224)
    assert not np.array_equal(sets["blur 6 %"][0].image, sets["roll 0"][0].image)

    def find(image):  # is sure of the marked face at any size, and half sure of whatever else there is
        marked = [one for name in ("people", "people, default") for one in sets[name] if image.shape[1] >= 300]
        size = np.array(image.shape[::-1])
        boxes = [one.faces[0] for one in marked if (one.image.shape[1] + 31) // 32 * 32 == size[0]][:1]
        known = len(boxes)
        boxes = [*boxes, np.array([0, 0, 20, 20])]
        return Detections(np.array(boxes, np.float32), np.array([0.9] * known + [0.5], np.float32))

    found = validate.judge(find, sets)
    assert found["threshold"] == pytest.approx(0.51)
    assert found["people >=64"] == found["people, default >=64"] == 1
    assert found["roll 45"] == 0
    assert (found["things hit at 0.5"], found["things hit at 0.7"]) == (1, 0)
