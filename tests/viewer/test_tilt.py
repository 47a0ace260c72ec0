"""Volumes at a tilt to each other: what is said, and what resampling makes of them."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume
from napari_asmlp.viewer.layers import image_layer_data, labels_on, volume_of
from napari_asmlp.viewer.resampling import ResampleDialog
from napari_asmlp.viewer.tilt import angle_between, apart_mm, is_misaligned, watch
from napari_asmlp.volume import Volume


def grid(degrees=0.0, spacing=(1.0, 1.0, 1.0), origin=(-50.0, -50.0, -50.0), axes=(0, 1, 2)):
    """A grid of 101 voxels a side, turned about the axis from left to right."""
    angle = np.deg2rad(degrees)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(4)
    affine[:3, :3] = (turn * spacing)[:, list(axes)]
    affine[:3, 3] = origin
    return Grid((101, 101, 101), affine)


def layer_on(place, name="scan"):
    volume = Volume(np.broadcast_to(np.uint8(0), place.shape), place)
    ((data, attributes, _),) = image_layer_data(volume)
    return Image(data, **{**attributes, "name": name, "contrast_limits": (0, 1)})


def drawn_at(layer, world):
    """Where a layer draws a place of the world, in mm along S, A and R."""
    place = volume_of(layer).grid
    upright = place.reoriented(place.orientation("SAR"))
    index = np.linalg.inv(upright.affine) @ [*world, 1]
    return np.array(layer.data_to_world(index[:3]))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("degrees", [0, 3, 10, -25])
def test_volumes_of_one_tilt_lie_right_relative_to_each_other(degrees, axes):
    whole = layer_on(grid(degrees))
    part = layer_on(grid(degrees, (2.0, 2.0, 3.5), (-20, 11, 7), axes))
    for world in ((0, 0, 0), (13, -20, 31), (-40, 40, -40)):
        np.testing.assert_allclose(drawn_at(whole, world), drawn_at(part, world), atol=1e-6)
    assert not is_misaligned(volume_of(whole).grid, volume_of(part).grid)


def test_upright_volumes_lie_where_their_files_say():
    world = (13, -20, 31)
    np.testing.assert_allclose(drawn_at(layer_on(grid(axes=(2, 0, 1))), world), world[::-1])


@pytest.mark.parametrize(
    ("one", "other", "angle", "misaligned"),
    [
        (grid(), grid(), 0, False),
        (grid(), grid(10), 10, True),
        (grid(-5), grid(5, axes=(2, 1, 0)), 10, True),
        (grid(), grid(0.9), 0.9, True),  # 1.3 mm in the corners
        (grid(), grid(0.1), 0.1, False),  # 0.15 mm
        (grid(), grid(1.2, (10, 10, 10)), 1.2, True),
        (grid(), grid(80), 10, True),  # which is 90 - 10: other axes, turned back
    ],
)
def test_what_looks_misaligned(one, other, angle, misaligned):
    assert angle_between(one, other) == pytest.approx(angle, abs=1e-4)
    assert is_misaligned(one, other) is misaligned
    assert apart_mm(one, other) == pytest.approx(apart_mm(other, one))


def test_the_distance_is_that_on_screen():
    one, other = grid(), grid(10)
    far = [
        np.linalg.norm(drawn_at(layer_on(one), p) - drawn_at(layer_on(other), p))
        for p in (np.array([*index, 1]) @ one.affine.T for index in np.ndindex(2, 2, 2))
        for p in [p[:3]]
    ]
    assert max(far) <= apart_mm(one, other)
    corner = one.affine[:3] @ [0, 0, 0, 1]
    apart = np.linalg.norm(drawn_at(layer_on(one), corner) - drawn_at(layer_on(other), corner))
    assert apart == pytest.approx(2 * np.sin(np.deg2rad(5)) * np.hypot(50, 50))


def test_a_pair_is_warned_of_once(notes):
    viewer = ViewerModel()
    watch(viewer)
    viewer.add_layer(layer_on(grid(10), "first"))
    assert notes == []  # alone, a tilt does no harm
    viewer.add_layer(layer_on(grid(10, (2, 2, 2)), "beside"))
    assert notes == []
    viewer.add_layer(layer_on(grid(), "second"))
    viewer.add_layer(layer_on(grid(), "second again"))
    (note,) = notes
    assert "'second' is tilted by 10.0° against 'first'" in note
    viewer.add_image(np.zeros((3, 4, 5)))  # of somebody else: nobody knows how it lies
    assert len(notes) == 1


def test_volumes_that_are_open_already_are_looked_at(notes):
    viewer = ViewerModel()
    viewer.add_layer(layer_on(grid(), "first"))
    viewer.add_layer(layer_on(grid(10), "second"))
    watch(viewer)
    assert len(notes) == 1


def test_viewers_do_not_hear_of_each_other(notes):
    one, other = ViewerModel(), ViewerModel()
    for viewer, degrees in ((one, 0), (other, 10)):
        watch(viewer)
        viewer.add_layer(layer_on(grid(degrees)))
    assert notes == []


def shown(kind):
    """The dialog of a kind that is open."""
    (dialog,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, kind))
    return dialog


@pytest.fixture
def two(window, tmp_path):
    """A window with a volume and the same anatomy at a tilt of 15 degrees."""
    upright = Grid((24, 24, 24), grid(origin=(-12, -12, -12)).affine)
    tilted = Grid((24, 24, 24), grid(15, origin=(-12, -8, -15)).affine)
    for name, place in (("upright", upright), ("tilted", tilted)):
        index = np.stack(np.indices(place.shape), axis=-1)
        world = index @ place.affine[:3, :3].T + place.affine[:3, 3]
        values = (100 + world @ (1, 2, 3)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, place.affine), tmp_path / f"{name}.nii")
    window.open([tmp_path / "upright.nii", tmp_path / "tilted.nii"], plugin="napari-asmlp")
    return window


def test_the_warning_offers_to_resample(two, qtbot):
    warning = next(n for n in reversed(notification_manager.records) if n.actions)
    ((title, act),) = warning.actions
    assert title == "Resample…"
    act()
    dialog = shown(ResampleDialog)
    assert (dialog.moving.currentText(), dialog.onto.currentText()) == ("tilted", "upright")
    assert "turned by 15.0°" in dialog.text.text().replace("\u200b", "")
    with qtbot.waitSignal(dialog.finished):
        dialog.accept()
    result, onto = two.layers["tilted on upright"], two.layers["upright"]
    assert volume_of(result).grid == volume_of(onto).grid
    inside = result.data > result.data.min()
    assert inside.mean() > 0.5
    middle = (slice(8, 16),) * 3
    np.testing.assert_allclose(result.data[middle], onto.data[middle], atol=1e-3)
    assert not two.layers["tilted"].visible


def test_labels_keep_their_values_and_names(two, qtbot, tmp_path):
    values = np.zeros((24, 24, 24), np.uint8)
    values[8:16, 8:16, 8:16] = 5
    layer = labels_on(two.layers["tilted"], values, name="mine")
    layer.features = {"index": [0, 5], "name": ["background", "cube"]}
    two.add_layer(layer)
    dialog = ResampleDialog(two, layer)
    assert not dialog.interpolation.isEnabled()
    with qtbot.waitSignal(dialog.finished):
        dialog.accept()
    result = two.layers["mine on upright"]
    assert set(np.unique(result.data).tolist()) == {0, 5}
    assert 480 < (result.data == 5).sum() < 545  # 512 mm³, whichever way they lie
    assert result.features["name"].tolist() == ["background", "cube"]
    assert volume_of(result).grid.same_as(read_volume(tmp_path / "upright.nii").grid)


def test_onto_the_same_grid_there_is_nothing_to_do(two):
    dialog = ResampleDialog(two, two.layers["tilted"])
    dialog.onto.setCurrentText("tilted")
    assert "nothing to resample" in dialog.text.text()
    assert not dialog._ok.isEnabled()
    dialog.reject()


def test_one_volume_is_not_enough():
    viewer = ViewerModel()
    viewer.add_layer(layer_on(grid()))
    with pytest.raises(SettingsError, match="open two volumes"):
        ResampleDialog(viewer)
