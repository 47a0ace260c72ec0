"""Measures on masks small enough to check by hand, and against brute force on random blobs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from napari_asmlp.errors import GridError
from napari_asmlp.measure import (
    average_surface_distance,
    changes,
    dice,
    hausdorff95,
    surface_distances,
)

UNIT = (1.0, 1.0, 1.0)
EMPTY = np.zeros((6, 6, 6), bool)


def box(start, stop, shape=(6, 6, 6)):
    mask = np.zeros(shape, bool)
    mask[tuple(map(slice, start, stop))] = True
    return mask


CUBE = box((1, 1, 1), (4, 4, 4))  # 27 voxels, all but the middle one on the surface


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (CUBE, CUBE, 1.0),
        (CUBE, box((2, 1, 1), (5, 4, 4)), 2 / 3),  # moved by one: 2 * 18 / (27 + 27)
        (CUBE, box((1, 1, 1), (2, 2, 2)), 2 / 28),
        (CUBE, box((4, 4, 4), (6, 6, 6)), 0.0),
        (CUBE, EMPTY, 0.0),
        (EMPTY, CUBE, 0.0),
        (EMPTY, EMPTY, None),
    ],
)
def test_dice(a, b, expected):
    assert dice(a, b) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("spacing", "distance"),
    [(UNIT, 3.0), ((2.0, 1.0, 1.0), 6.0), ((0.5, 9.0, 9.0), 1.5)],
)
def test_two_single_voxels_three_apart(spacing, distance):
    a, b = box((0, 2, 2), (1, 3, 3)), box((3, 2, 2), (4, 3, 3))
    assert hausdorff95(a, b, spacing) == distance
    assert average_surface_distance(a, b, spacing) == distance


def test_spacing_belongs_to_its_axis():
    a, b = box((0, 0, 0), (1, 1, 1)), box((1, 2, 3), (2, 3, 4))
    assert hausdorff95(a, b, (1.0, 10.0, 100.0)) == pytest.approx(np.hypot(np.hypot(1, 20), 300))


def test_moved_cube():
    # Of a's 26 surface voxels the 9 at i=1 are 1 from b; the rings of 8 at i=2 and i=3 lie on b's
    # surface; the middle of i=3 is the middle of b, 1 from its surface. Likewise the other way.
    a, b = CUBE, box((2, 1, 1), (5, 4, 4))
    distances = surface_distances(a, b, UNIT)
    for directed in (distances.forth, distances.back):
        assert sorted(directed) == [0] * 16 + [1] * 10
    assert distances.average == pytest.approx(10 / 26)
    assert distances.hausdorff95 == 1


def test_the_larger_surface_weighs_more_in_the_average():
    # a voxel at i=0 against a rod i=0..3: forth [0], back [0, 1, 2, 3]
    a, b = box((0, 0, 0), (1, 1, 1)), box((0, 0, 0), (4, 1, 1))
    assert average_surface_distance(a, b, UNIT) == pytest.approx((0 + 6) / (1 + 4))
    # 95 % of the way through ranks 0..3 is rank 2.85
    assert hausdorff95(a, b, UNIT) == pytest.approx(2.85)
    assert hausdorff95(b, a, UNIT) == pytest.approx(2.85)


def test_a_mask_that_fills_the_array_has_its_surface_at_the_border():
    full = np.ones((3, 3, 3), bool)
    middle = box((1, 1, 1), (2, 2, 2), (3, 3, 3))
    distances = surface_distances(full, middle, UNIT)
    assert distances.forth.size == 26
    assert list(distances.back) == [1.0]


def test_a_diagonal_neighbour_outside_does_not_make_a_surface():
    mask = np.ones((5, 5, 5), bool)
    mask[0, 0, 0] = False  # shares a corner with (1, 1, 1), but no face
    assert surface_distances(mask, mask, UNIT).forth.size == 5**3 - 3**3 - 1


def test_hausdorff95_ignores_a_rare_outlier():
    a = box((0, 0, 0), (100, 1, 1), (100, 30, 1))
    b = a.copy()
    b[0, 29, 0] = True
    assert surface_distances(a, b, UNIT).back.max() == 29
    assert hausdorff95(a, b, UNIT) == 0


@pytest.mark.parametrize(("a", "b"), [(EMPTY, EMPTY), (CUBE, EMPTY), (EMPTY, CUBE)])
def test_there_is_no_distance_to_an_empty_mask(a, b):
    assert hausdorff95(a, b, UNIT) is None
    assert average_surface_distance(a, b, UNIT) is None


@pytest.mark.parametrize("measure", [dice, lambda a, b: surface_distances(a, b, UNIT)])
def test_shapes_must_match(measure):
    with pytest.raises(GridError, match=r"\(6, 6, 6\) and \(1, 6, 6\)"):
        measure(CUBE, CUBE[:1])


def brute_surface(mask, spacing):
    """Points in mm of voxels with one of six neighbours missing, a voxel at a time."""
    inside = {tuple(map(int, voxel)) for voxel in np.argwhere(mask)}
    steps = [s for s in np.ndindex(3, 3, 3) if sum(abs(n - 1) for n in s) == 1]
    return np.array(
        [
            np.multiply(v, spacing)
            for v in sorted(inside)
            if any(tuple(p + q - 1 for p, q in zip(v, s, strict=True)) not in inside for s in steps)
        ]
    )


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_all_pairs_of_surface_points(seed):
    rng = np.random.default_rng(seed)
    shape, spacing = rng.integers(5, 10, 3), tuple(rng.uniform(0.3, 4, 3))
    a, b = (rng.random(shape) < density for density in rng.uniform(0.02, 0.95, 2))
    pairs = cdist(brute_surface(a, spacing), brute_surface(b, spacing))
    forth, back = pairs.min(axis=1), pairs.min(axis=0)
    found = surface_distances(a, b, spacing)
    np.testing.assert_allclose(found.forth, forth)
    np.testing.assert_allclose(found.back, back)
    expected = max(np.percentile(forth, 95), np.percentile(back, 95))
    assert hausdorff95(a, b, spacing) == pytest.approx(expected)
    expected = np.concatenate([forth, back]).mean()
    assert average_surface_distance(a, b, spacing) == pytest.approx(expected)


def test_changes_are_what_was_added_removed_and_relabelled():
    now = np.array([[[0, 1, 1, 0, 2]]])
    before = np.array([[[0, 0, 1, 3, 1]]], np.uint8)
    assert changes(now, before).tolist() == [[[0, 1, 0, 2, 3]]]
    with pytest.raises(GridError, match=r"\(1, 1, 5\) and \(1, 1, 1\)"):
        changes(now, before[..., :1])
