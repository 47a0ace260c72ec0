from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume, write_volume
from napari_asmlp.viewer.layers import (
    METADATA_KEY,
    check_same_grid,
    image_layer_data,
    index_at,
    labels_layer_data,
    labels_on,
    shown_index,
    source_view,
    volume_of,
    volume_with_channels,
)
from napari_asmlp.volume import Volume

SHAPE = (3, 4, 5)
NUMBERED = np.arange(60, dtype=np.int16).reshape(SHAPE)
TURNS = [*product(permutations(range(3)), ((1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)))]


def turned_affine(axes: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Voxel axis n runs along world axis axes[n], 1, 2 or 3 mm a voxel."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for n, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, n] = sign * (n + 1)
    affine[:3, 3] = (-10, 20, 5)
    return affine


def numbered(affine: np.ndarray) -> Volume:
    return Volume(NUMBERED.copy(), Grid(SHAPE, affine))


def image_layer(volume: Volume) -> Image:
    (data, attributes, kind), *_ = image_layer_data(volume)
    assert kind == "image"
    return Image(data, **attributes)


@pytest.mark.parametrize(("axes", "signs"), TURNS)
def test_each_voxel_is_shown_where_it_is_in_the_world(axes, signs):
    volume = numbered(turned_affine(axes, signs))
    layer = image_layer(volume)
    for index in [(0, 0, 0), (2, 3, 4), (1, 0, 2)]:
        right, anterior, superior = (volume.grid.affine @ (*index, 1))[:3]
        shown = np.argwhere(layer.data == NUMBERED[index])[0]
        assert layer.data_to_world(shown) == pytest.approx((superior, anterior, right))
        assert shown_index(layer, index) == tuple(shown)
        assert index_at(layer, (superior, anterior, right)) == index


@pytest.mark.parametrize(("axes", "signs"), TURNS[::5])
def test_there_and_back_is_the_same_memory(axes, signs):
    volume = numbered(turned_affine(axes, signs))
    layer = image_layer(volume)
    back = volume_of(layer)
    assert np.shares_memory(layer.data, volume.data)
    assert np.shares_memory(back.data, volume.data)
    assert back.grid == volume.grid
    np.testing.assert_array_equal(back.array(), NUMBERED)


def test_layers_are_in_mm_along_superior_anterior_right():
    layer = image_layer(numbered(np.diag([1.0, 2, 3, 1])))
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert tuple(layer.axis_labels) == ("S", "A", "R")
    assert tuple(layer.scale) == (3, 2, 1)
    assert layer.data.shape == (5, 4, 3)


def test_a_tilt_stays_out_of_the_layer_and_in_the_volume():
    angle = np.deg2rad(20)
    tilted = np.eye(4)
    tilted[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    layer = image_layer(numbered(tilted))
    assert np.allclose(layer.affine.affine_matrix, np.eye(4))
    assert np.allclose(layer.rotate, np.eye(3))
    assert volume_of(layer).grid == Grid(SHAPE, tilted)


def test_channels_become_layers_and_find_each_other_again():
    array = np.stack([NUMBERED, NUMBERED + 100], axis=-1)
    layers = [
        Image(data, **attributes)
        for data, attributes, _ in image_layer_data(Volume(array, Grid(SHAPE, np.eye(4))))
    ]
    assert [layer.name for layer in layers] == ["volume [0]", "volume [1]"]
    np.testing.assert_array_equal(volume_of(layers[1]).array(), NUMBERED + 100)
    assert volume_with_channels(layers[1], 1).channels == 1
    assert volume_with_channels(layers[1], 2).data is array


def test_channels_in_files_of_their_own_are_found_beside_the_one_that_is_shown(tmp_path):
    for channel in range(2):
        volume = Volume(NUMBERED + 100 * channel, Grid(SHAPE, np.diag([1, 2, 3, 1])))
        write_volume(volume, tmp_path / f"a_{channel:04}.nii.gz")
    ((data, attributes, _),) = image_layer_data(read_volume(tmp_path / "a_0001.nii.gz"))
    layer = Image(data, **attributes)
    assert volume_with_channels(layer, 1).channels == 1
    both = volume_with_channels(layer, 2)
    np.testing.assert_array_equal(both.array(), np.stack([NUMBERED, NUMBERED + 100], axis=-1))
    assert both.grid == volume_of(layer).grid
    with pytest.raises(VolumeError, match="a_0002 of 3 channels of a is missing"):
        volume_with_channels(layer, 3)


def test_of_very_many_channels_the_first_is_shown():
    array = np.zeros((*SHAPE, 200), np.uint8)
    assert len(image_layer_data(Volume(array, Grid(SHAPE, np.eye(4))))) == 1


def test_few_bright_voxels_and_broken_ones_leave_the_contrast_alone():
    array = np.full((20, 20, 20), 100.0)
    array[:10] = 0
    array[0, 0, 0], array[0, 0, 1] = 1e6, np.nan
    layer = image_layer(Volume(array, Grid(array.shape, np.eye(4))))
    assert layer.contrast_limits == [0, 100]


def test_labels_lie_on_their_image_and_edits_reach_the_source_array():
    image = image_layer(numbered(turned_affine((2, 0, 1), (1, -1, 1))))
    array = np.zeros(SHAPE, np.uint8)
    labels = labels_on(image, array)
    for attribute in ("scale", "translate"):
        np.testing.assert_array_equal(getattr(labels, attribute), getattr(image, attribute))
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels
    labels.data_setitem(tuple(np.array([n]) for n in shown_index(labels, (2, 1, 3))), 7)
    assert array[2, 1, 3] == 7
    assert np.count_nonzero(array) == 1
    assert np.shares_memory(source_view(labels), array)
    assert volume_of(labels).kind == "labels"
    assert volume_of(labels).grid == volume_of(image).grid


def test_labels_keep_their_units_in_a_viewer():
    viewer = ViewerModel()
    image = image_layer(numbered(np.eye(4)))
    viewer.add_layer(image)
    viewer.add_layer(labels_on(image, np.zeros(SHAPE, np.uint8)))
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"millimeter"}


def test_labels_of_another_shape_are_refused():
    with pytest.raises(GridError, match="image 'volume'"):
        labels_on(image_layer(numbered(np.eye(4))), np.zeros((1, 2, 3), np.uint8))


def test_labels_of_another_grid_are_refused_by_name_of_both():
    image = image_layer(numbered(np.eye(4)))
    labels = Volume(np.zeros(SHAPE, np.uint8), Grid(SHAPE, np.diag([1, 1, 2.0, 1])), "labels")
    data, attributes, _ = labels_layer_data(labels, name="mask")
    with pytest.raises(GridError, match=r"'mask'.*'volume'.*1x1x2 mm.*1x1x1 mm"):
        check_same_grid(Labels(data, **attributes), image)


def test_foreign_layers_are_taken_as_they_lie():
    layer = Image(NUMBERED, scale=(3, 2, 1), translate=(30, 20, 10))
    volume = volume_of(layer)
    assert volume.grid.axis_codes == "SAR"
    assert (volume.grid.affine @ (1, 1, 1, 1))[:3] == pytest.approx((11, 22, 33))
    labels = labels_on(layer, np.zeros(SHAPE, np.uint8))
    assert labels.data.shape == layer.data.shape
    check_same_grid(labels, layer)


def test_foreign_units_are_converted():
    layer = Image(NUMBERED, scale=(100, 50, 50), units=("um",) * 3)
    assert volume_of(layer).grid.spacing == pytest.approx((0.1, 0.05, 0.05))
    labels = labels_on(layer, np.zeros(SHAPE, np.uint8))
    assert labels.units == layer.units
    check_same_grid(labels, layer)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # napari's own, of the rotated one
@pytest.mark.parametrize(
    ("data", "attributes", "reason"),
    [
        (np.zeros((4, 5)), {}, "2 axes"),
        (np.zeros((2, 3, 4, 5)), {}, "4 axes"),
        (np.zeros((4, 5, 3), np.uint8), {"rgb": True}, "RGB"),
        ([np.zeros((8, 8, 8)), np.zeros((4, 4, 4))], {"multiscale": True}, "several"),
        (NUMBERED, {"rotate": (0, 20, 0)}, "rotated"),
        (NUMBERED, {"shear": (0.1, 0, 0)}, "sheared"),
        (NUMBERED, {"affine": np.diag([2, 1, 1, 1])}, "affine"),
        (NUMBERED, {"units": ("s", "mm", "mm")}, "second"),
    ],
)
def test_layers_that_are_no_volume_are_refused(data, attributes, reason):
    with pytest.raises(SettingsError, match=rf"'x'.*{reason}"):
        volume_of(Image(data, name="x", **attributes))


def test_a_layer_that_was_moved_or_cropped_no_longer_has_the_grid_of_its_file():
    layer = image_layer(numbered(np.eye(4)))
    layer.scale = (2, 2, 2)
    assert volume_of(layer).grid.spacing == (2, 2, 2)
    layer = image_layer(numbered(np.eye(4)))
    layer.data = layer.data[1:]
    assert volume_of(layer).grid.shape == (4, 4, 3)


def test_the_metadata_is_a_volume_without_a_copy():
    volume = numbered(np.eye(4))
    riding = image_layer(volume).metadata[METADATA_KEY]
    assert np.shares_memory(riding.data, volume.data)
