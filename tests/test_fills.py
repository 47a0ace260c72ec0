"""Fill values: what counts as one, and what becomes of it."""

import numpy as np
import pytest

from napari_asmlp.grid import Grid
from napari_asmlp.model import Preprocessing
from napari_asmlp.preprocess import ModelImage, place, to_model_grid
from napari_asmlp.preprocess import to_model as module
from napari_asmlp.preprocess.fills import cleaner_of
from napari_asmlp.preprocess.intensities import lowest_finite
from napari_asmlp.volume import Volume

CLIP = (0.5, 99.5)
SHAPE = (10, 10, 20)  # 100 voxels a plane, 2000 in all


def anatomy(low=40, high=160):
    """Return whole numbers from low to high, each of them many times."""
    values = np.linspace(low, high, np.prod(SHAPE)).round()
    return np.random.default_rng(0).permutation(values).reshape(SHAPE).astype(np.int32)


def planes(count, value, **ordinary):
    array = anatomy(**ordinary)
    array[:, :, :count] = value
    return array


def both_ends(low, high):
    array = planes(3, low)
    array[:, :, -1] = high
    return array


def with_hot_voxel(value):
    array = planes(3, -3024)
    array[5, 5, 10] = value
    return array


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (anatomy(), {}),
        (planes(3, -3024), {-3024: 0.15}),
        (planes(1, 32767), {32767: 0.05}),
        (both_ends(-3024, 32767), {-3024: 0.15, 32767: 0.05}),
        (both_ends(-30000, 30000), {-30000: 0.15, 30000: 0.05}),
        (with_hot_voxel(20000), {-3024: 0.15}),
        (planes(3, -3024, low=-1000, high=400), {-3024: 0.15}),  # CT outside its field of view
        (planes(3, -1024, low=-1000, high=400), {}),  # air in a CT
        (planes(3, -50), {}),  # the gap of 90 is within the range of the others, 120
        (planes(10, 0, low=960, high=1040), {}),  # padding, or a mask
        (planes(9, 0, low=960, high=1040), {}),
        (planes(4, 255, low=30, high=254), {}),  # saturated
        (planes(12, -3024), {}),  # most voxels: background
        (np.full(SHAPE, -3024), {}),
        (np.where(anatomy() > 100, -3024, 5), {}),  # two constants
        (anatomy() > 100, {}),  # a mask
    ],
)
@pytest.mark.parametrize("dtype", ["int16", "int32", ">i2", "float32", "float64"])
def test_which_constants_are_fill_values(array, expected, dtype):
    array = array if array.dtype == bool else array.astype(dtype)
    found = {fill.value: fill.share for fill in cleaner_of(array, CLIP).fills}
    assert found == pytest.approx(expected)


def test_a_rare_value_is_left_to_the_percentiles():
    array = anatomy()
    array[0, 0, 0] = -3024  # 1 of 2000
    assert not cleaner_of(array, CLIP).fills
    array[0, 0, 1] = -3024  # 2 of 2000
    assert [fill.share for fill in cleaner_of(array, CLIP).fills] == [1 / 1000]


def test_values_change_only_where_they_are_fill_values():
    array = both_ends(-3024, 32767)
    cleaned, left_out = cleaner_of(array, CLIP).clean(array)
    ordinary = (array > -3024) & (array < 32767)
    np.testing.assert_array_equal(left_out, ~ordinary)
    np.testing.assert_array_equal(cleaned[ordinary], array[ordinary])
    assert set(cleaned[array == -3024]) == {array[ordinary].min()}
    assert set(cleaned[array == 32767]) == {array[ordinary].max()}


def on_model_grid(array, spacing=None, affine=None):
    volume = Volume(array, Grid(array.shape, np.eye(4) if affine is None else affine))
    recipe = Preprocessing(spacing=spacing)
    return to_model_grid(volume, place(volume.grid, recipe), recipe)[0]


@pytest.mark.parametrize("value", [-3024, 32767])
def test_anatomy_is_scaled_as_if_it_were_alone(value):
    array = planes(3, value)
    found, alone = on_model_grid(array), on_model_grid(array[:, :, 3:])
    np.testing.assert_array_equal(found[:, :, 3:], alone)
    assert set(found[:, :, :3].ravel()) == {alone.min() if value < 0 else alone.max()}


@pytest.mark.parametrize(("value", "beside"), [(-3024, 0), (32767, 1)])
def test_interpolation_does_not_smear_a_fill_value(value, beside):
    array = planes(3, value)
    ends = array[:, :, 3:].min(), array[:, :, 3:].max()
    volume = Volume(array, Grid(SHAPE, np.eye(4)))
    finer = Preprocessing(spacing=(0.7, 1, 0.8), clip=None, normalisation="none")
    image = to_model_grid(volume, place(volume.grid, finer), finer)[0]
    assert ends[0] <= image.min() < image.max() <= ends[1]
    assert set(image[:, :, :3].ravel()) == {ends[beside]}


@pytest.mark.parametrize("spacing", [None, (1.5, 1.2, 0.7)])
@pytest.mark.parametrize("flip", [1, -1])
def test_streamed_and_turned_volumes_are_the_same(spacing, flip, monkeypatch):
    array = both_ends(-3024, 32767)
    whole = on_model_grid(array, spacing)
    monkeypatch.setattr(module, "_SLAB_VOXELS", 250)
    affine = np.diag([1.0, 1, flip, 1])
    np.testing.assert_array_equal(on_model_grid(array[:, :, ::flip], spacing, affine), whole)


def test_each_channel_has_its_own_and_shares_are_of_the_region():
    array = np.stack([anatomy(), planes(3, -3024)], axis=-1)
    volume = Volume(array, Grid(SHAPE, np.eye(4)))
    image = ModelImage(volume, place(volume.grid, Preprocessing()), Preprocessing())
    list(image.survey())
    (fill,) = image.fills
    assert (fill.channel, fill.value, fill.share) == (1, -3024, 0.15)
    assert fill.describe().startswith("15 % of the voxels are -3024, far from all others")


def test_nan_beside_a_fill_value_becomes_the_lowest_ordinary_value():
    array = planes(3, -3024).astype(np.float32)
    array[0, 0, 5] = np.nan
    found = on_model_grid(array)
    assert found[0, 0, 5] == found.min() == found[0, 0, 0]


@pytest.mark.parametrize(
    "dtype",
    ["bool", *"bBhHiIlLqQ", ">i2", ">u4", "float16", "float32", ">f4", "float64"],
)
def test_lowest_value_of_all_dtypes(dtype):
    assert lowest_finite(np.array([1, 1, 1], dtype)) == 1
    assert lowest_finite(np.array([], dtype)) is None
    if np.dtype(dtype).kind == "f":
        assert lowest_finite(np.array([np.nan, 2, -np.inf], dtype)) == 2
        assert lowest_finite(np.array([np.nan], dtype)) is None
