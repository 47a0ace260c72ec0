"""Resampling onto another grid, against nibabel and against what can be said beforehand."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from napari_asmlp import resample as module
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.resample import iter_resample, resample
from napari_asmlp.volume import Volume


def turned(degrees: float, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)) -> np.ndarray:
    """An affine turned about the first world axis."""
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= spacing
    affine[:3, 3] = origin
    return affine


def centres(grid: Grid) -> np.ndarray:
    """World position of each voxel, (i, j, k, 3)."""
    index = np.stack(np.indices(grid.shape), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def within(source: Grid, grid: Grid, margin: float = 0.0) -> np.ndarray:
    """Which voxels of `grid` lie between the outer voxel centres of `source`."""
    inverse = np.linalg.inv(source.affine)
    index = centres(grid) @ inverse[:3, :3].T + inverse[:3, 3]
    low, high = index - margin, np.array(source.shape) - 1 - margin - index
    return (low >= 0).all(axis=-1) & (high >= 0).all(axis=-1)


SOURCE = Grid((12, 14, 10), turned(20, (1.0, 1.5, 2.0), (-5, -10, -8)))
TARGET = Grid((9, 16, 13), turned(-15, (1.0, 0.9, 1.1), (-4, -9, -6)))


@pytest.fixture
def noise():
    values = np.random.default_rng(1).normal(100, 20, SOURCE.shape).astype(np.float32)
    return Volume(values, SOURCE)


def test_a_ramp_in_world_coordinates_stays_that_ramp():
    def ramp(grid):
        return centres(grid) @ (2.0, -3.0, 0.5) + 7

    out = resample(Volume(ramp(SOURCE), SOURCE), TARGET)
    inside = within(SOURCE, TARGET)
    assert inside.sum() > 300
    assert out.grid == TARGET
    np.testing.assert_allclose(out.array()[inside], ramp(TARGET)[inside], atol=1e-4)


@pytest.mark.parametrize(("interpolation", "order"), [("nearest", 0), ("linear", 1)])
def test_inside_it_agrees_with_nibabel(noise, interpolation, order):
    theirs = resample_from_to(
        nibabel.Nifti1Image(noise.array(), SOURCE.affine), (TARGET.shape, TARGET.affine), order
    )
    out = resample(noise, TARGET, interpolation)
    inside = within(SOURCE, TARGET)
    np.testing.assert_allclose(out.array()[inside], theirs.get_fdata()[inside], atol=1e-3)


def test_cubic_agrees_with_nibabel_far_from_the_border():
    grid = Grid((30, 30, 30), np.eye(4))
    other = Grid((8, 8, 8), turned(10, origin=(11, 12, 10)))
    values = np.random.default_rng(2).normal(0, 1, grid.shape)
    theirs = resample_from_to(nibabel.Nifti1Image(values, grid.affine), (other.shape, other.affine))
    out = resample(Volume(values, grid), other, "cubic")
    np.testing.assert_allclose(out.array(), theirs.get_fdata(), atol=1e-4)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_onto_its_own_grid_nothing_changes_up_to_the_border(noise, interpolation):
    out = resample(noise, SOURCE, interpolation)
    np.testing.assert_allclose(out.array(), noise.array(), rtol=1e-4)


@pytest.mark.parametrize("thickness", [1, 3])
def test_slabs_do_not_show(noise, monkeypatch, thickness):
    whole = resample(noise, TARGET).array()
    monkeypatch.setattr(module, "_SLAB_VOXELS", TARGET.shape[0] * TARGET.shape[1] * thickness)
    np.testing.assert_array_equal(resample(noise, TARGET).array(), whole)


def test_outside_is_the_smallest_value_of_an_image_and_background_of_labels():
    grid = Grid((3, 3, 3), np.eye(4))
    longer = Grid((7, 3, 3), turned(0, origin=(-2, 0, 0)))
    image = Volume(np.full(grid.shape, -5, np.int16), grid)
    image.array()[1, 1, 1] = 3
    assert resample(image, longer, "nearest").array()[:, 1, 1].tolist() == [-5] * 3 + [3] + [-5] * 3
    labels = Volume(np.full(grid.shape, 4, np.uint16), grid, "labels")
    out = resample(labels, longer, "cubic")
    assert out.array()[:, 1, 1].tolist() == [0, 0, 4, 4, 4, 0, 0]
    assert (out.kind, out.data.dtype) == ("labels", np.uint16)


def test_the_field_of_view_reaches_half_a_voxel_beyond_the_outer_centres():
    volume = Volume(np.array([1.0, 2.0]).repeat(4).reshape(2, 2, 2), Grid((2, 2, 2), np.eye(4)))
    fine = Grid((6, 2, 2), turned(0, (0.5, 1, 1), (-0.75, 0, 0)))  # at -0.75, -0.25 ... 1.75
    values = resample(volume, fine).array()[:, 0, 0]
    np.testing.assert_allclose(values, [1, 1, 1.25, 1.75, 2, 1])


def test_a_coarser_grid_averages_fine_structure_and_keeps_the_mean():
    stripes = np.zeros((64, 8, 8), np.float32)
    stripes[::2] = 1
    volume = Volume(stripes, Grid(stripes.shape, np.eye(4)))
    coarse = volume.grid.resampled((4, 1, 1))
    smooth = resample(volume, coarse).array()
    np.testing.assert_allclose(smooth[1:-1], 0.5, atol=0.06)
    assert np.ptp(resample(volume, Grid((16, 8, 8), turned(0, (4, 1, 1)))).array()[1:-1]) < 0.1
    # without smoothing, each fourth plane is one of the bright ones
    plain = resample(volume, Grid((16, 8, 8), turned(0, (4, 1, 1))), "nearest").array()
    assert (plain == 1).all()


def test_channels_are_resampled_one_by_one(noise):
    both = np.stack([noise.array(), 2 * noise.array()], axis=-1)
    out = resample(Volume(both, SOURCE), TARGET).array()
    np.testing.assert_array_equal(out[..., 0], resample(noise, TARGET).array())
    np.testing.assert_allclose(out[..., 1], 2 * out[..., 0], rtol=1e-6)


def test_voxels_without_a_number_count_as_the_smallest(noise):
    noise.array()[5, 5, 5] = np.nan
    noise.array()[5, 5, 6] = np.inf
    out = resample(noise, TARGET, "cubic").array()
    assert np.isfinite(out).all()
    assert out.min() > -100


def test_it_can_be_left_between_slabs(noise, monkeypatch):
    monkeypatch.setattr(module, "_SLAB_VOXELS", 1)
    steps = iter_resample(noise, TARGET)
    fractions = [next(steps) for _ in range(4)]
    assert fractions == pytest.approx([0, 1 / 13, 2 / 13, 3 / 13])
    steps.close()


def test_wrong_input_is_named(noise):
    with pytest.raises(SettingsError, match="'sinc': known are nearest, linear, cubic"):
        resample(noise, TARGET, "sinc")
    with pytest.raises(VolumeError, match="no voxel is finite"):
        resample(Volume(np.full(SOURCE.shape, np.nan), SOURCE, title="x"), TARGET)
