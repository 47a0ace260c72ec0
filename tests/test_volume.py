"""Volumes and the integers labels are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_asmlp.errors import VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume, write_volume
from napari_asmlp.volume import Volume, as_labels, smallest_unsigned

GRID = Grid((2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.mark.parametrize(
    ("highest", "dtype"),
    [
        (0, "uint8"),
        (255, "uint8"),
        (256, "uint16"),
        (65535, "uint16"),
        (65536, "uint32"),
        (4294967295, "uint32"),
    ],
)
def test_smallest_unsigned(highest, dtype):
    assert smallest_unsigned(highest) == dtype
    assert smallest_unsigned(np.array([0, highest])) == dtype


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "-1 is negative"),
        (4294967296, "4294967296 is too large"),
        (0.5, r"0\.5 is no label"),
        (np.nan, "nan is no label"),
        (np.inf, "inf is no label"),
        (1e30, "is too large"),
        (1j, "complex128"),
    ],
)
def test_values_that_are_no_labels(value, message):
    with pytest.raises(VolumeError, match=f"mask.nii: .*{message}"):
        as_labels(np.array([0, value]), "mask.nii")


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float32", ">i2", "float64"])
def test_labels_of_any_dtype(dtype):
    labels = as_labels(np.array([0, 1, 1], dtype=dtype), "mask.nii")

    assert labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 1]


def test_volume_of_one_and_of_several_channels():
    assert Volume(np.zeros((2, 3, 4)), GRID).channels == 1
    assert Volume(np.zeros((2, 3, 4, 5)), GRID).channels == 5


def test_name():
    assert Volume(np.zeros((2, 3, 4)), GRID).name == "volume"
    assert Volume(np.zeros((2, 3, 4)), GRID, path=Path("a/scan.nii.gz")).name == "scan.nii.gz"


@pytest.mark.parametrize("shape", [(2, 3), (4, 3, 2), (2, 3, 4, 1, 1)])
def test_voxels_that_do_not_fit_the_grid(shape):
    with pytest.raises(VolumeError, match="do not fit"):
        Volume(np.zeros(shape), GRID)


@pytest.mark.parametrize(("shape", "dtype"), [((2, 3, 4), "float32"), ((2, 3, 4, 2), "uint8")])
def test_labels_are_3d_whole_numbers(shape, dtype):
    with pytest.raises(VolumeError, match="labels are 3D whole numbers"):
        Volume(np.zeros(shape, dtype), GRID, kind="labels")


def test_labels_stay_with_the_source():
    source = Volume(np.zeros((2, 3, 4, 2)), GRID, path=Path("scan.nii"), header="its header")
    array = np.full((2, 3, 4), 300)

    labels = source.with_labels(array, {300: "amygdala"})

    assert labels.kind == "labels"
    assert labels.grid is source.grid
    assert (labels.path, labels.header) == (source.path, source.header)
    assert labels.array().dtype == np.uint16
    assert labels.label_names == {300: "amygdala"}
    with pytest.raises(VolumeError, match="do not fit"):
        source.with_labels(array[:1])
    with pytest.raises(VolumeError, match=r"labels of scan\.nii: label -1"):
        source.with_labels(array - 301)


DTYPES = [
    *("bool", "int8", "uint8", "float16", "float32", "float64", "longdouble"),
    *(order + kind + size for order in "<>" for kind in "iu" for size in "248"),
    *(order + "f" + size for order in "<>" for size in "248"),
]


def _strided(array):
    wide = np.zeros((4, 6, 8), array.dtype)
    wide[::2, ::2, ::2] = array
    return wide[::2, ::2, ::2]


def _mapped(array, folder):
    path = folder / "array.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["plain", "fortran", "strided", "reversed", "mapped", "dask"])
@pytest.mark.parametrize("suffix", [".nii", ".mgz"])
def test_any_array_becomes_labels_and_images_in_files(tmp_path, dtype, form, suffix):
    drawn = np.arange(24).reshape(GRID.shape) % (2 if dtype == "bool" else 3)
    array = drawn.astype(dtype)
    given = {
        "plain": lambda: array,
        "fortran": lambda: np.asfortranarray(array),
        "strided": lambda: _strided(array),
        "reversed": lambda: array[::-1, :, ::-1][::-1, :, ::-1],
        "mapped": lambda: _mapped(array, tmp_path),
        "dask": lambda: pytest.importorskip("dask.array").from_array(array, chunks=2),
    }[form]()
    image = Volume(given, GRID)
    assert image.array().dtype.isnative
    np.testing.assert_array_equal(image.array(), drawn)
    labels = image.with_labels(given)
    assert labels.array().dtype == np.uint8
    for number, volume in enumerate((labels, image)):
        path = write_volume(volume, tmp_path / f"{number}{suffix}")
        again = read_volume(path, kind="labels")
        np.testing.assert_array_equal(again.array(), drawn)
