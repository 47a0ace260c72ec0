from __future__ import annotations

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_asmlp.errors import AsmlpError, GridError, OutputError, VolumeError
from napari_asmlp.io.formats import FORMATS
from napari_asmlp.io.names import NamedLabel, names_path, write_names
from napari_asmlp.viewer import commands, files
from napari_asmlp.viewer.colours import colour_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.layers import image_layer_data, labels_on, source_view, volume_of

from .conftest import AFFINE, MANIFEST, SHAPE

RADIOLOGICAL = ("away", "up", "left")  # superior, anterior, right
ANTERIOR_LEFT = (1, 2, 3)  # a voxel of the scan


@pytest.fixture
def viewer(monkeypatch):
    """A viewer without a window, which is the current one."""
    model = ViewerModel()
    monkeypatch.setattr(files.napari, "current_viewer", lambda: model)
    return model


@pytest.fixture
def opened(viewer, scan, plugin):
    """The same with the scan opened through napari's own way."""
    viewer.open(str(scan), plugin="napari-asmlp")
    return viewer


def read_labels(path):
    image = nibabel.load(path)
    return np.asanyarray(image.dataobj), image


def test_the_manifest_names_every_format():
    text = MANIFEST.read_text()
    assert all(f'"*{format_.suffix}"' in text for format_ in FORMATS)


def test_a_file_opens_as_an_image_in_the_radiological_view(opened, scan):
    (layer,) = opened.layers
    assert isinstance(layer, Image)
    assert layer.name == "scan"
    assert tuple(map(str, opened.scene.camera.orientation)) == RADIOLOGICAL
    assert volume_of(layer).path == scan
    np.testing.assert_allclose(volume_of(layer).grid.affine, AFFINE)


def test_a_viewer_of_other_things_is_not_turned(viewer, scan, plugin):
    viewer.add_image(np.zeros((4, 4)))
    viewer.open(str(scan), plugin="napari-asmlp")
    assert tuple(map(str, viewer.scene.camera.orientation)) != RADIOLOGICAL


def test_a_4d_file_opens_as_channels(viewer, tmp_path, plugin):
    path = tmp_path / "two.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), np.eye(4)), path)
    viewer.open(str(path), plugin="napari-asmlp")
    assert [layer.name for layer in viewer.layers] == ["two [0]", "two [1]"]


def test_other_files_are_left_to_other_readers():
    assert files.get_reader("cells.tif") is None
    assert files.get_reader(["a.nii.gz", "b.tif"]) is None
    assert files.get_reader("SCAN.NII.GZ") is not None


def test_a_broken_file_is_an_error_with_its_name(viewer, tmp_path, plugin):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(VolumeError, match=r"broken.nii.gz"):
        viewer.open(str(path), plugin="napari-asmlp")
    assert not viewer.layers


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mgz"])
def test_saved_labels_lie_on_the_grid_of_the_file(opened, tmp_path, suffix):
    commands.new_labels(opened)
    layer = opened.layers[-1]
    source_view(layer)[ANTERIOR_LEFT] = 2
    out = tmp_path / f"out{suffix}"
    assert opened.layers.save(str(out), selected=True, plugin="napari-asmlp") == [str(out)]
    values, image = read_labels(out)
    assert values.shape == SHAPE
    assert values.dtype == np.uint8
    assert np.argwhere(values).tolist() == [list(ANTERIOR_LEFT)]
    np.testing.assert_allclose(image.affine, AFFINE)


def test_saved_labels_reopen_identical(opened, tmp_path):
    layer = commands.new_labels(opened)
    layer.data[:] = np.arange(layer.data.size).reshape(layer.data.shape) % 300  # over uint8: wraps
    layer.data = layer.data.astype(np.int32) + 100
    path = files.save_labels(layer, tmp_path / "labels.nii.gz")
    again = commands.open_labels(opened, path)
    np.testing.assert_array_equal(again.data, layer.data)
    np.testing.assert_array_equal(again.translate, layer.translate)


def test_labels_go_back_into_the_file_they_came_from(opened, tmp_path):
    path = files.save_labels(commands.new_labels(opened), tmp_path / "labels.nii.gz")
    layer = commands.open_labels(opened, path)
    source_view(layer)[ANTERIOR_LEFT] = 5
    assert files.write(str(path), *layer.as_layer_data_tuple()[:2]) == [str(path)]
    assert read_labels(path)[0][ANTERIOR_LEFT] == 5


def test_a_name_without_suffix_gets_one_and_replaces_nothing(opened, tmp_path):
    layer = commands.new_labels(opened)
    data, attributes, _ = layer.as_layer_data_tuple()
    written = files.write(str(tmp_path / "mine"), data, attributes)
    assert written == [str(tmp_path / "mine.nii.gz")]
    with pytest.raises(OutputError, match="exists"):
        files.write(str(tmp_path / "mine"), data, attributes)


def test_the_image_is_never_replaced(opened, scan):
    before = scan.read_bytes()
    layer = commands.new_labels(opened)
    opened.layers.remove(opened.layers[0])  # not even when its layer is gone
    with pytest.raises(OutputError, match=r"scan.nii.gz"):
        files.write(str(scan), *layer.as_layer_data_tuple()[:2])
    assert scan.read_bytes() == before


def test_no_open_image_is_replaced_by_labels_of_another(opened, scan, tmp_path):
    other = Labels(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(OutputError, match=r"scan.nii.gz"):
        files.save_labels(other, scan, overwrite=True)


@pytest.mark.parametrize("value", [-1, 2**33])
def test_values_that_are_no_labels_are_refused_and_nothing_is_left(opened, tmp_path, value):
    layer = commands.new_labels(opened)
    layer.data = np.full(layer.data.shape, value, np.int64)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(AsmlpError, match=str(value)):
        files.save_labels(layer, out / "labels.nii.gz")
    assert not list(out.iterdir())


def test_labels_that_left_their_grid_are_not_saved(opened, tmp_path):
    layer = commands.new_labels(opened)
    layer.scale = (1, 1, 1)
    with pytest.raises(GridError, match=r"were moved.*scan\.nii\.gz"):
        files.write(str(tmp_path / "out.nii"), *layer.as_layer_data_tuple()[:2])
    assert not (tmp_path / "out.nii").exists()


def test_labels_of_no_file_are_saved_as_they_lie(tmp_path):
    layer = Labels(np.eye(5, dtype=np.uint8)[None].repeat(3, 0), scale=(3, 2, 1))
    path = files.save_labels(layer, tmp_path / "cells.nii.gz")
    values, image = read_labels(path)
    np.testing.assert_array_equal(values, layer.data)
    assert nibabel.aff2axcodes(image.affine) == ("S", "A", "R")


def test_an_image_converted_to_labels_by_napari_keeps_its_grid(opened, scan, tmp_path):
    image = opened.layers[0]
    layer = Labels(image.data.astype(int), scale=image.scale, translate=image.translate,
                   metadata=image.metadata)  # fmt: skip
    values, saved = read_labels(files.save_labels(layer, tmp_path / "converted.nii.gz"))
    np.testing.assert_array_equal(values, read_labels(scan)[0])
    np.testing.assert_allclose(saved.affine, AFFINE)


def test_new_labels_lie_on_the_image_of_the_selected_layer(viewer):
    with pytest.raises(AsmlpError, match="no image"):
        commands.new_labels(viewer)
    viewer.add_image(np.zeros((3, 4, 5)))
    commands.new_labels(viewer)
    viewer.add_image(np.zeros((3, 4, 6)))
    viewer.layers.selection.active = viewer.layers[1]  # labels of the first
    assert commands.new_labels(viewer).data.shape == (3, 4, 5)
    viewer.layers.selection.active = viewer.layers[2]
    assert commands.new_labels(viewer).data.shape == (3, 4, 6)


def test_opened_labels_must_lie_on_an_open_image(opened, tmp_path):
    path = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4)), path)
    with pytest.raises(AsmlpError, match=r"mask.nii.gz.*'scan'"):
        commands.open_labels(opened, path)
    opened.layers.clear()
    assert commands.open_labels(opened, path).data.shape == SHAPE[::-1]


def test_the_sample_opens_upright(viewer, plugin):
    pytest.importorskip("nilearn")
    viewer.open_sample("napari-asmlp", "hippocampus")
    assert viewer.layers[0].name == files.SAMPLE_NAME
    assert tuple(map(str, viewer.scene.camera.orientation)) == RADIOLOGICAL


def test_labels_of_a_volume_that_is_already_open_need_no_reading(scan):
    ((data, attributes, _),) = image_layer_data(files.read_volume(scan))
    layer = labels_on(Image(data, **attributes), np.zeros(SHAPE, np.uint16))
    assert layer.name == "scan labels"


def test_names_and_colours_come_back_with_the_labels(opened, scan, notes):
    layer = commands.new_labels(opened)
    path = files.save_labels(layer, scan.with_name("mine.nii.gz"))
    table = names_path(path, "ITK-SNAP")
    write_names([NamedLabel(3, "left lung", (255, 0, 0))], table, "ITK-SNAP")
    again = commands.open_labels(opened, path)
    assert class_names(again) == {3: "left lung"}
    assert colour_of(again, 3) == (1, 0, 0, 1)
    table.write_text("3 left lung")
    assert class_names(commands.open_labels(opened, path)) == {}
    assert "names were left out" in notes[-1]
    assert str(table) in notes[-1]
