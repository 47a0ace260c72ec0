from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_asmlp.grid import Grid, Region
from napari_asmlp.viewer.layers import image_layer_data
from napari_asmlp.viewer.region import ClickPicker, RegionBox, box_layer, view_centre
from napari_asmlp.volume import Volume

from .conftest import AFFINE, SHAPE

REGION = Region((1, 2, 3), (3, 6, 5))


@pytest.fixture
def viewer():
    model = ViewerModel()
    ((data, attributes, _),) = image_layer_data(Volume(np.zeros(SHAPE), Grid(SHAPE, AFFINE)))
    model.add_image(data, **attributes)
    return model


def test_the_box_covers_the_region_in_the_world(viewer):
    box = box_layer(viewer.layers[0], REGION)
    shown = {tuple(box.data_to_world(index)[::-1]) for index in np.ndindex(box.data.shape)}
    inside = [(i, j, k) for i in (1, 2) for j in (2, 3, 4, 5) for k in (3, 4)]
    assert shown == {tuple((AFFINE @ (*index, 1))[:3]) for index in inside}


def test_the_box_cannot_be_painted_and_leaves_the_selection(viewer):
    viewer.layers.selection.active = viewer.layers[0]
    box = RegionBox(viewer)
    box.show(viewer.layers[0], REGION)
    assert not viewer.layers[-1].editable
    assert viewer.layers.selection.active is viewer.layers[0]


def test_the_box_is_there_once(viewer):
    box = RegionBox(viewer)
    box.show(viewer.layers[0], REGION)
    box.show(viewer.layers[0], Region.whole(SHAPE))
    assert len(viewer.layers) == 2
    assert viewer.layers[-1].data.shape == (7, 8, 6)  # S, A, R of all 6 x 7 x 8 voxels
    box.hide()
    box.hide()
    assert len(viewer.layers) == 1


def test_a_box_that_the_user_deleted_is_no_trouble(viewer):
    box = RegionBox(viewer)
    box.show(viewer.layers[0], REGION)
    viewer.layers.pop()
    box.hide()
    box.show(viewer.layers[0], REGION)
    assert len(viewer.layers) == 2


@pytest.mark.parametrize(("path", "picked"), [((), [(1.0, 2.0, 3.0)]), (("mouse_move",), [])])
def test_clicks_are_picked_and_drags_are_not(viewer, path, picked):
    positions: list[tuple[float, ...]] = []
    picker = ClickPicker(viewer, positions.append)
    before = list(viewer.mouse_drag_callbacks)
    picker.turn(on=True)
    picker.turn(on=True)
    (callback,) = viewer.mouse_drag_callbacks[len(before) :]
    event = SimpleNamespace(type="mouse_press", position=(1.0, 2.0, 3.0))
    following = callback(viewer, event)
    next(following)
    for kind in (*path, "mouse_release"):
        event.type = kind
        if next(following, "ended") == "ended":
            break
    assert positions == picked
    picker.turn(on=False)
    assert viewer.mouse_drag_callbacks == before


def test_the_middle_of_the_view_is_the_slice_and_what_the_camera_looks_at(viewer):
    viewer.dims.set_point(0, -27)
    viewer.scene.camera.center = (0, 5.0, 7.0)
    assert view_centre(viewer) == (-27.0, 5.0, 7.0)
