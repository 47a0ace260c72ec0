"""What a data set's own statistics say."""

import json

import nibabel
import numpy as np
import pytest

from napari_asmlp.grid import Grid
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.training.dataset import read_dataset
from napari_asmlp.training.fingerprint import crop_shape, fixed_intensities, target_spacing
from napari_asmlp.training.recipe import Recipe
from tests.blobs import write_dataset


def grids(*spacings, shape=(10, 10, 10)):
    return [Grid(shape, np.diag([*spacing, 1.0])) for spacing in spacings]


def test_the_spacing_is_the_median():
    found = target_spacing(grids((1, 1, 2), (2, 1, 2), (3, 1, 4)), "RAS")
    assert found == (2.0, 1.0, 2.0)


def test_voxels_may_be_of_nanometres():
    assert target_spacing(grids((4e-6, 4e-6, 4e-5)), "RAS") == (4e-6, 4e-6, 4e-5)


def test_spacings_are_those_of_the_model_axes():
    lsa = Grid((4, 5, 6), np.array([[-2.0, 0, 0, 0], [0, 0, 3, 0], [0, 4, 0, 0], [0, 0, 0, 1]]))
    assert target_spacing([lsa], "RAS") == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("coarse", "expected"),
    [
        ((2.0, 3.0, 3.0), 3.0),  # not over three times the others: the median
        ((2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0), 4.0),  # the 10th percentile
        ((0.4, 0.4, 5.0, 5.0, 5.0), 1.0),  # never finer than the other axes
    ],
)
def test_a_coarse_axis_is_taken_finer(coarse, expected):
    found = target_spacing(grids(*((1.0, 1.0, mm) for mm in coarse)), "RAS")
    assert found == (1.0, 1.0, expected)


def test_the_crop_is_the_median_extent_in_whole_tokens():
    some = [Grid(shape, np.eye(4)) for shape in ((30, 50, 33), (35, 51, 33), (400, 300, 34))]
    assert crop_shape(some, Recipe()) == (40, 56, 40)
    large = [Grid((400, 60, 400), np.eye(4))]
    assert crop_shape(large, Recipe(memory_gib=1000.0)) == (128, 64, 128)


def test_memory_bounds_the_crop():
    """400 bytes a voxel and channel, 10 channels, one crop: 1 GiB is 268,435 voxels."""
    config = AsmlpConfig(widths=(10, 20), encoder_blocks=(1, 1), decoder_blocks=(1,))
    recipe = Recipe(network=config, batch_size=1, memory_gib=1.0)
    x, y, z = crop_shape([Grid((100, 200, 20), np.eye(4))], recipe)
    assert (x, y, z) == (100, 128, 20)
    x, y, z = crop_shape([Grid((100, 200, 40), np.eye(4))], recipe)
    assert z == 40 and abs(x - y) <= 2
    assert x * y * z <= 268_435 < (x + 2) * (y + 2) * z


def ct_dataset(folder, outside=None):
    """Labelled voxels of the first case are 0 ... 999 HU, of the second all 500.

    A tenth of the voxels, among them labelled ones, are `outside` the field of view.
    """
    write_dataset(folder, count=2)
    index = folder / "dataset.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"modality": {"0": "CT"}}))
    for n, values in enumerate((np.arange(1000.0), np.full(1000, 500.0))):
        labels = np.zeros((20, 20, 10), np.uint8)
        labels[:10, :10] = 1
        image = np.full(labels.shape, -1000.0, np.float32)
        image[labels > 0] = values
        if outside is not None:
            labels[10:12] = 1
            image[10:12] = outside
        name = f"ball_{n}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / name)
        nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / "labelsTr" / name)
    return read_dataset(folder)


def test_ct_has_one_scaling_from_the_labelled_voxels(tmp_path):
    dataset = ct_dataset(tmp_path / "ct")
    (found,) = fixed_intensities(dataset.cases, dataset.channel_names)
    values = np.concatenate([np.arange(1000.0), np.full(1000, 500.0)])
    low, high = np.percentile(values, (0.5, 99.5))
    assert (found.low, found.high) == pytest.approx((low, high))
    clipped = values.clip(low, high)
    assert (found.mean, found.deviation) == pytest.approx((clipped.mean(), clipped.std()), rel=1e-5)


def test_a_fill_value_does_not_count(tmp_path):
    plain, filled = ct_dataset(tmp_path / "plain"), ct_dataset(tmp_path / "filled", -9999)
    found = [fixed_intensities(one.cases, one.channel_names) for one in (plain, filled)]
    assert found[0] == found[1]


@pytest.mark.parametrize("names", [(), ("MRI",), ("CTA",)])
def test_others_are_scaled_volume_by_volume(tmp_path, names):
    dataset = ct_dataset(tmp_path / "ct")
    assert fixed_intensities(dataset.cases, names) == ()
