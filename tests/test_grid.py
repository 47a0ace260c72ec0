"""Grids, regions and orientations, against tables worked out by hand and against nibabel."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError
from napari_asmlp.grid import Grid, Orientation, Region

SHAPE = (2, 3, 4)
SPACING = (1.0, 2.0, 3.0)
TURNS = list(product(permutations(range(3)), product((1, -1), repeat=3)))  # all 48


def rotation(degrees: float, axis: int) -> NDArray[np.float64]:
    angle = np.deg2rad(degrees)
    a, b = [n for n in range(3) if n != axis]
    matrix = np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def turned_affine(
    axes: tuple[int, ...], signs: tuple[int, ...], tilt: float
) -> NDArray[np.float64]:
    """Of voxel axes along the world axes `axes` in the directions `signs`, tilted about x and y."""
    affine = np.eye(4)
    upright = np.eye(3)[:, axes] * signs
    affine[:3, :3] = rotation(tilt, 0) @ rotation(tilt, 1) @ upright * SPACING
    affine[:3, 3] = -10, 20, 30
    return affine


@pytest.mark.parametrize(
    ("first", "second", "third", "codes"),
    [
        ((1, 0, 0), (0, 1, 0), (0, 0, 1), "RAS"),
        ((-1, 0, 0), (0, -1, 0), (0, 0, 1), "LPS"),
        ((0, 0, -2), (3, 0, 0), (0, 1, 0), "IRA"),
        ((0.9, 0.4, 0), (-0.4, 0.9, 0), (0, 0, 1), "RAS"),
        ((0.4, 0.9, 0), (0, 0, 1), (0.9, -0.4, 0), "ASR"),
    ],
)
def test_axis_codes(first, second, third, codes):
    affine = np.eye(4)
    affine[:3, :3] = np.array([first, second, third]).T

    assert Grid(SHAPE, affine).axis_codes == codes


@pytest.mark.parametrize("tilt", [0, 20])
@pytest.mark.parametrize(("axes", "signs"), TURNS)
def test_orientation_agrees_with_nibabel(axes, signs, tilt):
    array = np.arange(24, dtype=np.uint8).reshape(SHAPE)
    affine = turned_affine(axes, signs, tilt)
    grid = Grid(SHAPE, affine)
    source = nib.orientations.io_orientation(affine)

    assert grid.axis_codes == "".join(nib.orientations.ornt2axcodes(source))
    for codes in ("RAS", "SPL"):
        orientation = grid.orientation(codes)
        target = nib.orientations.axcodes2ornt(codes)
        turn = nib.orientations.ornt_transform(source, target)
        expected = nib.Nifti1Image(array, affine).as_reoriented(turn)

        turned = orientation.apply(array)
        np.testing.assert_array_equal(turned, np.asarray(expected.dataobj))
        np.testing.assert_allclose(grid.reoriented(orientation).affine, expected.affine, atol=1e-12)
        assert grid.reoriented(orientation).axis_codes == codes
        np.testing.assert_array_equal(orientation.undo(turned), array)
        assert np.shares_memory(turned, array)


def test_orientation_keeps_further_axes():
    array = np.arange(48).reshape(2, 3, 4, 2)
    orientation = Orientation((2, 0, 1), (True, False, False))

    turned = orientation.apply(array)

    assert turned.shape == (4, 2, 3, 2)
    assert turned[0, 1, 2, 1] == array[1, 2, 3, 1]
    np.testing.assert_array_equal(orientation.undo(turned), array)


def test_identity_orientation():
    assert Grid(SHAPE, np.eye(4)).orientation("RAS").is_identity
    assert not Grid(SHAPE, np.eye(4)).orientation("LAS").is_identity


def test_a_tie_does_not_depend_on_rounding():
    affine = np.eye(4)
    affine[:3, :3] = rotation(45, 2)
    nudged = affine.copy()
    nudged[0, 0] = np.nextafter(affine[0, 0], 0)

    assert Grid(SHAPE, affine).axis_codes == Grid(SHAPE, nudged).axis_codes


@pytest.mark.parametrize("codes", ["", "RA", "RRS", "RLS", "RASS", "ras", "XYZ"])
def test_wrong_axis_codes(codes):
    with pytest.raises(SettingsError, match=repr(codes)):
        Grid(SHAPE, np.eye(4)).orientation(codes)


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("1:2,0:3,2:4", (1, 0, 2), (2, 3, 4)),
        (":,:,:", (0, 0, 0), (2, 3, 4)),
        ("1:,:2,:", (1, 0, 0), (2, 2, 4)),
        (" :1, 0:1 ,3: ", (0, 0, 3), (1, 1, 4)),
    ],
)
def test_region_from_text(text, start, stop):
    region = Region.parse(text, SHAPE)

    assert region == Region(start, stop)
    assert Region.parse(str(region), SHAPE) == region


@pytest.mark.parametrize(
    "text",
    [
        *("", "1:2", "0:1,0:1", "0:1,0:1,0:1,0:1", "1,1,1", "a:b,:,:", "0:1:2,:,:"),
        *("-1:2,:,:", "0.5:1,:,:", "1:1,:,:", "2:1,:,:", "0:3,:,:", "2:,:,:"),
    ],
)
def test_region_text_refused(text):
    with pytest.raises(SettingsError) as error:
        Region.parse(text, SHAPE)

    assert repr(text) in str(error.value)
    assert "2x3x4" in str(error.value)


def test_region_takes_its_box_out_of_an_array():
    array = np.arange(24).reshape(SHAPE)
    region = Region((1, 0, 2), (2, 2, 4))

    assert region.shape == (1, 2, 2)
    np.testing.assert_array_equal(array[region.slices], [[[14, 15], [18, 19]]])
    assert array[Region.whole(SHAPE).slices].shape == SHAPE


def test_region_clipped():
    assert Region((-1, 1, 0), (9, 2, 4)).clipped(SHAPE) == Region((0, 1, 0), (2, 2, 4))
    with pytest.raises(SettingsError, match="outside"):
        Region((2, 0, 0), (3, 1, 1)).clipped(SHAPE)


def test_region_without_voxels():
    with pytest.raises(SettingsError, match="3:3"):
        Region((0, 3, 0), (1, 3, 1))


def test_crop_keeps_voxels_where_they_are():
    grid = Grid(SHAPE, turned_affine((1, 2, 0), (1, -1, 1), 20))

    cropped = grid.cropped(Region((1, 0, 2), (2, 3, 4)))

    assert cropped.shape == (1, 3, 2)
    np.testing.assert_allclose(cropped.affine @ (0, 0, 0, 1), grid.affine @ (1, 0, 2, 1))
    np.testing.assert_allclose(cropped.affine @ (0, 2, 1, 1), grid.affine @ (1, 2, 3, 1))
    with pytest.raises(GridError, match="outside"):
        grid.cropped(Region((0, 0, 0), (3, 3, 4)))


@pytest.mark.parametrize(
    ("size", "spacing", "wanted", "new_size", "new_spacing"),
    [
        (4, 1.0, 2.0, 2, 2.0),
        (4, 1.0, 0.5, 8, 0.5),
        (5, 1.0, 2.0, 3, 5 / 3),  # 2.5 voxels: half a voxel rounds up
        (7, 1.0, 2.1, 3, 7 / 3),  # 3.33 voxels
        (3, 1.0, 10.0, 1, 3.0),  # never none
        (4, 2.5, 2.5, 4, 2.5),
    ],
)
def test_resampled_covers_the_same_field_of_view(size, spacing, wanted, new_size, new_spacing):
    affine = np.diag([spacing, 1, 1, 1])
    affine[0, 3] = 7.0
    resampled = Grid((size, 2, 2), affine).resampled((wanted, 1, 1))

    assert resampled.shape == (new_size, 2, 2)
    assert resampled.spacing == pytest.approx((new_spacing, 1, 1))
    first_edge = resampled.affine @ (-0.5, 0, 0, 1)
    last_edge = resampled.affine @ (new_size - 0.5, 0, 0, 1)
    assert first_edge[0] == pytest.approx(7 - spacing / 2)
    assert last_edge[0] == pytest.approx(7 + (size - 0.5) * spacing)


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan), (1, 1)])
def test_wrong_spacing(spacing):
    with pytest.raises(SettingsError, match="spacing"):
        Grid(SHAPE, np.eye(4)).resampled(spacing)


def test_lengths():
    grid = Grid((35, 51, 36), turned_affine((0, 1, 2), (1, 1, 1), 20))

    assert grid.spacing == pytest.approx((1, 2, 3))
    assert grid.extent_mm == pytest.approx((35, 102, 108))
    assert grid.describe() == "35x51x36, 1x2x3 mm, RAS"


def test_equality_is_exact_and_likeness_is_not():
    grid = Grid(SHAPE, np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 5e-4
    negative_zero = np.eye(4)
    negative_zero[0, 1] = -0.0

    assert grid == Grid(SHAPE, negative_zero)
    assert hash(grid) == hash(Grid(SHAPE, negative_zero))
    assert grid != Grid(SHAPE, moved)
    assert grid.same_as(Grid(SHAPE, moved))
    assert not grid.same_as(Grid(SHAPE, moved), tolerance_mm=1e-4)
    assert not grid.same_as(Grid((2, 3, 5), np.eye(4)))
    assert grid != "RAS"


def test_likeness_is_judged_at_the_corners():
    stretched = np.diag([1 + 1e-5, 1, 1, 1])  # a hair a voxel, 2 µm at the far end

    assert Grid((101, 2, 2), np.eye(4)).same_as(Grid((101, 2, 2), stretched), tolerance_mm=1.01e-3)
    assert not Grid((301, 2, 2), np.eye(4)).same_as(Grid((301, 2, 2), stretched))


def test_affine_is_a_private_copy():
    affine = np.eye(4)
    grid = Grid(SHAPE, affine)
    affine[0, 3] = 1

    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 1


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        (SHAPE, np.eye(3), "4x4"),
        (SHAPE, np.diag([1, 1, 1, 2]), "last row"),
        (SHAPE, np.diag([1, 1, 0, 1]), "singular"),
        (SHAPE, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "singular"),
        (SHAPE, np.diag([1, np.nan, 1, 1]), "not finite"),
        (SHAPE, np.diag([1, np.inf, 1, 1]), "not finite"),
        ((2, 3), np.eye(4), r"\(2, 3\)"),
        ((2, 0, 4), np.eye(4), r"\(2, 0, 4\)"),
    ],
)
def test_impossible_grids(shape, affine, message):
    with pytest.raises(GridError, match=message):
        Grid(shape, np.asarray(affine, dtype=float))


def test_tiny_voxels_are_no_singular_affine():
    assert Grid(SHAPE, np.diag([2e-4, 2e-4, 5e-4, 1])).spacing == pytest.approx((2e-4, 2e-4, 5e-4))


def test_difference_says_what_differs_even_where_the_description_does_not():
    grid = Grid((4, 5, 6), np.eye(4))
    coarser = Grid((4, 5, 6), np.diag([2, 1, 1, 1]))
    moved = np.eye(4)
    moved[0, 3] = 7
    assert grid.difference(coarser) == "4x5x6, 1x1x1 mm, RAS against 4x5x6, 2x1x1 mm, RAS"
    assert "1 0 0 7" in grid.difference(Grid((4, 5, 6), moved))


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("by", [1e-2, 1e-6, 1e-12])
def test_two_grids_that_differ_never_read_alike(row, by):
    affine = np.diag([1.0, 1, 2, 1])
    affine[:3, 3] = -123, 215.311, 271.36
    for column in (row, 3):  # spacing, and place
        other = affine.copy()
        other[row, column] += by
        first, second = Grid((4, 5, 6), affine), Grid((4, 5, 6), other)
        one, two = first.difference(second).split(" against ")
        assert one != two
