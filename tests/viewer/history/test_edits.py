from __future__ import annotations

import gc
import weakref

import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_asmlp.edit import Change, runs
from napari_asmlp.edit.step import Step
from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.viewer.edit.table import lock
from napari_asmlp.viewer.history import edits as module
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import image_layer_data, labels_on, source_view
from napari_asmlp.viewer.planes.twins import twin_of
from napari_asmlp.volume import Volume

from ..conftest import AFFINE, SHAPE


def on_scan(order: str) -> Labels:
    """Labels whose data are a turned, flipped view of an array of either order."""
    ((data, attributes, _),) = image_layer_data(Volume(np.zeros(SHAPE), Grid(SHAPE, AFFINE)))
    return labels_on(Image(data, **attributes), np.zeros(SHAPE, np.uint8, order=order))


def foreign() -> Labels:
    return Labels(np.zeros((5, 6, 7), np.int32))


def strided() -> Labels:
    return Labels(np.zeros((5, 12, 7), np.uint16)[:, ::2])


LAYERS = pytest.mark.parametrize(
    "make", [lambda: on_scan("C"), lambda: on_scan("F"), foreign, strided]
)


@pytest.fixture
def shown():
    def add(layer: Labels) -> Labels:
        ViewerModel().add_layer(layer)
        return layer

    return add


def paint(layer):
    layer.paint((2, 3, 3), 2)


def stroke(layer):
    with layer.block_history():
        layer.paint((2, 3, 3), 2)
        layer.paint((2, 3, 4), 3)
        layer.paint((2, 4, 4), 2)


def fill(layer):
    layer.fill((2, 0, 0), 4)


def polygon(layer):
    layer.paint_polygon([(2, 1, 1), (2, 1, 4), (2, 4, 4), (2, 4, 1)], 5)


def polygon_in_3d(layer):
    layer.n_edit_dimensions = 3
    layer.brush_size = 4
    layer.paint((2, 3, 3), 6)


def voxels(layer):
    layer.data_setitem((np.array([0, 1, 1]), np.array([2, 0, 2]), np.array([3, 3, 1])), [7, 8, 9])


PAINTERS = [paint, stroke, fill, polygon, polygon_in_3d, voxels]


@LAYERS
def test_each_way_to_paint_is_one_step_both_ways(make, shown):
    layer = shown(make())
    edits = edits_of(layer)
    layer.brush_size = 3
    states = [layer.data.copy()]
    for painter in PAINTERS:
        painter(layer)
        states.append(layer.data.copy())
        assert not np.array_equal(states[-1], states[-2])
    assert len(edits.history.past) == len(PAINTERS)
    for state in states[-2::-1]:
        layer.undo()
        assert (layer.data == state).all()
    for state in states[1:]:
        layer.redo()
        assert (layer.data == state).all()
    assert not layer._undo_history  # napari keeps nothing


@LAYERS
def test_what_was_painted_is_known_where_it_is_in_the_volume(make, shown):
    layer = shown(make())
    edits = edits_of(layer)
    layer.brush_size = 3
    stroke(layer)
    assert (edits.corrected() == (edits.array != 0)).all()
    assert edits.corrected().shape == edits.array.shape


@LAYERS
def test_tools_and_strokes_share_one_history(make, shown):
    layer = shown(make())
    edits = edits_of(layer)
    paint(layer)
    before = edits.array.copy()
    box = (slice(1, 3), slice(0, 2), slice(2, 4))
    change = Change(box, np.ones((2, 2, 2), bool), np.full(8, 3))
    edits.commit(change, "grow")
    assert (edits.array[box] == 3).all()
    assert edits.undo_title == "grow"
    layer.undo()
    assert (edits.array == before).all()
    assert (edits.undo_title, edits.redo_title) == ("edit", "grow")
    edits.undo()
    assert not layer.data.any()
    assert edits.undo_title == ""
    layer.undo()  # nothing is left


def test_a_step_packed_from_a_contiguous_copy_fits_a_strided_layer(shown):
    layer = shown(strided())
    after = np.array(layer.data)
    after[1, 2] = 9
    edits_of(layer).commit(Step.between(np.asfortranarray(layer.data), after, "tool"))
    assert (layer.data == after).all()
    assert edits_of(layer).corrected().sum() == 7


def test_strokes_that_change_nothing_are_no_steps(shown):
    layer = shown(foreign())
    edits = edits_of(layer)
    with layer.block_history():
        layer.paint((2, 3, 3), 2)
        layer.paint((2, 3, 3), 0)
    layer.paint((2, 3, 3), 0)
    assert edits.history.past == ()


def test_large_negative_and_wide_values_come_back(shown):
    layer = shown(Labels(np.full((2, 3, 4), -70_000, np.int64)))
    edits_of(layer)
    layer.paint((1, 1, 1), 2**40)
    layer.undo()
    assert (layer.data == -70_000).all()
    layer.redo()
    assert layer.data[1, 1, 1] == 2**40


def test_a_2d_layer_has_a_history_too(shown):
    layer = shown(Labels(np.zeros((5, 6), np.uint8)))
    edits_of(layer)
    layer.paint((2, 3), 2)
    assert layer.data.any()
    layer.undo()
    assert not layer.data.any()


def test_a_prediction_is_no_correction(shown):
    layer = shown(foreign())
    edits = edits_of(layer)
    layer.brush_size = 1
    layer.paint((2, 3, 3), 1)
    after = edits.array.copy()
    after[2] = 5
    edits.commit(Step.between(edits.array, after, "segment", "prediction"))
    assert not edits.corrected().any()
    layer.paint((2, 0, 0), 1)
    assert edits.corrected().sum() == 1


def test_a_guard_limits_brush_fill_and_polygon(shown):
    layer = shown(foreign())
    edits = edits_of(layer)
    assert edits.can_guard

    def left_half(key, region):
        columns = np.arange(*key[2].indices(7))
        return np.broadcast_to(columns < 4, region.shape)

    edits.guard = left_half
    layer.brush_size = 5
    for painter in (paint, fill, polygon):
        painter(layer)
        assert not layer.data[..., 4:].any()
    assert layer.data.any()
    edits.guard = None
    layer.fill((2, 0, 6), 4)
    assert layer.data[..., 4:].any()


def test_replaced_data_begin_a_new_history(shown):
    layer = shown(foreign())
    edits = edits_of(layer)
    paint(layer)
    layer.data = np.zeros((3, 4, 5), np.uint8)
    assert edits.history.past == ()
    layer.undo()
    layer.paint((1, 1, 1), 3)
    assert edits.array[1, 1, 1] == 3
    layer.undo()
    assert not layer.data.any()


def test_an_undo_in_the_middle_of_a_stroke_takes_its_beginning_back(shown):
    layer = shown(foreign())
    edits_of(layer)
    layer.brush_size = 1
    with layer.block_history():
        layer.paint((2, 3, 3), 2)
        layer.undo()
        layer.paint((2, 3, 5), 2)
    assert layer.data[2, 3, 3] == 0
    assert layer.data[2, 3, 5] == 2
    layer.undo()
    assert not layer.data.any()


def test_replaced_data_in_the_middle_of_a_stroke_are_left_alone(shown):
    layer = shown(foreign())
    edits_of(layer)
    edits_of(layer).join(twin := twin_of(layer))
    with layer.block_history(), twin.block_history():
        layer.paint((2, 3, 3), 2)
        twin.paint((1, 1, 1), 3)
        layer.data = np.full((5, 6, 7), 7, np.int32)
    assert not edits_of(layer).history.past
    layer.undo()
    assert (layer.data == 7).all()


def test_a_layer_that_is_made_read_only_keeps_the_stroke_as_a_step(shown):
    layer = shown(foreign())
    edits = edits_of(layer)
    layer.mode = "paint"
    with layer.block_history():
        layer.paint((2, 3, 3), 2)
        layer.editable = False
    assert len(edits.history.past) == 1
    assert layer.data.any()
    edits.undo()
    assert not layer.data.any()


def test_twins_share_history_guard_and_undo(shown):
    layer = shown(on_scan("F"))
    twin = shown(Labels(layer.data, scale=layer.scale, translate=layer.translate))
    twin.metadata.update(layer.metadata)
    edits = edits_of(layer)
    edits.join(twin)
    twin.paint((2, 3, 3), 2)
    layer.paint((1, 3, 3), 3)
    assert len(edits.history.past) == 2
    twin.undo()
    twin.undo()
    assert not layer.data.any()
    layer.redo()
    assert twin.data[2, 3, 3] == 2
    edits.guard = lambda _key, region: np.zeros(region.shape, bool)
    twin.paint((0, 0, 0), 4)
    assert layer.data[0, 0, 0] == 0


def test_a_layer_of_other_labels_is_no_twin(shown):
    layer = shown(foreign())
    with pytest.raises(GridError, match="same labels"):
        edits_of(layer).join(shown(foreign()))


def test_what_cannot_be_edited_is_refused(shown):
    lazy = Labels(dask.array.zeros((3, 4, 5), dtype=np.uint8))
    with pytest.raises(SettingsError, match="not in memory"):
        edits_of(lazy)
    frozen = np.zeros((3, 4, 5), np.uint8)
    frozen.flags.writeable = False
    layer = shown(Labels(frozen))
    step = Step.between(frozen, np.ones_like(frozen))
    with pytest.raises(VolumeError, match="read-only"):
        edits_of(layer).commit(step)
    assert edits_of(layer).history.past == ()
    wrong = Step.between(np.zeros((3, 4, 6), np.uint8), np.ones((3, 4, 6), np.uint8))
    with pytest.raises(GridError, match="does not fit"):
        edits_of(layer).commit(wrong)


def test_a_moved_layer_begins_anew_instead_of_writing_elsewhere(shown):
    layer = shown(on_scan("F"))
    edits = edits_of(layer)
    paint(layer)
    layer.translate = (0, 0, 0)  # its axes now are those shown
    now = source_view(layer)
    after = now.copy()
    after[0] = 3
    edits.commit(Step.between(now, after, "tool"))
    assert (source_view(layer) == after).all()
    layer.undo()
    assert not (source_view(layer)[0] == 3).any()


def test_a_layer_is_not_kept_alive(shown):
    layer = shown(foreign())
    edits_of(layer)
    paint(layer)
    gone = weakref.ref(layer)
    del layer
    gc.collect()
    assert gone() is None


@pytest.fixture
def slow(qapp, monkeypatch):
    """Steps in many parts, one in each slot."""
    monkeypatch.setattr(runs, "PART", 1)
    monkeypatch.setattr(module, "_SLOT_SECONDS", 0)
    layer = foreign()
    ViewerModel().add_layer(layer)
    edits = edits_of(layer)
    edits.commit(Step.between(layer.data, np.ones((5, 6, 7), np.int32), "all"))
    return layer, edits


def test_a_large_step_is_written_while_the_window_lives(slow, qtbot):
    layer, edits = slow
    assert edits.busy
    assert not layer.data.all()
    qtbot.waitUntil(lambda: not edits.busy)
    assert layer.data.all()
    layer.undo()
    layer.redo()
    layer.undo()  # both wait for their turn
    assert edits.busy
    qtbot.waitUntil(lambda: not edits.busy)
    assert not layer.data.any()


def test_painting_meanwhile_comes_after_it(slow):
    layer, edits = slow
    layer.paint((2, 3, 3), 5)
    assert not edits.busy
    assert np.unique(layer.data).tolist() == [1, 5]
    layer.undo()
    edits.undo()
    edits.settle()
    assert not layer.data.any()


def test_who_listens_hears_what_happens(shown):
    layer = shown(foreign())
    edits = edits_of(layer)
    heard = []
    edits.changed.connect(lambda: heard.append("changed"))
    edits.finished.connect(lambda: heard.append("finished"))
    paint(layer)
    layer.undo()
    assert heard == ["changed", "changed", "finished"]


def test_locks_hold_without_any_panel(shown):
    layer = shown(on_scan("C"))
    lock(layer, 2, on=True)
    twin = twin_of(layer)
    ViewerModel().add_layer(twin)
    edits_of(layer).join(twin)
    layer.brush_size = twin.brush_size = 3
    layer.paint((2, 3, 3), 1)
    source_view(layer)[source_view(layer) == 1] = 2  # locked from here on
    before = layer.data.copy()
    layer.selected_label = twin.selected_label = 1
    for member in (layer, twin):
        member.brush_size = 9
        member.paint((2, 3, 3), 1)
        assert (layer.data[before == 2] == 2).all()
        assert np.count_nonzero(layer.data == 1) > 10
        layer.undo()
        layer.selected_label = twin.selected_label = 2
        member.paint((2, 3, 3), 2)  # a locked label gains nothing
        assert (layer.data == before).all()
        layer.selected_label = twin.selected_label = 1


def test_a_result_comes_beneath_strokes(shown):
    layer = shown(on_scan("F"))
    edits, rng = edits_of(layer), np.random.default_rng(0)
    layer.brush_size = 5
    result = rng.integers(0, 4, SHAPE, np.uint8)
    strokes = [((2, 3, 3), 2), ((4, 5, 4), 1), ((2, 4, 3), 0), ((5, 2, 2), 3)]
    boxes = [(slice(0, 6), slice(0, 7), slice(first, first + 2)) for first in range(0, SHAPE[2], 2)]
    for (place, value), box in zip(strokes, boxes, strict=True):
        layer.paint(place, value)
        edits.lay_beneath(box, result[box])
    layer.undo()
    assert (edits.array != result).any()
    while edits.history.past:
        layer.undo()
    assert (edits.array == result).all()
    layer.redo()
    assert set(edits.array[edits.array != result].tolist()) == {2}
    assert (edits.corrected() >= (edits.array != result)).all()


def test_a_result_ends_a_stroke_that_is_under_way(shown):
    layer = shown(on_scan("C"))
    edits = edits_of(layer)
    whole = tuple(slice(0, size) for size in SHAPE)
    with layer.block_history():
        layer.paint((2, 3, 3), 2)
        edits.lay_beneath(whole, np.full(SHAPE, 1, np.uint8))
        layer.paint((2, 3, 3), 3)
    assert len(edits.history.past) == 2
    layer.undo()
    layer.undo()
    assert (layer.data == 1).all()


def test_the_stamp_tells_edits_from_another_slice(shown):
    layer = on_scan("C")
    viewer = ViewerModel()
    viewer.add_layer(layer)
    edits = edits_of(layer)
    stamps = [edits.stamp]
    viewer.dims.set_current_step(0, 3)
    assert edits.stamp == stamps[0]
    for change in (lambda: paint(layer), layer.undo, layer.redo, edits.clear, layer.refresh):
        change()
        assert edits.stamp not in stamps
        stamps.append(edits.stamp)
    layer.data = layer.data.copy()
    assert edits.stamp not in stamps
    layer.visible = False
    assert edits.stamp != edits.stamp  # nobody says when a hidden layer is written into
