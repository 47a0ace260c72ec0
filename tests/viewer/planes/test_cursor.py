"""The shared cursor, without a window: three models, one point."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_asmlp.viewer.anatomy import PLANES, order_of
from napari_asmlp.viewer.planes.cursor import Cursor

SHAPE, SCALE, TRANSLATE = (4, 5, 6), (3.0, 1.0, 2.0), (-10.0, 0.0, 100.0)


@pytest.fixture
def views() -> tuple[ViewerModel, ...]:
    """Axial, coronal and sagittal model of one volume of zeros, at its first voxel."""
    models = []
    for plane in PLANES:
        model = ViewerModel()
        model.add_layer(Image(np.zeros(SHAPE), scale=SCALE, translate=TRANSLATE))
        model.dims.order = order_of(plane, 3)
        model.dims.point = TRANSLATE
        models.append(model)
    return tuple(models)


def slices(views: tuple[ViewerModel, ...]) -> list[int]:
    """Return which slice each plane shows."""
    return [model.dims.current_step[axis] for axis, model in enumerate(views)]


def test_each_view_is_sliced_at_the_nearest_voxel(views: tuple[ViewerModel, ...]) -> None:
    cursor = Cursor(views)
    cursor.move((-5.0, 3.2, 107.5))  # 1.67, 3.2 and 3.75 voxels from the first
    assert slices(views) == [2, 3, 4]
    assert cursor.point == (-4.0, 3.0, 108.0)


def test_a_position_outside_goes_to_the_border(views: tuple[ViewerModel, ...]) -> None:
    cursor = Cursor(views)
    cursor.move((1e6, -1e6, 105.9))
    assert slices(views) == [3, 0, 3]


def test_scrolling_a_view_moves_the_cursor_and_no_other_view(
    views: tuple[ViewerModel, ...],
) -> None:
    cursor = Cursor(views)
    moves: list[tuple[float, ...]] = []
    cursor.moved.connect(lambda: moves.append(cursor.point))
    views[1].dims.set_current_step(1, 4)
    assert moves == [(-10.0, 4.0, 100.0)]
    assert slices(views) == [0, 4, 0]
    assert views[0].dims.current_step == (0, 0, 0)  # nothing to slice again


def test_another_plane_in_a_view_is_cut_at_the_cursor(views: tuple[ViewerModel, ...]) -> None:
    cursor = Cursor(views)
    cursor.move((-4.0, 3.0, 108.0))
    views[0].dims.order = (1, 0, 2)
    assert views[0].dims.current_step[1] == 3


@pytest.mark.parametrize(
    ("types", "event", "mode", "expected"),
    [
        (["mouse_release"], {}, "pan_zoom", [2, 3, 4]),
        (["mouse_release"], {"button": 2}, "pan_zoom", [0, 0, 0]),
        (["mouse_release"], {"modifiers": ("Control",)}, "pan_zoom", [0, 0, 0]),
        (["mouse_release"], {}, "transform", [0, 0, 0]),  # a click there has its own meaning
        (["mouse_move", "mouse_release"], {}, "pan_zoom", [0, 0, 0]),  # a drag
    ],
)
def test_a_click_moves_the_cursor(
    views: tuple[ViewerModel, ...],
    types: list[str],
    event: dict[str, Any],
    mode: str,
    expected: list[int],
) -> None:
    Cursor(views)
    views[2].layers[0].mode = mode
    views[2].layers.selection.active = views[2].layers[0]
    given: dict[str, Any] = {"button": 1, "modifiers": (), "position": (-4.0, 3.0, 108.0)} | event
    moves = [SimpleNamespace(type="mouse_press", **given)]
    moves += [SimpleNamespace(type=kind, **given) for kind in types]
    play(views[2], moves)
    assert slices(views) == expected


def play(view: ViewerModel, events: list[SimpleNamespace]) -> None:
    """Pass events of one press on, as napari does: generators see one event after the other."""
    current = SimpleNamespace(**vars(events[0]))
    running = [callback(view, current) for callback in view.mouse_drag_callbacks[-1:]]
    for follow in running:
        next(follow)
        for event in events[1:]:
            vars(current).update(vars(event))
            if next(follow, "over") == "over":
                break


@pytest.mark.parametrize(("modifiers", "expected"), [(("Shift",), [2, 3, 4]), ((), [0, 0, 0])])
def test_the_mouse_with_shift_moves_the_cursor(
    views: tuple[ViewerModel, ...], modifiers: tuple[str, ...], expected: list[int]
) -> None:
    Cursor(views)
    event = SimpleNamespace(modifiers=modifiers, position=(-4.0, 3.0, 108.0))
    views[0].mouse_move_callbacks[-1](views[0], event)
    assert slices(views) == expected


def test_nothing_is_left_when_it_closes(views: tuple[ViewerModel, ...]) -> None:
    before = [list(view.mouse_drag_callbacks) for view in views]
    cursor = Cursor(views)
    cursor.close()
    views[1].dims.set_current_step(1, 4)
    assert cursor.point == TRANSLATE
    assert [list(view.mouse_drag_callbacks) for view in views] == before
