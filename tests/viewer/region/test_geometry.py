from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import Card, Preprocessing
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.viewer.region.geometry import (
    Outline,
    axes_text,
    box_around,
    grabbed_faces,
    region_of_labels,
    size_text,
    with_margin,
)
from tests.viewer.conftest import AFFINE, ENTRIES, SHAPE

LARGE = (10, 20, 30)
CARD = Card(
    "tiny", "For tests.", ENTRIES, AsmlpConfig(out_channels=3), window=(8, 8, 8),
    field_of_view_mm=(4, 6, 8),
)  # fmt: skip


@pytest.mark.parametrize(
    ("point", "sides"),
    [
        ((10, 15), (-1, 0)),  # on the low face of the first axis
        ((9, 15), (-1, 0)),
        ((12, 15), (-1, 0)),
        ((7, 15), (0, 0)),  # 3 mm outside, with a reach of 2
        ((13, 15), (0, 0)),  # inside
        ((20, 15), (1, 0)),
        ((15, 29), (0, 1)),
        ((15, 33), (0, 0)),
        ((11, 31), (-1, 1)),  # a corner
        ((10, 40), (0, 0)),  # in line with a face, beyond its end
    ],
)
def test_which_faces_are_near(point, sides):
    assert grabbed_faces(point, (10, 10), (20, 30), reach=2) == sides


def test_of_a_box_thinner_than_the_reach_the_nearer_face_is_taken():
    assert grabbed_faces((0.4, 0.6), (0, 0), (1, 1), reach=5) == (-1, 1)


OUTLINE = Outline(np.array([0.0, 10, 20]), np.array([6.0, 30, 40]), np.array([1.0, 2, 4]))


@pytest.mark.parametrize(
    ("sides", "point", "low", "high"),
    [
        ((-1, 0), (99, 14, 99), [0, 14, 20], [6, 30, 40]),
        ((1, 0), (99, 14, 99), [0, 10, 20], [6, 14, 40]),
        ((1, -1), (99, 50, 30), [0, 10, 30], [6, 50, 40]),
        ((-1, 0), (99, 35, 99), [0, 28, 20], [6, 30, 40]),  # one voxel of 2 mm remains
        ((0, 1), (99, 99, 5), [0, 10, 20], [6, 30, 24]),
    ],
)
def test_faces_are_dragged_in_the_shown_plane(sides, point, low, high):
    moved = OUTLINE.moved((1, 2), sides, np.array(point, float))
    assert (moved.low.tolist(), moved.high.tolist()) == (low, high)


def test_a_drawn_rectangle_holds_the_voxels_of_both_points_and_keeps_the_depth():
    drawn = OUTLINE.drawn((1, 2), np.array([99.0, 20, 50]), np.array([99.0, 12, 60]))
    assert drawn.low.tolist() == [0, 11, 48]
    assert drawn.high.tolist() == [6, 21, 62]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("value", "text"), [(1, "1:2,2:5,3:4"), (2, "4:5,0:1,6:7"), (None, "1:5,0:5,3:7"), (3, None)]
)
def test_the_region_of_labels(order, value, text):
    labels = np.zeros((5, 6, 7), np.uint8, order=order)
    labels[1, 2:5, 3] = 1
    labels[4, 0, 6] = 2
    region = region_of_labels(labels, value)
    assert (str(region) if region else None) == text


def test_voxels_below_0_are_no_labels():
    assert region_of_labels(np.full((2, 2, 2), -1)) is None


@pytest.mark.parametrize(
    ("margin_mm", "text"),
    [(0, "2:3,3:4,4:5"), (1, "1:4,2:5,3:6"), (2.5, "0:6,1:6,3:6"), (100, "0:6,0:7,0:8")],
)
def test_a_margin_covers_at_least_its_mm_and_is_clipped(margin_mm, text):
    region = Region((2, 3, 4), (3, 4, 5))  # of 1, 2 and 3 mm
    assert str(with_margin(region, Grid(SHAPE, AFFINE), margin_mm)) == text


def test_a_margin_of_whole_voxels_is_not_rounded_up():
    grid = Grid((50, 50, 50), np.diag([0.1, 0.1, 0.1, 1]))
    grown = with_margin(Region((20, 20, 20), (21, 21, 21)), grid, 0.3)
    assert grown.shape == (7, 7, 7)  # though 0.3 / 0.1 is 2.9999999999999996


def test_size_and_axes_in_words():
    grid = Grid(SHAPE, AFFINE)
    assert (
        size_text((2, 7, 3), grid).replace("\N{NO-BREAK SPACE}", " ") == "2×7×3 voxels · 2×14×9 mm"
    )
    assert axes_text(grid) == "i to left, j to superior, k to posterior"


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((5, 10, 15), "3:7,7:13,11:19"),
        ((0, 0, 0), "0:4,0:6,0:8"),
        ((9, 19, 29), "6:10,14:20,22:30"),
    ],
)
def test_a_box_of_the_field_of_view_stays_inside(index, expected):
    assert str(box_around(index, Grid(LARGE, np.eye(4)), CARD)) == expected


def test_a_box_follows_axes_and_spacing_of_the_file():
    # i runs superior at 2 mm, j right at 1 mm, k anterior at 3 mm; 4 x 6 x 8 mm R, A, S
    affine = np.array([[0, 1.0, 0, 0], [0, 0, 3.0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])
    assert box_around((5, 10, 15), Grid(LARGE, affine), CARD).shape == (4, 4, 2)


def test_a_model_of_any_field_of_view_gives_a_box_of_one_window():
    card = replace(CARD, field_of_view_mm=None, preprocessing=Preprocessing(spacing=(1, 1, 0.5)))
    assert box_around((5, 10, 15), Grid(LARGE, np.eye(4)), card).shape == (8, 8, 4)
