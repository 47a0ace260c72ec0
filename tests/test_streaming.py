"""Planes that are read, converted and written a few at a time give what the whole gives."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import OutputError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.io import read_volume
from napari_asmlp.io.planes import each_plane, open_planes
from napari_asmlp.io.spool import Spool
from napari_asmlp.model import Preprocessing
from napari_asmlp.preprocess import ModelImage, place, to_model_grid
from napari_asmlp.preprocess.intensities import Survey
from napari_asmlp.volume import Volume

SLAB = "napari_asmlp.preprocess.to_model._SLAB_VOXELS"
TURNS = [  # affine columns: where i, j, k point
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    ((0, 0, 1), (-1, 0, 0), (0, -1, 0)),
]


def image(*shape, seed=0, dtype=np.int16):
    return (np.random.default_rng(seed).normal(size=shape) ** 3 * 100).astype(dtype)


def affine(columns):
    matrix = np.eye(4)
    matrix[:3, :3] = np.transpose(columns)
    return matrix


# Intensities


@pytest.mark.parametrize("clip", [(0.5, 99.5), (0, 100), (10, 60), (0, 1), (30, 70)])
@pytest.mark.parametrize("count", [2, 3, 101, 5000])
def test_percentiles_and_moments_are_those_of_numpy(clip, count):
    values = np.random.default_rng(count).normal(size=count) ** 5 + 7
    survey = Survey(count, Preprocessing(clip=clip))
    for part in np.array_split(values, min(count, 7)):
        survey.add(part)
    scaling = survey.scaling("")
    low, high = np.percentile(values, clip)
    assert scaling.clip == (low, high)
    clipped = values.clip(low, high)
    expected = (clipped - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(scaling.apply(values.copy()), expected, rtol=1e-7, atol=1e-8)


def test_the_order_of_values_does_not_matter_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=10_000) * 100
    scalings = set()
    for seed in range(5):
        survey = Survey(len(values), Preprocessing())
        for part in np.array_split(np.random.default_rng(seed).permutation(values), 3 + seed):
            survey.add(part)
        scalings.add(survey.scaling(""))
    assert len(scalings) == 1


def test_tails_stay_few():
    survey = Survey(100_000, Preprocessing(clip=(1, 99)))
    for seed in range(100):
        survey.add(np.random.default_rng(seed).normal(size=1000))
    assert len(survey._low) + len(survey._high) < 2010


# Source grid -> model grid


@pytest.mark.parametrize("spacing", [None, (0.7, 0.8, 0.9), (1.7, 2.2, 3.1), (0.6, 3.0, 1.0)])
@pytest.mark.parametrize("columns", TURNS)
def test_planes_are_those_of_the_whole_bit_for_bit(columns, spacing, monkeypatch):
    data, recipe = image(9, 10, 31), Preprocessing(spacing=spacing)
    volume = Volume(data, Grid(data.shape, affine(columns)))
    placement = place(volume.grid, recipe, Region((1, 0, 2), (9, 9, 30)))
    whole = to_model_grid(volume, placement, recipe)
    monkeypatch.setattr(SLAB, 200)
    np.testing.assert_array_equal(to_model_grid(volume, placement, recipe), whole)
    axis, planes = placement.slab_axis, range(whole.shape[1 + placement.slab_axis])
    streamed = ModelImage(volume, placement, recipe)
    assert max(streamed.survey()) < 1
    step = 4
    starts = planes[::step]
    for start in reversed(starts) if placement.slab_reversed else starts:
        part = planes[start : start + step]
        expected = np.take(whole, part, axis=1 + axis)
        np.testing.assert_array_equal(streamed.planes(part), expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_planes_of_files_are_those_of_arrays(tmp_path, suffix, channels, monkeypatch):
    monkeypatch.setattr(SLAB, 200)
    data = image(9, 10, 11, *channels)
    kind = nibabel.MGHImage if suffix == ".mgz" else nibabel.Nifti1Image
    nibabel.save(kind(data, np.eye(4, dtype=np.float32)), tmp_path / f"a{suffix}")
    stored, recipe = read_volume(tmp_path / f"a{suffix}"), Preprocessing(spacing=(1.3, 1, 1.5))
    placement = place(stored.grid, recipe)
    expected = to_model_grid(Volume(data, stored.grid), placement, recipe)
    np.testing.assert_array_equal(to_model_grid(stored, placement, recipe), expected)


@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
def test_what_is_not_finite_becomes_the_smallest_of_all_planes(spacing, monkeypatch):
    data, recipe = image(8, 8, 12, dtype=np.float32), Preprocessing(spacing=spacing)
    data[2, 3, 1], data[4, 4, 4] = np.nan, np.inf
    filled = np.where(np.isfinite(data), data, data[np.isfinite(data)].min())
    grid = Grid(data.shape, np.eye(4))
    placement = place(grid, recipe)
    monkeypatch.setattr(SLAB, 100)
    found = to_model_grid(Volume(data, grid), placement, recipe)
    np.testing.assert_array_equal(found, to_model_grid(Volume(filled, grid), placement, recipe))


def test_scaled_numbers_are_scaled_plane_by_plane(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.5, -3)
    values = image(4, 5, 6) * 0.5 - 3
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), header), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    planes = np.concatenate(list(each_plane(volume.data)), axis=2)
    np.testing.assert_array_equal(planes, volume.array())


# Files


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_planes_begin_anywhere(tmp_path, suffix):
    data = image(3, 4, 9, 2)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / f"a{suffix}")
    planes = open_planes(read_volume(tmp_path / f"a{suffix}").data, 4)
    np.testing.assert_array_equal(planes.read(2), data[:, :, 4:6])
    np.testing.assert_array_equal(planes.read(3), data[:, :, 6:9])
    planes.close()


def test_a_file_that_shrinks_is_named(tmp_path):
    nibabel.save(nibabel.Nifti1Image(image(30, 30, 30), np.eye(4)), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    with (tmp_path / "a.nii").open("r+b") as stream:
        stream.truncate(10_000)
    with pytest.raises(VolumeError, match=r"a\.nii: cannot be read .*ends too early"):
        list(each_plane(volume.data))


@pytest.mark.parametrize("channels", [(), (2,)])
def test_a_spool_is_0_where_nothing_was_written(tmp_path, channels):
    spool = Spool(tmp_path / "a.raw", (5, 6, 7, *channels), np.dtype(np.uint16))
    spool.make()
    part = image(2, 3, 4, *channels).astype(np.uint16)
    spool.write(Region((1, 2, 3), (3, 5, 7)), part)
    expected = np.zeros((5, 6, 7, *channels), np.uint16)
    expected[1:3, 2:5, 3:7] = part
    np.testing.assert_array_equal(np.asarray(spool.stored()), expected)


def test_a_spool_that_cannot_be_written_is_named(tmp_path):
    spool = Spool(tmp_path / "absent" / "a.raw", (5, 6, 7), np.dtype(np.uint8))
    with pytest.raises(OutputError, match=r"a\.raw: cannot be written"):
        spool.make()
