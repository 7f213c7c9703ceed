"""Training pictures of which one region is shown: landmarks follow the picture, and what is hidden stays hidden."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines import Crop
from streamer.faces.regions import crop, crops, region_box
from tests.conftest import expression_spec
from train.expression.batches.transforms import augment, random_affine
from train.expression.batches.views import Cover, Covered, draw_views, move, pad, show_views, zoom
from train.expression.config import Augment, Data, Input
from train.models.inputs import Visible

ALL = Input(mode="mask", regions=("mouth", "nose", "eyes", "nose_mouth", "nose_eyes", "mouth_eyes"))
QUIET = {"erase": 0.0, "blur": 0.0, "noise": 0.0}


def test_landmarks_follow_the_random_changes_of_their_picture() -> None:
    torch.manual_seed(0)
    n, height, width, size = 16, 60, 48, 90
    points = np.random.default_rng(0).uniform((20, 26), (28, 34), (n, 68, 2)).astype(np.float32)
    images = torch.zeros(n, 1, height, width)
    for row in range(n):  # one bright spot at the first landmark
        x, y = points[row, 0].astype(int)
        images[row, 0, y, x] = 255
        points[row, 0] = x + 0.5, y + 0.5
    settings = Augment.model_validate({"degrees": 20, "scale": 0.2, "stretch": 0.1, "shift": 0.05, **QUIET})
    matrices = random_affine(n, settings, width / height)
    changed = augment(images, size, settings, matrices)
    found = move(points.astype(np.float32), matrices, (height, width), (changed.shape[2], changed.shape[3]))
    for row in range(n):
        heat = changed[row, 0]
        y, x = torch.meshgrid(torch.arange(heat.shape[0]) + 0.5, torch.arange(heat.shape[1]) + 0.5, indexing="ij")
        centre = torch.stack([(x * heat).sum(), (y * heat).sum()]) / heat.sum()
        assert (found[row, 0] - centre).abs().max() < 0.7


def test_the_parts_that_a_view_lacks_are_hidden_and_of_faces_without_landmarks_none() -> None:
    torch.manual_seed(0)
    images = torch.full((20, 1, 48, 48), 200.0)
    points = torch.rand(20, 68, 2) * 4 + 10
    points[:, 48:68] += 20  # the mouth lies to the lower right of all else
    points[:4] = torch.nan
    shown = show_views(images, points, ["nose_eyes"] * 20, ALL)
    assert (shown[:4] == 200).all()
    assert (shown[4:, :, :18, :18] == 200).all()
    assert (shown[4:, :, 31:33, 31:33] == 0).all()
    assert (show_views(images, points, ["face"] * 20, ALL) == 200).all()
    assert (show_views(images * 0, points, ["face"] * 20, ALL) == 1).all()  # black is not hidden


def test_what_cannot_be_seen_is_hidden_as_serving_hides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.expression.batches.views.JITTER", 0.0)
    grid = np.stack(np.meshgrid(np.linspace(4, 44, 17), np.linspace(6, 42, 4)), axis=-1).reshape(68, 2)
    points = np.tile(grid.astype(np.float32), (3, 1, 1))  # rows 0-16, 17-33, 34-50 and 51-67 from top to bottom
    visibility = np.ones((3, 68), np.float32)
    visibility[:2, 51:] = 0.2
    visibility[2] = np.nan
    images = torch.full((3, 1, 48, 48), 200.0)
    shown = show_views(images, torch.from_numpy(points), ["eyes", "mouth_eyes", "eyes"], ALL, visibility)[:, 0]
    assert (shown[0, 37:] == 0).all()
    assert (shown[1, 37:] == 200).all(), "of two parts enough is left"
    assert (shown[2] == 0).sum() < (shown[0] == 0).sum(), "nobody looked"
    spec = expression_spec(height=48, width=48, channels=1, crop=Crop(mode="mask"))
    whole = np.array([[0, 0, 48, 48]], np.float32)
    [served] = crops(np.full((48, 48, 1), 200, np.uint8), whole, spec, points[:1], ["eyes"], visibility[:1])
    np.testing.assert_array_equal(served[..., 0], shown[0].numpy())


def covered(count: int, visibility: NDArray[np.float32], usable: float = 1.0) -> Covered:
    pictures, points = np.zeros((count, 48, 48, 1), np.uint8), np.zeros((count, 68, 2), np.float32)
    return Covered(pictures, points, visibility, np.full(count, usable, np.float32))


def test_the_view_of_a_covered_face_is_what_is_left_of_it() -> None:
    visibility = np.ones((100, 68), np.float32)
    visibility[:, 48:] = 0
    assert set(draw_views(covered(100, visibility), ALL.regions)) == {"nose_eyes"}
    assert len(set(draw_views(covered(100, visibility, usable=0.1), ALL.regions))) > 3
    visibility[:] = 0
    assert len(set(draw_views(covered(100, visibility), ALL.regions))) > 3
    visibility[:] = np.nan
    assert set(draw_views(covered(100, visibility), ALL.regions)) == set(ALL.regions)


def test_a_share_of_the_faces_is_covered_and_a_face_without_landmarks_never() -> None:
    torch.manual_seed(0)
    pictures = np.full((60, 48, 48, 1), 128, np.uint8)
    x, y = np.meshgrid(np.linspace(12, 36, 17), np.linspace(12, 36, 4))
    points = np.tile(np.stack([x, y], axis=-1).reshape(1, 68, 2).astype(np.float32), (60, 1, 1))
    points[:10] = np.nan
    found = Cover(0.5, Data(), ALL)(pictures, points)
    changed = (found.pictures != pictures).any(axis=(1, 2, 3))
    known = np.isfinite(found.visibility).all(axis=1)
    assert not known[:10].any()
    assert known[changed].all()
    assert not changed[:10].any()
    assert 10 < changed[10:].sum() < 40  # blur shows nothing on flat grey
    np.testing.assert_array_equal(found.points, points)
    assert np.isnan(Cover(0.0, Data(), ALL)(pictures, points).visibility).all()


def test_the_network_that_serves_says_what_is_left_of_covered_faces() -> None:
    from skimage.data import astronaut

    torch.manual_seed(0)
    grey = cv2.cvtColor(astronaut()[64:180, 164:280], cv2.COLOR_RGB2GRAY)
    pictures = np.repeat(cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA)[None, ..., None], 12, axis=0)
    points = np.full((12, 68, 2), 24, np.float32) + np.random.default_rng(0).uniform(-12, 12, (12, 68, 2))
    cover = Cover(0.5, Data(landmarks=Path("zoo/landmarks.onnx")), ALL)
    found = cover(pictures, points.astype(np.float32))
    cover.close()
    asked = np.isfinite(found.visibility).all(axis=1)
    assert 1 < asked.sum() < 12
    np.testing.assert_array_equal(found.points[~asked], points[~asked].astype(np.float32))
    eyes = found.points[asked][:, 36:48].mean(axis=1)
    assert ((eyes > 8) & (eyes < 40)).all()
    assert (found.points[asked] != points[asked]).all()
    assert ((found.usable[asked] >= 0) & (found.usable[asked] <= 1)).all()
    assert (found.usable[~asked] == 1).all()


def test_a_network_sees_only_what_is_shown() -> None:
    images = torch.rand(3, 1, 20, 20) * 200 + 20
    images[:, :, :, :8] = 0
    seen = Visible()(images)
    assert (seen[:, :, :, :8] == 0).all()
    assert seen[:, :, :, 8:].mean().abs() < 1e-5
    assert abs(seen[:, :, :, 8:].std(dim=(2, 3), unbiased=False).mean() - 1) < 0.05
    assert Visible()(torch.zeros(1, 1, 4, 4)).abs().sum() == 0


def test_a_region_fills_the_picture_as_serving_cuts_it() -> None:
    """Without random changes and jitter, training sees what the crop of that region shows."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    picture = cv2.GaussianBlur(random.integers(1, 256, (64, 64), np.uint8), (0, 0), 3)
    points = random.uniform(20, 44, (1, 68, 2)).astype(np.float32)
    seen = Input(region="mouth", regions=("mouth",), size=40, margin=0.1)
    still = Augment.model_validate({"degrees": 0, "scale": 0, "stretch": 0, "shift": 0, "flip": False, **QUIET})
    image = torch.from_numpy(picture)[None, None].float()
    matrices = random_affine(1, still)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.expression.batches.views.JITTER", 0.0)
        found = zoom(move(points, matrices, (64, 64), (64, 64)), ["mouth"], matrices, (64, 64), seen)
    trained = pad(augment(image, 40, still, found.matrices), found.extent, 0)[0, 0].numpy()
    served = crop(picture, region_box(points[0], "mouth"), 40, 40, 1)[..., 0].astype(float)
    inner = (trained > 0) & (served > 0)
    assert inner.mean() > 0.3
    assert ((trained > 0) ^ (served > 0)).mean() < 0.12  # serving rounds to whole pixels
    assert np.abs(trained - served)[inner].mean() < 6
    assert np.corrcoef(trained[inner], served[inner])[0, 1] > 0.95


def test_a_face_without_landmarks_fills_the_picture() -> None:
    points = torch.full((4, 68, 2), torch.nan)
    seen = Input(regions=("mouth", "eyes"), size=20)
    found = zoom(points, ["mouth", "eyes"] * 2, random_affine(4, Augment.model_validate(QUIET)), (30, 30), seen)
    assert (pad(torch.ones(4, 1, 20, 20), found.extent, 0) == 1).all()
    assert found.matrices.isfinite().all()


def test_the_whole_face_among_the_regions_is_the_picture_as_serving_cuts_it() -> None:
    points = torch.rand(2, 68, 2) * 10 + 10
    seen = Input(regions=("mouth", "face"), size=20)
    matrices = random_affine(2, Augment.model_validate(QUIET))
    mouth, face = zoom(points, ["mouth", "face"], matrices, (30, 30), seen).matrices
    assert torch.allclose(face, matrices[1])
    assert not torch.allclose(mouth, matrices[0])
