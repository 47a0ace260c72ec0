"""How volumes and objects become the input of a classifier, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from napari_asmlp.card import ClassifierInput, Measurement
from napari_asmlp.errors import AsmlpError, GridError, SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.preprocess.classifier import ObjectInputs, in_patches, volume_input
from napari_asmlp.preprocess.framing import make_frame
from napari_asmlp.preprocess.objects import (
    intensity_measurements,
    object_boxes,
    shape_measurements,
    thickness_measurements,
)
from napari_asmlp.volume import Volume

SIZE = (4, 4, 4)
NETWORK = MixerConfig(input_size=SIZE, patch_size=2)
PLAIN = ClassifierInput(clip=None, normalisation="none")
SHAPE = ClassifierInput(what="mask", clip=None)
OBJECT = ClassifierInput(what="object", clip=None)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def upright(shape, *spacing):
    return Grid(shape, np.diag([*(spacing or (1, 1, 1)), 1.0]))


def volume(array, **changes):
    return Volume(array, upright(array.shape[:3]), **{"title": "scan"} | changes)


def labels(array, **changes):
    return volume(array, kind="labels", title="cells", **changes)


def test_an_input_on_the_grid_of_the_volume_is_the_volume():
    array = noise((4, 4, 4))
    seen = volume_input(volume(array), replace(PLAIN, spacing=(1, 1, 1)), NETWORK)
    np.testing.assert_allclose(seen.array, array[np.newaxis], atol=1e-6)
    np.testing.assert_allclose(seen.frame.back(seen.array[0]), array, atol=1e-6)


def test_twice_as_coarse_weighs_one_three_three_one():
    array = np.zeros((8, 1, 1), np.float32)
    array[3] = 8
    frame = make_frame(
        upright(array.shape), Region.whole(array.shape), (4, 1, 1), spacing=(2, 1, 1)
    )
    # voxels of the input lie at 0.5, 2.5, 4.5 and 6.5; that at 2.5 sees 1, 2, 3, 4
    np.testing.assert_allclose(frame.forth(array).ravel(), [0, 3, 1, 0])


def test_a_voxel_as_long_as_millions_of_the_volume_costs_no_more():
    # of steps over 10^10 voxels, as a wrong unit makes them, no list can be made
    grid = upright((2, 2, 2), 1e-4, 1e-4, 1e-4)
    frame = make_frame(grid, Region.whole(grid.shape), (1, 1, 1), spacing=(1e6, 1e6, 1e6))
    # triangular weights over 2 x 10^10 voxels of 10^10 a side: each is 1 in 10^10 along an axis
    np.testing.assert_allclose(frame.forth(np.ones((2, 2, 2))), 8e-30, rtol=1e-5)


def test_what_lies_beyond_the_volume_fades_into_the_value_outside():
    array = np.full((2, 2, 2), 5, np.float32)
    frame = make_frame(upright(array.shape), Region.whole(array.shape), SIZE, spacing=(1, 1, 1))
    np.testing.assert_allclose(frame.forth(array, 1.0)[:, 1, 1], [1, 5, 5, 1])


def test_a_box_is_scaled_in_its_proportions_in_mm():
    grid = upright((20, 20, 20), 1, 2, 1)
    frame = make_frame(grid, Region((0, 0, 0), (8, 2, 4)), SIZE)
    # 8 x 4 x 4 mm into 4 voxels a side: 2 mm each, which is 2, 1 and 2 voxels of the volume
    assert frame.steps == (2, 1, 2)
    assert make_frame(grid, Region((0, 0, 0), (8, 2, 4)), SIZE, margin=0.25).steps == (3, 1.5, 3)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "IPL", "ALS"])
def test_the_orientation_of_the_file_does_not_matter(codes):
    array = noise((7, 6, 9))
    grid = upright(array.shape, 1, 1.5, 0.5)
    turn = grid.orientation(codes)
    turned = Volume(turn.apply(array), grid.reoriented(turn))
    recipe = replace(PLAIN, margin=0.2)
    one = volume_input(Volume(array, grid), recipe, NETWORK)
    other = volume_input(turned, recipe, NETWORK)
    np.testing.assert_allclose(other.array, one.array, atol=1e-5)
    back = other.frame.back(one.array[0])
    np.testing.assert_allclose(turn.undo(back), one.frame.back(one.array[0]), atol=1e-5)


def test_without_axis_codes_the_axes_of_the_file_stay():
    array = noise((4, 4, 4))
    grid = Grid(array.shape, np.array([[0, -1, 0, 3], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]))
    seen = volume_input(Volume(array, grid), replace(PLAIN, axis_codes=None), NETWORK)
    np.testing.assert_allclose(seen.array[0], array, atol=1e-6)


def test_a_region_is_seen_as_if_it_were_the_volume():
    array = noise((9, 9, 9))
    region = Region((2, 3, 1), (7, 8, 6))
    recipe = ClassifierInput()
    seen = volume_input(volume(array), recipe, NETWORK, region)
    alone = volume_input(volume(array[region.slices]), recipe, NETWORK)
    np.testing.assert_array_equal(seen.array, alone.array)
    assert seen.frame.region == region


def test_nan_is_the_lowest_value():
    array = noise((4, 4, 4))
    broken = array.copy()
    broken[1, 2, 3] = np.nan
    array[1, 2, 3] = np.nanmin(broken)
    recipe = ClassifierInput()
    one, other = (volume_input(volume(a), recipe, NETWORK).array for a in (array, broken))
    np.testing.assert_array_equal(one, other)


def test_a_fill_value_hides_no_contrast():
    array, recipe = noise((4, 4, 4)), ClassifierInput(spacing=(1, 1, 1))
    filled = array.copy()
    filled[0] = -3024
    one, other = (volume_input(volume(a), recipe, NETWORK).array for a in (array[1:], filled))
    np.testing.assert_allclose(other[0, 1:].std(), 1, atol=0.01)
    assert other[0, 0].max() == other.min() > one.min() - 0.1


def test_a_fill_value_within_an_object_is_left_out():
    objects, image = two_objects(), noise((10, 10, 10))
    recipe = replace(OBJECT, clip=(0.5, 99.5), spacing=(1, 1, 1))
    filled, shorter = image.copy(), objects.copy()
    filled[2:4], shorter[2:4] = -3024, 0  # half of object 3
    both = ObjectInputs(labels(objects), volume(filled), recipe, NETWORK).seen(7)
    kept = ObjectInputs(labels(shorter), volume(image), recipe, NETWORK).seen(7)
    assert both.array[0].std() > 0.1
    np.testing.assert_array_equal(both.array, kept.array)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 2), (3, 3, 3)])
def test_volumes_smaller_than_a_patch_are_seen(shape):
    seen = volume_input(volume(noise(shape)), PLAIN, NETWORK)
    assert seen.array.shape == (1, *SIZE)
    assert np.isfinite(seen.array).all()


def test_a_shape_is_centred_and_fills_the_input():
    array = np.zeros((10, 9, 12), np.uint8)
    array[5:9, 1:5, 6:10] = 255
    seen = volume_input(volume(array), replace(SHAPE, thickness=True), NETWORK)
    np.testing.assert_array_equal(seen.array[0], 1)
    # distance to the outside, in voxels of the input: 1 at the border of the shape, 2 within
    np.testing.assert_array_equal(seen.array[1, 1:3, 1:3, 1:3], 2)
    assert seen.array[1].sum() == 56 + 2 * 8


@pytest.mark.parametrize(
    ("array", "recipe", "error", "says"),
    [
        (np.full((4, 4, 4), 3.0), ClassifierInput(), VolumeError, "every voxel is 3"),
        (np.full((4, 4, 4), np.nan), ClassifierInput(), VolumeError, "no voxel is finite"),
        (np.zeros((4, 4, 4)), SHAPE, VolumeError, "is empty"),
        (noise((4, 4, 4)), SHAPE, SettingsError, "several values beside 0"),
        (noise((4, 4, 4, 2)), SHAPE, SettingsError, "--volume N"),
        (noise((4, 4, 4)), OBJECT, SettingsError, "--objects"),
    ],
)
def test_what_cannot_be_seen_is_said(array, recipe, error, says):
    with pytest.raises(error, match=f"scan.*{says}"):
        volume_input(volume(array), recipe, NETWORK)


def test_boxes_of_objects():
    array = np.zeros((5, 6, 7), np.uint32)
    array[1, 2, 3] = 2
    array[0:2, 5, 6] = 9
    array[4, 0:3, 1:3] = 4
    boxes = {
        2: Region((1, 2, 3), (2, 3, 4)),
        4: Region((4, 0, 1), (5, 3, 3)),
        9: Region((0, 5, 6), (2, 6, 7)),
    }
    assert object_boxes(array) == boxes
    assert object_boxes(np.zeros_like(array)) == {}
    array[array == 9] = 4_000_000_000  # too large a value for a list of all below it
    assert object_boxes(array) == {2: boxes[2], 4: boxes[4], 4_000_000_000: boxes[9]}


def test_measurements_of_a_cuboid():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 1:4, 1:5] = True
    found = shape_measurements(mask, (1.0, 1.0, 2.0))
    volume_mm3, surface = 48, 2 * (2 * 3 + 2 * 8 + 3 * 8)
    ball = (36 * np.pi * volume_mm3**2) ** (1 / 3)
    axes = np.array([8, 3, 2]) / np.sqrt(12)  # deviation of what is spread evenly over a length
    expected = [np.log(volume_mm3), *np.log(axes), np.log(surface / ball), 1]
    np.testing.assert_allclose(found, expected)


def test_depths_in_a_cube():
    """Of 27 voxels that fill their box, 26 are 2 mm from the outside, the middle one is 4 mm."""
    found = thickness_measurements(np.ones((3, 3, 3), bool), (2.0, 2.0, 2.0))
    highest = 2 + 2 * 0.74  # the 99th percentile: 25.74 steps from the first of 27
    expected = [(26 * 2 + 4) / 27, 2, 2, 2, 2, highest, 4]
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-6)


def test_measurements_of_intensities():
    image = np.array([[[0, 1, 3, 8, 2]]], np.float32)
    mask = np.array([[[0, 1, 1, 1, 0]]], bool)
    mean, deviation, low, middle, high, contrast, roughness = intensity_measurements(image, mask)
    assert (mean, middle, contrast, roughness) == (4, 3, 3, 3.5)
    assert deviation == pytest.approx(np.sqrt(26 / 3))
    assert (low, high) == (pytest.approx(1.4), pytest.approx(7))


def two_objects():
    array = np.zeros((10, 10, 10), np.uint16)
    array[2:6, 3:7, 1:5] = 3
    array[9, 9, 9] = 7
    return array


def test_an_object_is_its_shape_and_what_lies_there():
    array, image = two_objects(), noise((10, 10, 10))
    inputs = ObjectInputs(labels(array), volume(image), OBJECT, NETWORK)
    assert list(inputs.boxes) == [3, 7]
    inside = image[array > 0]
    expected = (image[2:6, 3:7, 1:5] - inside.mean()) / inside.std()
    shown = inputs.seen(3).array
    np.testing.assert_allclose(shown[0], expected, atol=1e-5)
    np.testing.assert_array_equal(shown[1], 1)


def test_an_object_of_one_voxel_in_the_corner_fills_the_input():
    inputs = ObjectInputs(labels(two_objects()), None, SHAPE, NETWORK)
    seen = inputs.seen(7)
    assert seen.frame.region.stop == (10, 10, 10)
    # voxels of the input are a quarter long: linear from 1 at the object to 0 at its neighbour
    near = np.array([0.625, 0.875, 0.875, 0.625])
    np.testing.assert_allclose(seen.array[0], near[:, None, None] * near[:, None] * near, atol=1e-6)


def test_constant_intensities_do_not_lose_objects():
    constant = volume(np.full((10, 10, 10), 4.0))
    inputs = ObjectInputs(labels(two_objects()), constant, OBJECT, NETWORK)
    assert np.isfinite(inputs.seen(7).array).all()


def test_measurements_are_repeated_in_each_patch():
    channel = in_patches(np.array([5, 6, 7], np.float32), NETWORK)
    assert channel.shape == (1, *SIZE)
    for corner in np.ndindex(2, 2, 2):
        part = tuple(slice(2 * n, 2 * n + 2) for n in corner)
        np.testing.assert_array_equal(channel[0][part].ravel(), [5, 6, 7, 0, 0, 0, 0, 0])


def test_measurements_are_standardised_as_the_card_says():
    inputs = ObjectInputs(labels(two_objects()), None, SHAPE, NETWORK)
    seen = inputs.seeing((Measurement("fill", 0.5, 0.25), Measurement("volume", -99.0, 1.0)))
    assert seen.seen(3).array[1, 0, 0, :2].tolist() == [2, 5]  # the second one is bounded


def test_a_mask_and_an_object_of_the_same_shape_are_measured_alike():
    wanted = (Measurement("volume", 4.0, 1.0), Measurement("largest depth", 0.0, 0.5))
    recipe = replace(SHAPE, measurements=wanted)
    array = two_objects()
    of_object = ObjectInputs(labels(array), None, recipe, NETWORK).seen(3).array
    of_mask = volume_input(volume(array == 3), recipe, NETWORK).array
    np.testing.assert_array_equal(of_mask, of_object)
    # 4 voxels a side, at the border of which the outside is 1 mm off, two deep in
    assert of_mask[1, 0, 0, :2].tolist() == pytest.approx([np.log(64) - 4, 2 * np.log(2)])


@pytest.mark.parametrize(
    ("array", "image", "recipe", "error", "says"),
    [
        (np.zeros((2, 2, 2), np.uint8), None, SHAPE, VolumeError, "holds no object"),
        (two_objects(), None, OBJECT, SettingsError, "give the image"),
        (two_objects(), noise((10, 10, 9)), OBJECT, GridError, "different grids"),
        (two_objects(), np.full((10, 10, 10), np.nan), OBJECT, VolumeError, "finite"),
    ],
)
def test_objects_that_cannot_be_seen(array, image, recipe, error, says):
    with pytest.raises(error, match=says) as caught:
        ObjectInputs(labels(array), None if image is None else volume(image), recipe, NETWORK)
    assert isinstance(caught.value, AsmlpError)


def test_an_object_that_is_not_there():
    with pytest.raises(SettingsError, match="no object of the value 5"):
        ObjectInputs(labels(two_objects()), None, SHAPE, NETWORK).seen(5)
