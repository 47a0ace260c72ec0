"""Window and level: arithmetic, samples, presets, and drags in a viewer without a window."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_asmlp.viewer.view.contrast import (
    CT_PRESETS,
    Window,
    automatic,
    full_range,
    looks_like_hu,
    sample,
    shown_part,
)
from napari_asmlp.viewer.view.drag import ContrastDrag, drag_meanwhile


def last(steps):
    """The value that a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    ("limits", "window"),
    [((0, 100), (100, 50)), ((-160, 240), (400, 40)), ((-3, -1), (2, -2)), ((0, 0.5), (0.5, 0.25))],
)
def test_window_and_limits_are_one_thing(limits, window):
    assert Window.of(limits) == window
    assert Window(*window).limits == limits


@pytest.mark.parametrize(
    ("right", "down", "window"),
    [
        (0, 0, (400, 40)),
        (256, 0, (800, 40)),
        (-128, 0, (200, 40)),
        (0, 64, (400, 140)),
        (0, -64, (400, -60)),
        (64, 128, (500, 240)),
        (-5000, 0, (0.4, 40)),  # never empty, never turned round
    ],
)
def test_a_drag_is_in_windows_per_256_pixels(right, down, window):
    assert Window(400, 40).dragged(right, down) == pytest.approx(window)


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("Bone", -500, 1300),
        ("Lung", -1350, 150),
        ("Soft tissue", -150, 250),
        ("Brain", 0, 80),
    ],
)
def test_ct_presets(name, black, white):
    (preset,) = (preset for preset in CT_PRESETS if preset.name == name)
    assert preset.window.limits == (black, white)


@pytest.mark.parametrize(
    ("lowest", "is_ct"), [(-1024, True), (-500, True), (-499, False), (0, False)]
)
def test_ct_is_known_by_its_air(lowest, is_ct):
    assert looks_like_hu(lowest) is is_ct


def test_a_fill_value_does_not_widen_the_automatic_window():
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    filled = np.concatenate([values, np.full(200, -3024.0)])
    assert automatic(filled).limits == automatic(values).limits


def test_extremes_are_left_out_of_the_automatic_window():
    values = np.arange(1001.0)  # the n-th thousandth is n
    values[-1] = 1e6
    assert automatic(values.reshape(7, 11, 13)).limits == pytest.approx((5, 998))


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([3, 3, 3], (3, 4)),
        ([np.nan, np.nan], (0, 1)),
        ([], (0, 1)),
        ([np.nan, 2.0, np.inf, 2.0], (2, 3)),
    ],
)
def test_there_is_always_a_window(values, limits):
    assert automatic(np.array(values)).limits == limits


def test_a_sample_is_small_and_spread():
    values = sample(np.broadcast_to(np.arange(1000, dtype=np.int16), (100, 100, 1000)))
    assert 0.5e6 < values.size < 2e6
    assert values.min() == 0
    assert values.max() >= 990


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.array([[1, 2], [-7, 3]], np.int16), (-7, 3)),
        (np.array([[np.nan, 0.5], [np.inf, 2.5]]), (0.5, 2.5)),
        (np.array([[np.nan, np.nan]]), None),
        (np.zeros((0, 3)), None),
        (np.array([[255, 0]], np.uint8), (0, 255)),
    ],
)
def test_the_full_range(values, limits):
    assert last(full_range(values)) == limits


@pytest.mark.parametrize(
    ("order", "ndisplay", "expected"),
    [
        ((0, 1, 2), 2, np.s_[1, :, :]),  # at 2 mm, with 2 mm a slice
        ((1, 0, 2), 2, np.s_[:, 2, :]),
        ((2, 0, 1), 2, np.s_[:, :, 4]),  # beyond the layer: its last slice
        ((0, 1, 2), 3, np.s_[:, :, :]),
    ],
)
def test_the_part_that_is_shown(order, ndisplay, expected):
    data = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    viewer = ViewerModel(ndisplay=ndisplay)
    layer = viewer.add_image(data, scale=(2, 1, 1))
    viewer.add_image(np.zeros((9, 9, 9)))
    viewer.dims.order = order
    viewer.dims.point = (2, 2, 7)
    np.testing.assert_array_equal(shown_part(layer, viewer.dims), data[expected])


def test_a_slider_of_another_layer_does_not_count():
    data = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    viewer = ViewerModel()
    layer = viewer.add_image(data)
    viewer.add_image(np.zeros((6, 3, 4, 5)))
    viewer.dims.point = (4, 2, 0, 0)
    np.testing.assert_array_equal(shown_part(layer, viewer.dims), data[2])


def event(kind, x, y, button=1):
    return SimpleNamespace(type=kind, pos=(x, y), button=button, handled=False)


def drag(viewer, *places, button=1):
    """Drag in the canvas, and tell which of the events were handled."""
    (follow, *_) = [each for each in viewer.mouse_drag_callbacks if each.__name__ == "_follow"]
    moving = event("mouse_press", *places[0], button)
    steps, handled = follow(viewer, moving), []
    for n, place in enumerate(places):
        moving.pos, moving.handled = place, False
        moving.type = "mouse_move" if n else "mouse_press"
        next(steps, None)
        handled.append(moving.handled)
    moving.type = "mouse_release"
    next(steps, None)
    return handled


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 5)), name="ct", contrast_limits=(-160, 240))
    viewer.add_labels(np.zeros((3, 4, 5), int), name="labels")
    return viewer


def test_a_drag_sets_window_and_level(viewer):
    contrast = ContrastDrag(viewer)
    contrast.turn(on=True)
    assert drag(viewer, (10, 10), (50, 0), (74, 138)) == [True, True, True]
    # 64 pixels of 256 to the right: 400 + 100; 128 down: 40 + 200
    assert viewer.layers["ct"].contrast_limits == pytest.approx([240 - 250, 240 + 250])
    assert viewer.layers["ct"].contrast_limits_range[1] >= 490
    contrast.turn(on=False)
    assert not [each for each in viewer.mouse_drag_callbacks if each.__name__ == "_follow"]


def test_other_buttons_stay_napari_s(viewer):
    ContrastDrag(viewer).turn(on=True)
    assert drag(viewer, (0, 0), (64, 0), button=2) == [False, False]
    assert viewer.layers["ct"].contrast_limits == [-160, 240]


def test_nothing_is_painted_by_a_drag(viewer):
    viewer.layers["labels"].mode = "paint"
    held = drag_meanwhile(viewer)
    next(held)
    assert viewer.layers.selection.active is viewer.layers["ct"]
    viewer.layers.selection.active = viewer.layers["labels"]  # by somebody in between
    assert drag(viewer, (0, 0), (64, 0)) == [False, False]
    viewer.layers.selection.active = viewer.layers["ct"]
    assert next(held, "done") == "done"
    assert viewer.layers.selection.active is viewer.layers["labels"]


def test_without_an_image_there_is_nothing_to_drag():
    viewer = ViewerModel()
    contrast = ContrastDrag(viewer)
    before = list(viewer.mouse_drag_callbacks)
    contrast.turn(on=True)
    assert not contrast.is_on
    assert viewer.mouse_drag_callbacks == before
    contrast.turn(on=False)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0),
        np.float32(1e38),
        np.float32(-1e38),
        np.finfo(np.float32).max,
        np.finfo(np.float16).max,
        np.iinfo(np.uint64).max,
        np.iinfo(np.int64).min,
    ],
)
def test_an_image_of_one_value_can_be_shown_in_its_automatic_window(value):
    array = np.full((2, 3, 4), value)
    low, high = automatic(array).limits
    assert np.isfinite(np.float32([low, high])).all()
    assert np.float32(low) < np.float32(high)
    assert float(value) == pytest.approx(high if value > 1000 else low)
    layer = ViewerModel().add_image(array, contrast_limits=(low, high))
    assert tuple(layer.contrast_limits) == (low, high)
