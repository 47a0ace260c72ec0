from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_asmlp.grid import Grid, Region
from napari_asmlp.preprocess import Slab
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import image_layer_data, labels_on, shown_index, source_view
from napari_asmlp.viewer.segment.live import LiveLabels
from napari_asmlp.volume import Volume
from tests.viewer.conftest import AFFINE, ENTRIES, SHAPE

LOWER = Region((0, 0, 0), (6, 7, 3))
UPPER = Region((0, 0, 3), (6, 7, 8))


@pytest.fixture
def viewer():
    model = ViewerModel()
    volume = Volume(np.zeros(SHAPE), Grid(SHAPE, AFFINE))
    ((data, attributes, _),) = image_layer_data(volume)
    model.add_image(data, **attributes)
    return model


def empty(viewer, name="live"):
    image = viewer.layers[0]
    assert isinstance(image, Image)
    return labels_on(image, np.zeros(SHAPE, np.uint8), (), name)


@pytest.fixture
def target(viewer):
    """Labels painted by hand: 9 everywhere."""
    layer = empty(viewer, "mine")
    source_view(layer)[:] = 9
    viewer.add_layer(layer)
    edits_of(layer)
    return layer


def slab(region, value):
    return Slab(region, np.full(region.shape, value, np.uint8))


def packed(live):
    """Do what the task does that finds what a preview changes."""
    steps = live.packing().start()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def ended(live):
    """Do what a run does at its end."""
    if live.is_preview:
        assert live.commit(packed(live))
    return live.finish()


def test_a_new_layer_appears_with_the_first_planes_and_fills(viewer):
    live = LiveLabels(viewer, empty(viewer))
    assert "live" not in viewer.layers
    live.write(slab(LOWER, 1))
    assert "live" in viewer.layers
    live.write(slab(UPPER, 2))
    layer = ended(live)
    assert layer is viewer.layers["live"]
    view = source_view(layer)
    assert (view[LOWER.slices] == 1).all()
    assert (view[UPPER.slices] == 2).all()


def test_without_a_slab_nothing_is_added(viewer):
    assert LiveLabels(viewer, empty(viewer)).finish() is None
    assert len(viewer.layers) == 1


def test_a_preview_is_committed_as_one_change_that_undo_takes_back(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 1))
    live.write(slab(UPPER, 2))
    assert (target.data == 9).all()
    assert not target.visible
    assert ended(live) is target
    assert "preview" not in viewer.layers
    assert target.visible
    assert set(np.unique(target.data)) == {1, 2}
    target.undo()
    assert (target.data == 9).all()
    target.redo()
    assert (source_view(target)[UPPER.slices] == 2).all()


def test_only_what_is_finished_is_committed(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 1))
    source_view(target)[0, 0, 7] = 4  # painted meanwhile, where nothing is finished
    ended(live)
    view = source_view(target)
    assert (view[LOWER.slices] == 1).all()
    assert view[0, 0, 7] == 4
    assert np.count_nonzero(view[UPPER.slices] == 9) == 6 * 7 * 5 - 1


def test_background_is_a_result_too(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 0))
    ended(live)
    assert not source_view(target)[LOWER.slices].any()


def test_equal_labels_leave_nothing_to_undo(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 9))
    ended(live)
    target.undo()
    assert (target.data == 9).all()


@pytest.mark.parametrize("deleted", ["mine", "preview"])
def test_a_deleted_layer_is_noticed_and_the_rest_left_alone(viewer, target, deleted):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 1))
    viewer.layers.remove(viewer.layers[deleted])
    assert live.is_gone
    live.redraw()
    kept = ended(live)
    if deleted == "mine":
        assert kept is viewer.layers["mine"]  # what was a preview, and can be edited now
        assert kept is not target
        assert kept.editable
        assert "preview" not in viewer.layers
    else:
        assert kept is None
        assert (target.data == 9).all()
        assert target.visible


def test_in_3d_before_the_mouse_has_moved(viewer, target):
    target.features = {"index": [9], "name": ["mine"]}
    viewer.dims.ndisplay = 3
    live = LiveLabels(
        viewer, labels_on(viewer.layers[0], np.zeros(SHAPE, np.uint8), ENTRIES), target
    )
    live.write(slab(LOWER, 1))
    assert ended(live) is target


def test_a_closed_viewer_is_noticed(viewer):
    live = LiveLabels(viewer, empty(viewer))
    live.write(slab(LOWER, 1))
    viewer.layers.clear()
    assert live.is_gone
    assert ended(live) is None


def paint(layer, index, value):
    layer.data_setitem(shown_index(layer, [np.array([n]) for n in index]), value)


def test_strokes_in_a_new_layer_survive_the_slabs_that_come_later(viewer):
    live = LiveLabels(viewer, empty(viewer))
    live.write(slab(LOWER, 1))
    layer = viewer.layers["live"]
    for index, value in (((0, 0, 1), 2), ((0, 0, 6), 2), ((1, 0, 6), 2), ((1, 0, 6), 0)):
        paint(layer, index, value)
    live.write(slab(UPPER, 1))
    view = source_view(ended(live))
    assert view[0, 0, 1] == view[0, 0, 6] == 2
    assert np.count_nonzero(view == 1) == 6 * 7 * 8 - 2  # what was painted and erased, too
    for _ in range(4):
        layer.undo()
    assert (view == 1).all()  # not background
    layer.redo()
    layer.redo()
    assert view[0, 0, 6] == 2


def test_a_stroke_taken_back_before_its_slab_leaves_no_hole(viewer):
    live = LiveLabels(viewer, empty(viewer))
    live.write(slab(LOWER, 1))
    layer = viewer.layers["live"]
    paint(layer, (0, 0, 6), 2)
    layer.undo()
    live.write(slab(UPPER, 1))
    assert (source_view(ended(live)) == 1).all()


def test_an_edit_while_the_result_is_compared_is_a_step_before_it(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    paint(target, (0, 0, 0), 5)
    live.write(slab(LOWER, 1))
    before = packed(live)
    target.undo()
    assert not live.commit(before)
    assert (target.data == 9).all()
    assert ended(live) is target
    assert (source_view(target)[LOWER.slices] == 1).all()
    target.undo()
    assert (target.data == 9).all()


def test_a_stroke_under_way_is_a_step_before_the_result(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 1))
    with target.block_history():
        paint(target, (0, 0, 0), 5)
        before = packed(live)
        assert not live.commit(before)
        assert ended(live) is target
    target.undo()
    assert source_view(target)[0, 0, 0] == 5
    target.undo()
    assert (target.data == 9).all()


def test_a_preview_that_could_not_be_committed_stays(viewer, target):
    live = LiveLabels(viewer, empty(viewer, "preview"), target)
    live.write(slab(LOWER, 1))
    assert live.finish(committed=False) is viewer.layers["preview"]
    assert target.visible
