"""Drags as napari hands them over: press, moves, release, each with a position in the world."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_asmlp.grid import Region
from napari_asmlp.viewer.region import current_region, listen, region_box
from napari_asmlp.viewer.region.mouse import DrawTool, PickTool, canvas_mouse
from napari_asmlp.viewer.region.row import view_centre

SHAPE = (10, 20, 30)  # z, y, x of 1 mm; z, y, x are also the axes of the file
WHOLE = Region.whole(SHAPE)


@pytest.fixture
def viewer():
    model = ViewerModel()
    model.add_image(np.zeros(SHAPE), name="scan")
    return model


@pytest.fixture
def draw(viewer):
    tool = DrawTool(region_box(viewer), lambda: viewer.layers["scan"])
    canvas_mouse(viewer).lend(tool)
    return tool


def drag(model, *positions, zoom=4.0, **more):
    """Drag the left button over positions; returns whether napari was kept from moving the view."""
    event = SimpleNamespace(
        type="mouse_press", is_dragging=True, button=1, modifiers=[], handled=False,
        camera_zoom=zoom, dims_displayed=list(model.dims.displayed), position=positions[0],
    )  # fmt: skip
    vars(event).update(more)
    mouse_press_callbacks(model, event)
    handled = event.handled
    for event.position in positions[1:]:
        event.type = "mouse_move"
        mouse_move_callbacks(model, event)
    event.type = "mouse_release"
    mouse_release_callbacks(model, event)
    return handled


def region(viewer):
    return str(current_region(viewer))


def test_a_rectangle_has_the_whole_depth(viewer, draw):
    assert drag(viewer, (4, 12, 7), (4, 9, 9), (4, 5.2, 16.4))
    assert region(viewer) == "0:10,5:13,7:17"


def test_a_rectangle_in_another_plane_keeps_the_extent_across_it(viewer, draw):
    drag(viewer, (4, 5, 7), (4, 12, 16))
    viewer.dims.order = (1, 0, 2)  # coronal: y is across
    drag(viewer, (2, 8, 20), (6, 8, 25))
    assert region(viewer) == "2:7,5:13,20:26"


@pytest.mark.parametrize(
    ("press", "release", "text"),
    [
        ((4, 5, 12), (4, 2.6, 12), "0:10,3:13,7:17"),  # the upper edge, by 2
        ((4, 12, 7), (4, 14.4, 3.6), "0:10,5:15,4:17"),  # a corner
        ((4, 8, 17), (4, 8, 99), "0:10,5:13,7:30"),  # no further than the image
        ((4, 8, 17), (4, 8, 2), "0:10,5:13,7:8"),  # one voxel remains
        ((4, 8, 10), (4, 11, 14), "0:10,8:12,10:15"),  # from inside: a new rectangle
    ],
)
def test_edges_of_the_box_are_dragged(viewer, draw, press, release, text):
    region_box(viewer).put(viewer.layers["scan"], Region((0, 5, 7), (10, 13, 17)))
    drag(viewer, press, release)
    assert region(viewer) == text


def test_faces_are_dragged_in_other_planes(viewer, draw):
    region_box(viewer).put(viewer.layers["scan"], Region((2, 5, 7), (8, 13, 17)))
    viewer.dims.order = (2, 0, 1)  # sagittal: x is across
    drag(viewer, (1.5, 9, 10), (4.5, 9, 10))
    assert region(viewer) == "5:8,5:13,7:17"


def test_how_near_is_counted_in_pixels_of_the_screen(viewer, draw):
    region_box(viewer).put(viewer.layers["scan"], Region((0, 5, 7), (10, 13, 17)))
    press, release = (4, 8, 14.5), (4, 11, 21.6)  # 2 mm from the right edge
    drag(viewer, press, release, zoom=2)  # which is 4 pixels
    assert region(viewer) == "0:10,5:13,7:22"
    region_box(viewer).put(viewer.layers["scan"], Region((0, 5, 7), (10, 13, 17)))
    drag(viewer, press, release, zoom=20)  # which is 40
    assert region(viewer) != "0:10,5:13,7:22"


def test_a_click_draws_nothing(viewer, draw):
    drag(viewer, (4, 5, 7))
    assert current_region(viewer) is None


@pytest.mark.parametrize("more", [{"button": 2}, {"modifiers": ["Shift"]}])
def test_other_buttons_and_keys_stay_naparis(viewer, draw, more):
    assert not drag(viewer, (4, 5, 7), (4, 12, 16), **more)
    assert current_region(viewer) is None


def test_in_3d_nothing_is_drawn(viewer, draw):
    viewer.dims.ndisplay = 3
    assert not drag(viewer, (4, 5, 7), (4, 12, 16))
    assert current_region(viewer) is None


def test_further_axes_come_before_those_of_the_image(viewer, draw):
    viewer.add_image(np.zeros((3, *SHAPE)))
    drag(viewer, (1, 4, 5, 7), (1, 4, 12, 16))
    assert region(viewer) == "0:10,5:13,7:17"


def test_the_brush_is_put_away_and_comes_first_when_taken_up_again(viewer):
    labels = viewer.add_labels(np.zeros(SHAPE, np.uint8))
    labels.mode = "paint"
    tool = DrawTool(region_box(viewer), lambda: viewer.layers["scan"])
    canvas_mouse(viewer).lend(tool)
    assert labels.mode == "pan_zoom"
    labels.mode = "paint"
    assert not drag(viewer, (4, 5, 7), (4, 12, 16))
    assert current_region(viewer) is None


def test_what_is_no_volume_is_said(viewer, notes):
    flat = viewer.add_image(np.zeros((20, 30)), name="flat")
    canvas_mouse(viewer).lend(DrawTool(region_box(viewer), lambda: flat))
    drag(viewer, (4, 5, 7), (4, 12, 16))
    assert any("'flat' has 2 axes" in note for note in notes)


def test_a_linked_plane_is_heard_only_while_the_mouse_is_lent(viewer):
    plane = ViewerModel()
    plane.add_image(np.zeros(SHAPE))
    plane.dims.order = (1, 0, 2)
    listen(viewer, plane)
    before = list(plane.mouse_drag_callbacks)
    tool = DrawTool(region_box(viewer), lambda: viewer.layers["scan"])
    canvas_mouse(viewer).lend(tool)
    drag(plane, (2, 8, 20), (6, 8, 25))
    assert region(viewer) == "2:7,0:20,20:26"
    canvas_mouse(viewer).take_back(tool)
    assert plane.mouse_drag_callbacks == before


def test_the_mouse_is_lent_to_one_tool_at_a_time(viewer, draw):
    before = len(viewer.mouse_drag_callbacks)
    picked = []
    pick = PickTool(picked.append)
    canvas_mouse(viewer).lend(pick)
    canvas_mouse(viewer).take_back(draw)  # has it no more: nothing happens
    drag(viewer, (4, 5, 7))
    assert picked == [(4, 5, 7)]
    assert len(viewer.mouse_drag_callbacks) == before
    canvas_mouse(viewer).take_back(pick)
    assert len(viewer.mouse_drag_callbacks) == before - 1


def test_clicks_are_picked_and_drags_are_not(viewer):
    picked = []
    canvas_mouse(viewer).lend(PickTool(picked.append))
    assert not drag(viewer, (1, 2, 3), (1, 5, 6))
    drag(viewer, (1, 2, 3))
    assert picked == [(1, 2, 3)]


def test_the_middle_of_the_view_is_the_slice_and_what_the_camera_looks_at(viewer):
    viewer.dims.set_point(0, 3)
    viewer.scene.camera.center = (0, 5.0, 7.0)
    assert view_centre(viewer) == (3.0, 5.0, 7.0)
