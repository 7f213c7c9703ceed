"""Random changes of training batches, and the targets that they are trained towards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from train.data import EMOTIONS, labelled
from train.expression.batches.transforms import augment, mixup, random_affine
from train.expression.config import Augment
from train.expression.losses import class_weights, epoch_order, has_target, targets

NOTHING: dict[str, Any] = {
    "degrees": 0, "scale": 0, "stretch": 0, "shift": 0, "crop": 0, "flip": False, "erase": 0, "blur": 0, "noise": 0
}  # fmt: skip


def settings(**changes: Any) -> Augment:
    return Augment(**{**NOTHING, **changes})


def batch(n: int = 8, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_with_everything_off_a_batch_stays_as_it_is() -> None:
    torch.testing.assert_close(augment(batch(), 32, settings()), batch(), atol=0.01, rtol=0)


def test_a_batch_is_resized_and_keeps_its_shape() -> None:
    changed = augment(batch(4, 161, 125), 144, Augment(crop=0.115))
    assert changed.shape == (4, 1, 144, 112)
    assert changed.isfinite().all()


def test_the_same_seed_gives_the_same_changes() -> None:
    torch.manual_seed(5)
    first = augment(batch(), 24, Augment())
    torch.manual_seed(5)
    assert torch.equal(first, augment(batch(), 24, Augment()))
    assert not torch.equal(first, augment(batch(), 24, Augment()))


def test_about_half_of_a_batch_is_mirrored() -> None:
    images = batch(200)
    changed = augment(images, 32, settings(flip=True))
    mirrored = (changed - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 0.1
    kept = (changed - images).abs().amax(dim=(1, 2, 3)) < 0.1
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130


def test_a_random_window_of_a_larger_picture_is_seen_without_a_change_of_scale() -> None:
    canvas = torch.arange(40.0).expand(1, 1, 40, 40).repeat(300, 1, 1, 1)  # the value tells the column
    seen = augment(canvas, 32, settings(crop=0.25))
    torch.testing.assert_close(seen.diff(dim=3), torch.ones(300, 1, 32, 31), atol=1e-3, rtol=0)
    starts = seen[:, 0, 0, 0]
    assert starts.min() >= -0.01
    assert starts.max() <= 8.01
    assert starts.max() - starts.min() > 7


def test_translations_stay_within_their_bound() -> None:
    matrices = random_affine(500, settings(shift=0.1))
    assert matrices[:, :, 2].abs().max() <= 0.2  # positions run from -1 to 1
    assert matrices[:, :, 2].abs().max() > 0.19
    torch.testing.assert_close(matrices[:, :, :2], torch.eye(2).expand(500, 2, 2))


def test_a_rotation_of_a_tall_picture_does_not_shear_it() -> None:
    height, width = 144, 112
    matrices = random_affine(50, settings(degrees=30), width / height)[:, :, :2]
    to_pixels = torch.tensor([[width, 0.0], [0.0, height]]) / 2
    turn = to_pixels @ matrices @ to_pixels.inverse()
    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(2).expand(50, 2, 2), atol=1e-5, rtol=0)
    assert torch.atan2(turn[:, 1, 0], turn[:, 0, 0]).abs().max() > 0.4


def test_stretching_changes_height_against_width_and_keeps_the_area() -> None:
    matrices = random_affine(100, settings(stretch=0.2))
    torch.testing.assert_close(torch.linalg.det(matrices[:, :, :2]), torch.ones(100))
    assert (matrices[:, 0, 0] - matrices[:, 1, 1]).abs().max() > 0.2


def test_erasing_replaces_a_rectangle_by_the_mean() -> None:
    images = batch(50)
    changed = augment(images, 32, settings(erase=1))
    hole = (changed - images).abs() > 0.1
    share = hole.float().mean(dim=(1, 2, 3))
    assert (share > 0).float().mean() > 0.9
    assert share.max() < 0.25
    values = changed[0][hole[0]]
    torch.testing.assert_close(values, values.mean().expand_as(values))


def test_noise_and_blur_touch_their_share_of_the_batch() -> None:
    for change in ({"noise": 0.3}, {"blur": 0.3}):
        images = batch(300)
        touched = (augment(images, 32, settings(**change)) - images).abs().amax(dim=(1, 2, 3)) > 0.1
        assert 60 < touched.sum() < 120


def test_mixup_blends_pictures_and_targets_alike() -> None:
    images, wanted = batch(16), torch.eye(16)
    blended, mixed = mixup(images, wanted, 0.4)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(16))
    torch.testing.assert_close(blended, torch.einsum("ij,jchw->ichw", mixed, images), atol=1e-3, rtol=1e-4)
    assert (mixed.diagonal() >= 0.5).all()
    assert mixup(images, wanted, 0)[0] is images


def rows(labels: list[int]) -> Any:
    return labelled(EMOTIONS, [str(i) for i in range(len(labels))], np.zeros((len(labels), 4, 4, 1), np.uint8), labels)


def test_targets_are_hard_soft_or_the_votes() -> None:
    known = rows([1, 4])
    assert targets(known, "hard").tolist() == np.eye(8)[[1, 4]].tolist()
    soft = targets(known, "soft", smoothing=0.2)
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(2))
    assert soft[0].tolist() == pytest.approx([0.025, 0.825, *[0.025] * 6])
    known.distribution[0, :2] = (0.3, 0.7)
    assert targets(known, "distribution")[0].tolist() == pytest.approx([0.3, 0.7, *[0] * 6])


def test_rows_without_a_label_or_votes_are_not_trained_on() -> None:
    known = rows([1, -1, 4])
    known.distribution[2] = 0
    assert has_target(known, "hard").tolist() == [True, False, True]
    assert has_target(known, "distribution").tolist() == [True, False, False]


def test_rare_classes_weigh_more_and_all_rows_one_in_the_mean() -> None:
    wanted = targets(rows([0] * 90 + [1] * 10), "hard")
    weights = class_weights(wanted)
    assert float(weights[1] / weights[0]) == pytest.approx(9)
    assert float((wanted @ weights).mean()) == pytest.approx(1)
    assert weights[2:].tolist() == [0] * 6


def test_sampling_draws_the_classes_equally_often() -> None:
    wanted = targets(rows([0] * 900 + [1] * 100), "hard")
    drawn = epoch_order(wanted, "sample")
    assert len(drawn) == 1000
    assert 430 < int((drawn >= 900).sum()) < 570
    assert sorted(epoch_order(wanted, "none").tolist()) == list(range(1000))


def test_light_clips_what_is_too_bright_and_leaves_the_other_pictures() -> None:
    pictures = torch.arange(256.0).reshape(1, 1, 16, 16).repeat(64, 1, 1, 1)
    changed = augment(pictures, 16, settings(light=0.5))
    same = [bool(torch.allclose(one, pictures[0], atol=0.01)) for one in changed]
    assert 16 < sum(same) < 48
    assert all(one.min() >= 0 and one.max() <= 255 for one in changed)
    brighter = [one for one in changed if one.mean() > pictures[0].mean() + 20]
    assert brighter
    assert all((one == 255).sum() > 16 for one in brighter)
    assert all((one.flatten().diff() > -0.01).all() for one in changed)  # no order of grey levels is turned round


def test_a_small_face_has_lost_its_detail_and_keeps_its_mean() -> None:
    changed = augment(batch(16, 48, 48), 48, settings(small=1.0))
    lost = (changed[..., 1:] - changed[..., :-1]).abs().mean() / (batch(16, 48, 48).diff(dim=3)).abs().mean()
    assert lost < 0.6
    torch.testing.assert_close(changed.mean(dim=(1, 2, 3)), batch(16, 48, 48).mean(dim=(1, 2, 3)), atol=6, rtol=0)


def test_compression_changes_pictures_a_little_and_keeps_their_shape() -> None:
    smooth = torch.linspace(0, 255, 40)[None, None, None, :].expand(6, 3, 30, 40).contiguous()
    changed = augment(smooth, 30, settings(jpeg=1.0))
    assert changed.shape == smooth.shape
    assert 0 < (changed - smooth).abs().mean() < 12


def test_a_blend_within_groups_holds_no_picture_of_another_group() -> None:
    groups = torch.tensor([0, 1, 0, 1, 2, 0])
    pictures = groups[:, None, None, None].expand(-1, 1, 4, 4).float() * 100
    targets = torch.nn.functional.one_hot(groups, 3).float()
    blended, wanted = mixup(pictures, targets, 1.0, groups)
    torch.testing.assert_close(blended, pictures)
    torch.testing.assert_close(wanted, targets)
    distinct = torch.arange(6.0)[:, None, None, None].expand(-1, 1, 4, 4)
    assert not torch.equal(mixup(distinct, targets, 1.0, groups)[0], distinct)
