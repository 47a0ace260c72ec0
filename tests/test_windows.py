"""Where windows lie: small tables by hand, and what must hold for any size and overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_asmlp.errors import SettingsError
from napari_asmlp.windows import (
    Box,
    axis_shares,
    count_windows,
    finished_planes,
    fitted_windows,
    importance_profile,
    place_windows,
)

SIZES = [
    # shape, window, overlap
    ((7, 7, 7), (7, 7, 7), 0.0),
    ((8, 7, 7), (7, 7, 7), 0.0),  # one voxel remains
    ((5, 3, 1), (8, 8, 8), 0.5),  # the window is larger than the volume
    ((9, 11, 13), (4, 5, 6), 0.5),
    ((10, 20, 17), (10, 7, 4), 0.25),
    ((20, 9, 9), (10, 9, 4), 0.9),
]


@pytest.mark.parametrize(
    ("length", "window", "overlap", "starts"),
    [
        (10, 10, 0.5, [0]),
        (11, 10, 0.0, [0, 1]),  # one voxel remains: the second window is flush with the border
        (24, 12, 0.5, [0, 6, 12]),
        (25, 10, 0.0, [0, 7, 15]),  # evenly spread, not 0, 10, 15
        (13, 10, 0.9, [0, 1, 2, 3]),
        (48, 40, 0.9, [0, 4, 8]),  # 40 * (1 - 0.9) is 3.9999999999999991
        (3, 10, 0.5, [0]),
    ],
)
def test_starts_along_one_axis(length, window, overlap, starts):
    boxes = place_windows((1, length, 2), (1, window, 2), overlap)
    assert [box.start for box in boxes] == [(0, start, 0) for start in starts]
    assert {box.shape for box in boxes} == {(1, min(window, length), 2)}


def test_slab_axis_varies_slowest():
    starts = [box.start for box in place_windows((4, 2, 4), (2, 2, 2), 0.0, slab_axis=0)]
    assert starts == [(0, 0, 0), (0, 0, 2), (2, 0, 0), (2, 0, 2)]
    starts = [box.start for box in place_windows((4, 2, 4), (2, 2, 2), 0.0, 2, backwards=True)]
    assert starts == [(0, 0, 2), (2, 0, 2), (0, 0, 0), (2, 0, 0)]


@pytest.mark.parametrize(("shape", "window", "overlap"), SIZES)
def test_which_windows_does_not_depend_on_the_walk(shape, window, overlap):
    walks = [
        set(place_windows(shape, window, overlap, axis, backwards=backwards))
        for axis in range(3)
        for backwards in (False, True)
    ]
    assert all(walk == walks[0] for walk in walks)


@pytest.mark.parametrize(("shape", "window", "overlap"), SIZES)
def test_windows_cover_the_volume_and_share_enough(shape, window, overlap):
    boxes = place_windows(shape, window, overlap)
    seen = np.zeros(shape, int)
    for box in boxes:
        assert seen[box.slices].shape == box.shape  # inside the volume
        seen[box.slices] += 1
    assert seen.min() == 1
    for axis in range(3):
        starts = sorted({box.start[axis] for box in boxes})
        most = max(1, math.floor(boxes[0].shape[axis] * (1 - overlap) + 1e-6))
        assert max(np.diff(starts), default=0) <= most


@pytest.mark.parametrize(
    ("shape", "window", "overlap", "message"),
    [
        ((9, 9, 9), (4, 4, 4), 0.95, "overlap 0.95"),
        ((9, 9, 9), (4, 4, 4), -0.1, "overlap -0.1"),
        ((9, 9, 9), (4, 4, 4), math.nan, "overlap nan"),
        ((9, 9, 9), (4, 0, 4), 0.5, r"window \(4, 0, 4\)"),
        ((9, 9, 9), (4, 4), 0.5, r"window \(4, 4\)"),
        ((9, 0, 9), (4, 4, 4), 0.5, r"volume \(9, 0, 9\)"),
    ],
)
def test_wrong_values_are_repeated(shape, window, overlap, message):
    with pytest.raises(SettingsError, match=message):
        place_windows(shape, window, overlap)


def test_finished_planes_of_the_figure():
    boxes = place_windows((1, 1, 24), (1, 1, 12), 0.5)
    assert finished_planes(boxes, 2) == [range(6), range(6, 12), range(12, 24)]
    boxes = place_windows((1, 1, 24), (1, 1, 12), 0.5, 2, backwards=True)
    assert finished_planes(boxes, 2) == [range(18, 24), range(12, 18), range(12)]
    assert finished_planes([], 2) == []


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("shape", "window", "overlap"), SIZES)
def test_finished_planes_are_those_no_later_window_touches(shape, window, overlap, axis, backwards):
    boxes = place_windows(shape, window, overlap, axis, backwards=backwards)
    before = set()
    for n, planes in enumerate(finished_planes(boxes, axis)):
        spans = [set(range(box.start[axis], box.stop[axis])) for box in boxes]
        touched, later = set().union(*spans[: n + 1]), set().union(*spans[n + 1 :])
        assert set(planes) == touched - later - before
        before |= set(planes)
    assert before == set(range(shape[axis]))


@pytest.mark.parametrize(
    ("length", "profile"),
    [(1, [1]), (2, [1, 1]), (5, [1, 2, 3, 2, 1]), (6, [1, 2, 3, 3, 2, 1])],
)
def test_importance_falls_to_the_border(length, profile):
    found = importance_profile(length)
    assert found.dtype == np.float32
    assert found.tolist() == profile


def test_a_window_fades_into_the_next_over_all_they_share():
    left, right = axis_shares(place_windows((17, 1, 1), (10, 1, 1), 0.3), 0).values()
    assert left.tolist() == [1] * 7 + [0.75, 0.5, 0.25]
    assert right.tolist() == [0.25, 0.5, 0.75] + [1] * 7


@pytest.mark.parametrize(
    ("shape", "least", "overlap", "window", "count"),
    [
        # One axis is cut here, the others have one voxel. Least windows of 48, units of 8.
        ((40, 1, 1), 48, 0.1, 40, 1),  # as long as the volume
        ((50, 1, 1), 48, 0.1, 50, 1),  # one of 50, not two of 48
        ((160, 1, 1), 48, 0.0, 160, 1),  # one, not two of 80
        ((161, 1, 1), 48, 0.0, 56, 3),  # 168 voxels are computed, not two times 88
        ((256, 1, 1), 48, 0.0, 128, 2),  # not four of 64, though these compute no more
        ((256, 1, 1), 48, 0.1, 136, 2),  # they share 16, where 13 would do
        ((256, 1, 1), 48, 0.25, 152, 2),  # 304 voxels are computed; 312 by three of 104
        ((512, 1, 1), 48, 0.0, 128, 4),
        ((1000, 1, 1), 200, 0.0, 200, 5),  # the least is beyond the longest
    ],
)
def test_windows_are_fitted_along_an_axis(shape, least, overlap, window, count):
    first = fitted_windows(shape, (least, 1, 1), 8, overlap)[0]
    assert first == (window, 1, 1)
    assert count_windows(shape, first, overlap) == count


def test_a_head_takes_20_windows():
    windows = fitted_windows((256, 256, 256), (48, 64, 48), 8, 0.1)
    assert windows[0] == (136, 136, 56)  # 2 x 2 x 5, and small planes across the first axis
    assert windows[1] == (56, 136, 136)
    assert (48, 64, 48) in windows


@given(
    shape=st.tuples(*[st.integers(1, 700)] * 3),
    sides=st.tuples(*[st.integers(1, 12)] * 3),
    unit=st.sampled_from([1, 2, 8, 16]),
    overlap=st.sampled_from([0, 1 / 16, 0.1, 0.25, 0.5, 0.9]),
)
def test_fitted_windows_keep_within_their_limits(shape, sides, unit, overlap):
    least = tuple(min(n, unit * side) for n, side in zip(shape, sides, strict=True))
    windows = fitted_windows(shape, least, unit, overlap)
    computed = [count_windows(shape, each, overlap) * math.prod(each) for each in windows]
    assert computed == sorted(computed)
    assert least in windows
    for window in windows:
        for n, low, side in zip(shape, least, window, strict=True):
            assert low <= side <= n
            assert side in (low, n) or side % unit == 0
            assert side <= max(low, 160)
        assert math.prod(window) <= 2**20 or window == least


@pytest.mark.parametrize(("shape", "window", "overlap"), SIZES)
def test_shares_of_all_windows_sum_up_to_one(shape, window, overlap):
    boxes = place_windows(shape, window, overlap)
    shares = [axis_shares(boxes, axis) for axis in range(3)]
    total = np.zeros(shape)
    for box in boxes:
        x, y, z = (shares[axis][box.start[axis]] for axis in range(3))
        total[box.slices] += x[:, None, None] * y[:, None] * z
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_share_where_one_window_reaches_is_exactly_one():
    shares = axis_shares(place_windows((24, 1, 1), (12, 1, 1), 0.5), 0)
    assert sorted(shares) == [0, 6, 12]
    assert (shares[0][:6] == 1).all()
    assert (shares[12][6:] == 1).all()
    assert 0 < shares[6].min() < shares[6].max() < 1


def test_box():
    box = Box((1, 2, 3), (4, 6, 8))
    assert box.shape == (3, 4, 5)
    assert box.slices == (slice(1, 4), slice(2, 6), slice(3, 8))
    assert str(box) == "1:4,2:6,3:8"
