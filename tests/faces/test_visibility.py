"""From visible landmarks to the region that is judged by."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.faces.regions import PARTS, REGIONS
from streamer.faces.visibility import VisibilitySettings, VisibleRegion, part_visibility


def seen(**parts: float) -> NDArray[np.float32]:
    visibility = np.ones(68, np.float32)
    for part, value in parts.items():
        visibility[REGIONS[part]] = value
    return visibility


def test_a_part_is_seen_as_far_as_its_landmarks_and_lids_count_more_than_brows() -> None:
    assert part_visibility(seen()) == pytest.approx(dict.fromkeys(PARTS, 1.0))
    assert part_visibility(seen(mouth=0.25)) == pytest.approx({"eyes": 1, "nose": 1, "mouth": 0.25})
    lids, brows = seen(), seen()
    lids[36:48] = 0
    brows[17:27] = 0
    assert part_visibility(lids)["eyes"] < 0.5 < part_visibility(brows)["eyes"]


@pytest.mark.parametrize(
    ("hidden", "region"),
    [
        ((), "face"),
        (("mouth",), "nose_eyes"),
        (("nose",), "mouth_eyes"),
        (("eyes",), "nose_mouth"),
        (("mouth", "nose"), "eyes"),
        (("eyes", "nose"), "mouth"),
        (("eyes", "mouth"), "nose"),
        (PARTS, None),
    ],
)
def test_the_largest_region_of_what_is_seen_is_judged_by(hidden: tuple[str, ...], region: str | None) -> None:
    assert VisibleRegion().update(seen(**dict.fromkeys(hidden, 0.1))) == region


def test_values_at_the_border_do_not_make_the_region_flicker() -> None:
    follower = VisibleRegion(VisibilitySettings(seen=0.5))
    noise = np.random.default_rng(0).uniform(-0.08, 0.08, 200)
    regions = [follower.update(seen(mouth=0.5 + change)) for change in noise]
    assert len(set(regions)) == 1
    assert follower.update(seen(mouth=0.3)) == "nose_eyes"
    assert follower.update(seen(mouth=0.55)) == "nose_eyes"
    assert follower.update(seen(mouth=0.65)) == "face"


def test_where_no_part_is_well_seen_the_one_seen_best_counts_down_to_a_second_border() -> None:
    assert VisibleRegion().update(seen(eyes=0.1, nose=0.15, mouth=0.25)) == "mouth"
    follower = VisibleRegion(VisibilitySettings(seen=0.5, least=0.3))
    assert follower.update(seen(eyes=0.1, nose=0.1, mouth=0.29)) is None
    assert follower.update(seen(eyes=0.1, nose=0.1, mouth=0.35)) is None
    assert follower.update(seen(eyes=0.1, nose=0.1, mouth=0.45)) == "mouth"
    assert follower.update(seen(eyes=0.1, nose=0.1, mouth=0.25)) == "mouth"


def test_what_is_no_usable_face_is_not_judged() -> None:
    follower = VisibleRegion()
    assert follower.update(seen(), 0.1) is None
    assert follower.update(seen(), 0.25) is None
    assert follower.update(seen(), 0.4) == "face"
    assert follower.update(seen(), 0.15) == "face"
    assert follower.update(seen(), None) == "face"


def test_where_nobody_looked_the_whole_face_is_judged() -> None:
    assert VisibleRegion().update(None) == "face"


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 < seen < 1"):
        VisibilitySettings(seen=1.0)
    with pytest.raises(ValueError, match="expected 0 < least <= seen"):
        VisibilitySettings(least=0.6)
    with pytest.raises(ValueError, match="hold less than both ends"):
        VisibilitySettings(hold=0.5)
