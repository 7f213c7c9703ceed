"""Hand-made features and support vector machines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from train.data import BASIC, FaceSet, labelled
from train.models.classic import FEATURES, build_classic, downsampled, gabor, lbp, lpq


def texture(kind: int, seed: int, height: int = 72, width: int = 56) -> NDArray[np.uint8]:
    """Make stripes of one of three directions and widths, with noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    wave = (x, y, x + y)[kind] * 2 * np.pi / (4 + 3 * kind)
    picture = 128 + 40 * np.sin(wave + random.uniform(0, 1)) + random.normal(0, 12, (height, width))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)[..., None]


def rows(n: int, first_seed: int = 0, kinds: int = 3) -> FaceSet:
    labels = [2 * (i % kinds) for i in range(n)]  # classes 0, 2 and 4 of seven
    images = np.stack([texture(i % kinds, first_seed + i) for i in range(n)])
    return labelled(BASIC, [str(i) for i in range(n)], images, labels)


@pytest.mark.parametrize("name", list(FEATURES))
def test_every_feature_tells_textures_apart(name: str) -> None:
    machine = build_classic(name, {}, seed=1).fit(rows(30))
    judged = rows(15, first_seed=100)
    assert (machine.predict(judged) == judged.labels).mean() > 0.9
    probabilities = machine(judged.images)
    assert probabilities.shape == (15, 7)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert probabilities[:, [1, 3, 5, 6]].max() == 0  # classes that were never seen


def test_two_classes_and_an_rbf_machine_work_too() -> None:
    machine = build_classic("downsampled_svm", {"kernel": "rbf", "cost": 10}, seed=1).fit(rows(20, kinds=2))
    assert set(machine.predict(rows(8, 50, kinds=2)).tolist()) == {0, 2}


def test_features_have_the_sizes_of_the_papers() -> None:
    picture = texture(0, 0)[..., 0]
    sizes: dict[Any, int] = {lbp: 6 * 7 * 59, lpq: 6 * 7 * 256, gabor: 40 * 64, downsampled: 120}
    for feature, size in sizes.items():
        assert feature(picture).shape == (size,)
        assert np.isfinite(feature(np.zeros_like(picture))).all()


def test_lbp_does_not_see_a_change_of_contrast_and_lpq_none_of_brightness() -> None:
    picture = texture(2, 0)[..., 0] // 2
    np.testing.assert_array_equal(lbp(picture), lbp(picture + 60))
    inner = np.s_[256 * 6 : -256 * 6]  # the outermost cells hold the border
    assert np.abs(lpq(picture) - lpq(picture + 60))[inner].mean() < 1e-3


def test_lpq_hardly_sees_a_blur() -> None:
    import cv2

    random = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(random.integers(0, 256, (96, 96)).astype(np.float32), (0, 0), 2.5)
    sharp = np.clip((smooth - smooth.mean()) * 6 + 128, 0, 255).astype(np.uint8)
    blurred = np.asarray(cv2.blur(sharp, (5, 5)), np.uint8)
    other = np.ascontiguousarray(sharp[::-1])
    assert np.abs(lpq(sharp) - lpq(blurred)).sum() < 0.7 * np.abs(lpq(sharp) - lpq(other)).sum()


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("sift_svm", {}, "unknown feature 'sift_svm': expected one of lbp_svm, gabor_svm"),
        ("lbp_svm", {"radius": 2}, "model 'lbp_svm': .*radius"),
    ],
)
def test_a_wrong_name_or_argument_is_one_clear_error(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_classic(name, args, seed=1)


def test_fitting_needs_two_classes_and_answering_needs_fitting() -> None:
    machine = build_classic("downsampled_svm", {}, seed=1)
    with pytest.raises(ValueError, match="needs rows of two classes at least"):
        machine.fit(rows(6, kinds=1))
    with pytest.raises(RuntimeError, match="was not fitted yet"):
        machine(rows(2).images)
