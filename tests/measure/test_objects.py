"""Rows of labels and of connected objects, on grids of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from napari_asmlp.errors import GridError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.measure import Intensities, columns, iter_measure, measure, record
from napari_asmlp.volume import Volume

# 2 mm to the left, 3 mm to superior, 1 mm to anterior; turned, and moved
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 0, 1.0, -20], [0, 3.0, 0, 5], [0, 0, 0, 1]])


def labels_of(array, affine=AFFINE, names=None):
    return Volume(array, Grid(array.shape, affine), "labels", label_names=names or {})


@pytest.fixture
def array():
    """Label 2: a block of 2×2×1; label 700: a voxel at the border, and two that share a corner."""
    array = np.zeros((4, 5, 6), np.uint16)
    array[1:3, 1:3, 4] = 2
    array[0, 0, 0] = 700
    array[2, 3, 0] = array[3, 4, 1] = 700
    return array


def test_a_row_a_label(array):
    block, other = measure(labels_of(array, names={2: "liver"}))
    assert (block.label, block.name, block.object) == (2, "liver", None)
    assert block.box == Region((1, 1, 4), (3, 3, 5))
    assert block.shape.voxels == 4
    assert block.shape.volume_mm3 == pytest.approx(24)
    assert block.shape.centroid == (0.5, 0.5, 0)  # within its box
    assert block.centroid_mm == pytest.approx((10 - 2 * 1.5, -20 + 4, 5 + 3 * 1.5))
    assert block.shape.longest_diameter_mm == pytest.approx(np.hypot(2, 3))
    assert block.intensities is None
    assert (other.label, other.name, other.shape.voxels) == (700, "label 700", 3)
    assert str(other.box) == "0:4,0:5,0:2"


def test_a_row_an_object_the_largest_first(array):
    rows = measure(labels_of(array), objects=True)
    assert [(row.label, row.object, row.shape.voxels) for row in rows] == [
        (2, 1, 4),
        (700, 1, 2),  # joined by a corner
        (700, 2, 1),
    ]
    assert str(rows[1].box) == "2:4,3:5,0:2"


def test_touching_labels_are_objects_of_their_own():
    array = np.repeat([1, 2], 4).reshape(2, 2, 2).astype(np.uint8)
    assert [row.label for row in measure(labels_of(array), objects=True)] == [1, 2]


@pytest.mark.parametrize("objects", [False, True])
def test_turned_and_flipped_views_measure_the_same(array, objects):
    whole = labels_of(array)
    turn = whole.grid.orientation("SAR")
    grid = whole.grid.reoriented(turn)
    turned = Volume(turn.apply(array), grid, "labels")
    for mine, theirs in zip(
        measure(whole, objects=objects), measure(turned, objects=objects), strict=True
    ):
        assert theirs.label == mine.label
        assert theirs.centroid_mm == pytest.approx(mine.centroid_mm)
        assert theirs.shape.surface_mm2 == pytest.approx(mine.shape.surface_mm2)
        assert theirs.shape.longest_diameter_mm == pytest.approx(mine.shape.longest_diameter_mm)


def test_the_centroid_on_an_oblique_and_sheared_grid(array):
    affine = np.eye(4)
    affine[:3] = np.random.default_rng(0).normal(size=(3, 4))
    block = measure(labels_of(array, affine))[0]
    corners = [affine @ (i, j, 4, 1) for i in (1, 2) for j in (1, 2)]
    assert block.centroid_mm == pytest.approx(np.mean(corners, axis=0)[:3])
    assert block.shape.volume_mm3 == pytest.approx(4 * abs(np.linalg.det(affine)))


def test_intensities_leave_out_what_is_not_finite():
    array = np.repeat([1, 2, 3, 4], 4).reshape(4, 2, 2)
    image = np.arange(16.0).reshape(4, 2, 2)
    image[1, 0, 0] = np.nan
    image[2] = np.nan
    image[3, 0] = image[3, 1, 0] = np.inf
    volume = labels_of(array)
    rows = measure(volume, Volume(image, volume.grid))
    # 0, 1, 2, 3: squares about 1.5 sum up to 5, over 3; ranks 0.15, 1.5 and 2.85
    assert rows[0].intensities == Intensities(
        1.5, pytest.approx(np.sqrt(5 / 3)), pytest.approx(0.15), 1.5, pytest.approx(2.85)
    )
    assert rows[1].intensities.mean == 6
    assert rows[2].intensities is None
    assert rows[3].intensities == Intensities(15.0, None, 15.0, 15.0, 15.0)


def test_extreme_integers_do_not_overflow():
    array = np.ones((1, 1, 2), np.uint8)
    volume = labels_of(array)
    image = Volume(np.array([[[-32768, 32767]]], np.int16), volume.grid)
    assert measure(volume, image)[0].intensities.p50 == -0.5


def test_nothing_to_measure():
    assert measure(labels_of(np.zeros((2, 2, 2), np.uint8))) == []
    assert measure(labels_of(np.zeros((2, 2, 2), np.uint8)), objects=True) == []


@pytest.mark.parametrize("objects", [False, True])
def test_label_values_of_instance_segmentations_may_be_huge(objects):
    array = np.zeros((2, 2, 2), np.uint32)
    array[0, 0, 0], array[1, 1, 1] = 5, 4_000_000_000
    rows = measure(labels_of(array), objects=objects)
    assert [row.label for row in rows] == [5, 4_000_000_000]


def test_negative_values_are_refused():
    with pytest.raises(VolumeError, match="label -3 is negative"):
        measure(labels_of(np.full((2, 2, 2), -3, np.int16)))


def test_grids_that_differ_are_refused_by_name():
    labels = labels_of(np.ones((2, 2, 2), np.uint8))
    image = Volume(np.ones((2, 2, 2)), Grid((2, 2, 2), np.eye(4)), title="CT")
    with pytest.raises(GridError, match="labels volume and image CT lie on different grids"):
        measure(labels, image)


def test_an_image_of_several_volumes_is_refused():
    labels = labels_of(np.ones((2, 2, 2), np.uint8))
    with pytest.raises(VolumeError, match="CT: holds 3 volumes"):
        measure(labels, Volume(np.ones((2, 2, 2, 3)), labels.grid, title="CT"))


def test_progress_counts_rows_and_work_can_be_stopped_between_them():
    array = np.arange(1, 1001, dtype=np.uint16).reshape(10, 10, 10)
    steps = list(iter_measure(labels_of(array)))
    assert (steps[0].done, steps[-1].done) == (0, 1000)
    assert len(steps) > 5
    assert {step.total for step in steps} == {1000}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    begun = iter_measure(labels_of(array))
    next(begun)
    begun.close()


def test_records_have_the_columns_that_the_command_line_promises(array):
    promised = (
        "label name voxels volume_mm3 surface_mm2 centroid_x_mm centroid_y_mm centroid_z_mm"
        " longest_diameter_mm elongation mean sd p5 p50 p95"
    )
    assert " ".join(columns()).startswith(promised)
    assert columns(objects=True) == (*columns(), "object")
    row = record(measure(labels_of(array), objects=True)[2])
    assert set(row) == set(columns(objects=True))
    assert row["object"] == 2
    assert row["mean"] is None
    assert row["box"] == "0:1,0:1,0:1"
