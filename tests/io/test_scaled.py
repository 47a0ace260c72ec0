"""Labels that a writer scaled, as nibabel does with a float array and an integer dtype."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.errors import VolumeError
from napari_asmlp.io import read_volume
from napari_asmlp.io.conversion import guess_kind

PLACES = np.array([0, 1, 2, 0, 1, 1, 2, 0] * 3).reshape(2, 3, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("values", [(0, 1, 2), (0, 1, 50), (0, 1035, 2035), (3, 4, 5)])
def test_labels_scaled_by_nibabel_are_those_that_were_meant(tmp_path, dtype, values):
    wide = (values[-1] - values[0]) / np.iinfo(dtype).max / 2 > 0.25
    drawn = np.array(values)[PLACES]
    image = nib.Nifti1Image(drawn.astype(float), np.eye(4))
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "a.nii.gz")
    if wide:
        with pytest.raises(VolumeError, match="scl_slope"):
            read_volume(tmp_path / "a.nii.gz", kind="labels")
        return
    labels = read_volume(tmp_path / "a.nii.gz", kind="labels")
    np.testing.assert_array_equal(labels.array(), drawn)
    assert labels.array().dtype == np.min_scalar_type(values[-1])
    stored = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)
    exact = np.allclose(stored, drawn, rtol=1e-6, atol=1e-6)  # but for the slope's own rounding
    assert ["scl_slope" in note for note in labels.notes] == ([] if exact else [True])
    assert guess_kind(read_volume(tmp_path / "a.nii.gz")) == "labels"


@pytest.mark.parametrize("array", [np.linspace(0, 1, 24), np.linspace(0, 2000, 24) + 0.4])
def test_an_image_is_refused_by_its_slope_and_an_honest_number(tmp_path, array):
    image = nib.Nifti1Image(array.reshape(2, 3, 4), np.eye(4))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(VolumeError, match="scl_slope") as caught:
        read_volume(tmp_path / "a.nii", kind="labels")
    shown = re.search(r"nii: (\S+) is no label", str(caught.value))
    assert shown and not float(shown[1]).is_integer()
    assert guess_kind(read_volume(tmp_path / "a.nii")) == "image"
