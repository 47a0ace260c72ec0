"""Channels in files of their own: which belong together, and what they are as one image."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import GridError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume, write_labels
from napari_asmlp.io.channels import beside, cases_of, joined, read_case, read_channels
from napari_asmlp.io.planes import each_plane, open_planes
from napari_asmlp.volume import Volume
from tests.dtypes import FLOATS, INTEGERS, SWAPPED

SHAPE = (3, 4, 5)


def voxels(seed, dtype=np.int16):
    return np.random.default_rng(seed).integers(0, 2, SHAPE).astype(dtype)


def save(path, seed, dtype=np.int16, affine=None):
    nibabel.save(nibabel.Nifti1Image(voxels(seed, dtype), affine), path)
    return path


@pytest.fixture
def pair(tmp_path):
    """Two channels of one case, of different dtypes."""
    first = save(tmp_path / "a_0000.nii.gz", 0, affine=np.diag([1, 2, 3, 1]))
    return [first, save(tmp_path / "a_0001.nii.gz", 1, np.float32, np.diag([1, 2, 3, 1]))]


def test_channels_are_one_image_that_stays_in_its_files(pair):
    image = read_channels(pair)
    whole = np.stack([voxels(0), voxels(1)], axis=-1)
    assert (image.channels, image.data.dtype, image.files) == (2, np.float32, tuple(pair))
    np.testing.assert_array_equal(image.array(), whole)
    part = (slice(1, 3), slice(None), slice(2, 4))
    for key in (part, part[0], (*part, 1), (..., 0)):
        np.testing.assert_array_equal(image.data[key], whole[key])
    planes = np.concatenate(list(each_plane(image.data)), axis=2)  # of one channel, then the other
    np.testing.assert_array_equal(planes[..., 5:], whole[..., 1])
    with closing(open_planes(image.data, first=1)) as some:
        np.testing.assert_array_equal(some.read(2), whole[:, :, 1:3])
        np.testing.assert_array_equal(some.read(1), whole[:, :, 3:4])
        some.check_rest()


@pytest.mark.parametrize("dtype", ["?", *INTEGERS, *FLOATS, *SWAPPED])
def test_channels_of_any_dtype(dtype):
    grid = Grid(SHAPE, np.eye(4))
    arrays = [voxels(0, dtype), voxels(1, np.uint8)]
    image = joined([Volume(array, grid) for array in arrays])
    np.testing.assert_array_equal(image.array(), np.stack(arrays, axis=-1))
    assert image.data.dtype == np.result_type(*arrays)


def test_none_of_its_files_is_written_over(pair):
    labels = read_channels(pair).with_labels(voxels(0))
    for path in pair:
        with pytest.raises(Exception, match=r"a_000\d.nii.gz: is the input"):
            write_labels(labels, path, overwrite=True)


def test_a_volume_of_all_channels_is_taken_as_it_is(tmp_path):
    content = np.zeros((*SHAPE, 2), np.uint8)
    nibabel.save(nibabel.Nifti1Image(content, np.eye(4)), tmp_path / "a_0000.nii")
    assert read_case("a", beside(tmp_path / "a_0000.nii"), 2).channels == 2


def test_what_does_not_go_together_is_named(pair, tmp_path):
    moved = save(tmp_path / "a_0002.nii.gz", 2, affine=np.diag([1, 2, 4, 1]))
    with pytest.raises(GridError, match=r"a_0002.nii.gz and .*a_0000.nii.gz are channels of one"):
        read_channels([*pair, moved])
    with pytest.raises(VolumeError, match="a_0003 of 4 channels of a is missing; add it"):
        read_case("a", beside(pair[0]), 4)
    with pytest.raises(VolumeError, match="a has 3 channels, 2 are taken"):
        read_case("a", beside(pair[0]), 2)
    several = joined([read_volume(path) for path in pair])
    with pytest.raises(VolumeError, match=r"holds 2 volumes, but is one channel of 2: choose one"):
        joined([several, several])


def test_files_of_cases(tmp_path):
    names = ["a_0000.nii.gz", "a_0001.nii", "b_0000.nii.gz", "plain.nii.gz", "ab_0000.nii"]
    for name in names:
        save(tmp_path / name, 0)
    (tmp_path / "a_0002.txt").touch()
    whole = {
        "a": ["a_0000.nii.gz", "a_0001.nii"],
        "b": ["b_0000.nii.gz"],
        "plain.nii.gz": ["plain.nii.gz"],
        "ab": ["ab_0000.nii"],
    }

    def found(*given: str) -> dict[str, list[str]]:
        cases = cases_of(tmp_path / name for name in given)
        return {case.name: [path.name for path in files] for case, files in cases.items()}

    assert found(*names) == whole
    assert found("a_0001.nii") == {"a": whole["a"]}
    gone = Path("nowhere/x_0000.nii")
    assert cases_of([gone]) == {Path("nowhere/x"): [gone]}
