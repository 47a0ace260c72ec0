"""Size and form of masks: by hand for small ones, against formulae for a ball and a box."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from napari_asmlp.measure import Ruler, volume_mm3, voxel_mm3

UNIT = np.eye(4)


def affine(linear):
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    return matrix


def cells(*places, shape=(6, 6, 6)):
    mask = np.zeros(shape, bool)
    mask[tuple(np.transpose(places))] = True
    return mask


def ellipsoid(radii_mm, spacing):
    """An ellipsoid with its axes along the array's, in the middle of it."""
    half = [int(r / s) + 2 for r, s in zip(radii_mm, spacing, strict=True)]
    at = np.ogrid[tuple(slice(-n, n + 1) for n in half)]
    return sum((x * s / r) ** 2 for x, s, r in zip(at, spacing, radii_mm, strict=True)) <= 1


@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        (np.diag([1, 1, 1]), 1),
        (np.diag([-2, 0.5, 3]), 3),
        ([[0, -2, 0], [1, 0, 0], [0, 0, 3]], 6),  # turned, |det| whatever its sign
        ([[1, 0.5, 0], [0, 1, 0], [0, 0, 2]], 2),  # sheared: the product of spacings is 2.24
    ],
)
def test_voxel_mm3(linear, expected):
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = 7, 8, 9
    assert voxel_mm3(affine) == pytest.approx(expected)


def test_volume_mm3():
    assert volume_mm3(np.ones((3, 3, 3), bool), 0.5) == 13.5
    assert volume_mm3(np.zeros((3, 3, 3), bool), 0.5) == 0


def test_a_single_voxel():
    shape = Ruler(affine(np.diag([1, 2, 3]))).measure(cells((4, 5, 0)))
    assert shape.voxels == 1
    assert shape.volume_mm3 == pytest.approx(6)
    assert shape.centroid == (4, 5, 0)
    assert shape.longest_diameter_mm == 0
    assert shape.elongation is None
    assert 2 * (2 + 3 + 6) * 0.5 < shape.surface_mm2 < 2 * (2 + 3 + 6)  # inside its faces


@pytest.mark.parametrize(
    ("linear", "diameter"),
    [
        (np.eye(3), 3.0),
        (np.diag([2, 1, 1]), 6.0),
        (np.diag([-0.5, 9, 9]), 1.5),
        ([[1, 0, 0], [1, 1, 0], [0, 0, 1]], 3 * np.sqrt(2)),  # i runs to the right and forwards
    ],
)
def test_a_rod_is_as_long_as_its_ends_are_apart(linear, diameter):
    shape = Ruler(affine(linear)).measure(cells((0, 2, 2), (1, 2, 2), (2, 2, 2), (3, 2, 2)))
    assert shape.longest_diameter_mm == pytest.approx(diameter)
    assert shape.centroid == (1.5, 2, 2)
    assert shape.elongation is None  # λ2 is 0


@pytest.mark.parametrize(
    ("size", "spacing", "expected"),
    [
        # n voxels of s mm: variance s² (n² - 1) / 12
        ((8, 4, 2), (1, 1, 1), np.sqrt(63 / 15)),
        ((2, 8, 4), (1, 1, 1), np.sqrt(63 / 15)),
        ((4, 4, 4), (1, 1, 3), 3.0),
        ((4, 4, 4), (1, 3, 3), 1.0),
        ((5, 5, 1), (1, 1, 1), 1.0),  # flat
    ],
)
def test_elongation_of_boxes(size, spacing, expected):
    shape = Ruler(affine(np.diag(spacing))).measure(np.ones(size, bool))
    assert shape.elongation == pytest.approx(expected)
    corner = np.multiply(np.subtract(size, 1), spacing)
    assert shape.longest_diameter_mm == pytest.approx(np.linalg.norm(corner))


@pytest.mark.parametrize(
    ("radius", "spacing", "within"),
    [(20, (1, 1, 1), 0.005), (20, (1, 1, 3), 0.01), (8, (0.7, 0.7, 1.5), 0.02)],
)
def test_the_surface_of_a_ball(radius, spacing, within):
    shape = Ruler(affine(np.diag(spacing))).measure(ellipsoid((radius,) * 3, spacing))
    assert shape.surface_mm2 == pytest.approx(4 * np.pi * radius**2, rel=within)
    assert shape.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=within)
    assert shape.elongation == pytest.approx(1, rel=0.01)


def test_a_sheared_grid_measures_what_an_upright_one_does():
    # the same ball in the world, sampled on both
    linear = np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1.0]])
    at = np.stack(np.meshgrid(*(np.arange(-25, 26),) * 3, indexing="ij"), -1) @ linear.T
    mask = (at**2).sum(-1) <= 12**2
    shape = Ruler(affine(linear)).measure(mask)
    assert shape.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)
    assert shape.surface_mm2 == pytest.approx(4 * np.pi * 12**2, rel=0.015)
    assert shape.longest_diameter_mm == pytest.approx(24, rel=0.02)
    assert shape.elongation == pytest.approx(1, rel=0.01)


def test_an_object_that_fills_the_array_has_its_surface_at_the_border():
    room = np.zeros((7, 7, 7), bool)
    room[2:5, 2:5, 2:5] = True
    ruler = Ruler(UNIT)
    inside, alone = ruler.measure(room), ruler.measure(np.ones((3, 3, 3), bool))
    assert alone.surface_mm2 == pytest.approx(inside.surface_mm2)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_all_pairs_of_voxels_and_their_covariance(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(3, 14, 3)) < (0.05, 0.5)[seed % 2]
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 0, 1] = True
    linear = np.diag(rng.uniform(0.5, 3, 3)) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = np.argwhere(mask) @ linear.T
    _, second, first = np.linalg.eigvalsh(np.cov(points.T, ddof=0))
    shape = Ruler(affine(linear)).measure(mask)
    assert shape.longest_diameter_mm == pytest.approx(pdist(points).max())
    assert shape.elongation == pytest.approx(np.sqrt(first / second))
    assert shape.centroid == pytest.approx(np.argwhere(mask).mean(axis=0))


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((40, 40, 1), bool),
        np.ones((1, 300, 1), bool),
        np.eye(200, dtype=bool)[:, :, np.newaxis],  # a diagonal line
        np.repeat(np.eye(30, dtype=bool)[:, :, np.newaxis], 30, axis=2),  # an oblique plane
        ~ellipsoid((9, 9, 9), (1, 1, 1)),  # hollow
    ],
)
def test_the_diameter_of_what_spans_no_volume(mask):
    corner = np.subtract(mask.shape, 1)
    found = Ruler(UNIT).measure(mask).longest_diameter_mm
    assert found == pytest.approx(np.linalg.norm(corner))
