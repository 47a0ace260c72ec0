"""The Teach panel without a window: what it shows, starts by itself, keeps and gives back."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_asmlp.io import write_volume
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.teach import watch
from napari_asmlp.viewer.teach.class_box import NAME, SLICES, VOXELS
from napari_asmlp.viewer.teach.classes import BACKGROUND
from napari_asmlp.viewer.teach.panel import TeachPanel
from tests.viewer.conftest import close_dock, without_dock
from tests.viewer.teach.scans import SHAPE, image_volume, paint_slice, scan, stroke

PATIENCE = 30_000


@pytest.fixture
def panel(viewer, teacher, monkeypatch, qtbot):
    """With a scan and empty annotations."""
    monkeypatch.setattr(watch, "REST_MS", 50)
    viewer.add_layer(scan())
    panel = without_dock(TeachPanel(viewer), qtbot)
    panel.new_annotations()
    return panel


@pytest.fixture
def layer(panel):
    return panel.pair.annotations


def until(qtbot, holds):
    qtbot.waitUntil(holds, timeout=PATIENCE)


def settle(panel, qtbot):
    course = panel.course
    until(qtbot, lambda: not course.rounds.is_busy and not course.labels.is_busy)


def taught(panel):
    return source_view(panel.pair.taught)


def begin(panel, layer, qtbot):
    """Paint a slice, teach, and wait for the end of the round."""
    paint_slice(layer, 7)
    panel.running.teach_button.click()
    settle(panel, qtbot)


def hold(panel, layer, teacher, qtbot):
    """Begin a round that has given its first answer and waits before the second."""
    teacher.hold_at = 1
    paint_slice(layer, 7)
    panel.teach()
    until(qtbot, lambda: panel.pair.taught is not None and taught(panel).any())


def test_it_begins_with_a_brush_and_says_what_0_is(panel, viewer, layer):
    assert viewer.layers.selection.active is layer
    assert layer.mode == "paint"
    assert "Background has its own value" in panel.classes.zero.text()
    assert panel.classes.table.item(0, NAME).text() == "background"


def test_it_counts_what_is_painted(panel, layer, qtbot):
    paint_slice(layer, 7)
    table = panel.classes.table
    until(qtbot, lambda: table.item(0, VOXELS).text() != "0")
    inside = int(np.count_nonzero(layer.data == 1))
    outside = SHAPE[0] * SHAPE[1] - inside
    assert [table.item(n, VOXELS).text() for n in (0, 1)] == [str(outside), str(inside)]
    assert [table.item(n, SLICES).text() for n in (0, 1)] == ["1", "1"]
    assert panel.classes.note.text() == ""


def test_a_round_labels_the_volume_in_steps_and_keeps_what_is_painted(panel, layer, teacher, qtbot):
    begin(panel, layer, qtbot)
    assert teacher.rounds == 1
    view = taught(panel)
    np.testing.assert_array_equal(view[..., 7], source_view(layer)[..., 7] == 1)
    assert (np.delete(view, 7, axis=2) == 1).all()
    assert panel.running.status.text().startswith("Done: answer; the network has taken 3 steps")
    assert panel.course.states.kept[0].title.startswith("round 1, ")
    panel.pair.taught.undo()
    assert not view.any()


def test_auto_begins_when_the_hand_rests_and_only_for_something_new(panel, layer, teacher, qtbot):
    panel.running.auto.setChecked(True)
    stroke(layer, np.s_[1, 1, 1:4], 1)
    until(qtbot, lambda: "Only 'class 1' is painted" in panel.classes.note.text())
    assert teacher.rounds == 0
    stroke(layer, np.s_[2, 1, 1:4], BACKGROUND)
    until(qtbot, lambda: teacher.rounds == 1)
    settle(panel, qtbot)
    panel.pair.taught.undo()  # says nothing of any voxel
    panel.watch.count()
    qtbot.wait(200)
    assert teacher.rounds == 1
    stroke(panel.pair.taught, np.s_[5, 5, 5:7], 1)  # a correction does
    until(qtbot, lambda: teacher.rounds == 2)
    settle(panel, qtbot)
    assert teacher.known[panel.pair.key][1].classes[5, 5, 5] == 1


def test_corrections_stay_in_the_next_round(panel, layer, qtbot):
    begin(panel, layer, qtbot)
    stroke(panel.pair.taught, np.s_[5, 5, 10:14], 0)
    panel.teach()
    settle(panel, qtbot)
    assert not taught(panel)[5, 5, 10:14].any()
    kinds = [step.kind for step in edits_of(panel.pair.taught).history.past]
    assert kinds[-1] == "edit" or kinds.count("edit") == 1


def test_stop_keeps_the_labels_and_what_was_learnt(panel, layer, teacher, qtbot):
    hold(panel, layer, teacher, qtbot)
    panel.running.stop_button.click()
    teacher.go.set()
    settle(panel, qtbot)
    assert teacher.closed.wait(10)
    assert panel.running.status.text().startswith("Stopped")
    assert taught(panel).any()
    assert len(panel.course.states.kept) == 1


def test_pause_waits_and_goes_on(panel, layer, teacher, qtbot):
    hold(panel, layer, teacher, qtbot)
    panel.running.pause_button.click()
    assert panel.running.pause_button.text() == "Go on"
    teacher.go.set()
    qtbot.wait(300)
    assert panel.course.rounds.is_paused
    panel.running.pause_button.click()
    settle(panel, qtbot)
    assert panel.running.status.text().startswith("Done")


def test_a_second_press_begins_again_after_the_first(panel, layer, teacher, qtbot):
    hold(panel, layer, teacher, qtbot)
    stroke(layer, np.s_[1, 1, 1:4], 1)
    panel.teach()
    assert teacher.rounds == 1
    teacher.go.set()
    settle(panel, qtbot)
    assert teacher.rounds == 2
    assert teacher.known[panel.pair.key][1].classes[1, 1, 1] == 1


def test_back_to_an_earlier_round(panel, layer, teacher, qtbot):
    begin(panel, layer, qtbot)
    before = taught(panel).copy()
    panel.classes.add_button.click()
    stroke(layer, np.s_[1, 1, 1:4], 2)
    stroke(panel.pair.taught, np.s_[5, 5, 10:14], 2)
    panel.teach()
    settle(panel, qtbot)
    assert not np.array_equal(taught(panel), before)
    panel.running.back_menu.actions()[-1].trigger()
    settle(panel, qtbot)
    assert teacher.restored == [1]
    before[5, 5, 10:14] = before[1, 1, 1:4] = 2  # what a person said stays
    np.testing.assert_array_equal(taught(panel), before)
    assert "Back to round 1" in panel.running.status.text()


@pytest.mark.parametrize("gone", ["image", "annotations", "taught"])
def test_a_layer_that_goes_stops_the_round(panel, viewer, layer, teacher, gone, notes, qtbot):
    hold(panel, layer, teacher, qtbot)
    removed = getattr(panel.pair, gone)
    kept = panel.pair.taught
    labels = source_view(kept).copy()
    viewer.layers.remove(removed)
    teacher.go.set()
    settle(panel, qtbot)
    assert "has been removed: the round was stopped" in panel.running.status.text()
    np.testing.assert_array_equal(source_view(kept), labels)
    assert removed not in viewer.layers
    assert notes == []


def test_undo_in_the_middle_of_a_round(panel, layer, teacher, qtbot):
    hold(panel, layer, teacher, qtbot)
    panel.pair.taught.undo()
    assert not taught(panel).any()
    layer.undo()  # the last stroke, of background
    teacher.go.set()
    settle(panel, qtbot)
    assert taught(panel).any()
    assert not (source_view(layer) == BACKGROUND).any()


def test_the_panel_may_be_closed_and_opened_in_the_middle(panel, layer, teacher, qtbot):
    hold(panel, layer, teacher, qtbot)
    labels = taught(panel).copy()
    close_dock(panel)
    teacher.go.set()
    settle(panel, qtbot)
    np.testing.assert_array_equal(taught(panel), labels)
    panel.setParent(panel.place)
    panel.teach()
    settle(panel, qtbot)
    assert teacher.rounds == 2


def test_wrong_input_is_said_in_one_line_and_the_result_stays(panel, layer, teacher, notes, qtbot):
    panel.teach()
    settle(panel, qtbot)
    assert notes == ["ball 0: Nothing is painted yet: choose a class and paint a few strokes of it"]
    assert panel.running.status.text().startswith("ball 0: Nothing is painted")
    begin(panel, layer, qtbot)
    before = taught(panel).copy()
    layer.undo()
    panel.teach()
    settle(panel, qtbot)
    assert "Only 'class 1' is painted" in notes[-1]
    np.testing.assert_array_equal(taught(panel), before)


def test_classes_are_named_added_removed(panel, layer, notes, qtbot):
    box = panel.classes
    box.table.item(1, NAME).setText("cell")
    assert class_names(layer)[1] == "cell"
    box.add_button.click()
    assert layer.selected_label == 2
    box.table.item(2, NAME).setText("cell")
    assert "called 'cell' already" in notes[-1]
    stroke(layer, np.s_[1, 1, 1:4], 2)
    box.remove_button.click()
    assert not layer.data.any()
    until(qtbot, lambda: box.table.rowCount() == 2)


def test_a_class_is_picked_for_either_layer(panel, viewer, layer, qtbot):
    begin(panel, layer, qtbot)
    panel.classes.picked.emit(BACKGROUND)
    assert layer.selected_label == BACKGROUND
    assert panel.pair.taught.selected_label == 0
    assert viewer.layers.selection.active is layer
    viewer.layers.selection.active = panel.pair.taught
    panel.classes.picked.emit(1)
    assert panel.pair.taught.selected_label == 1
    assert viewer.layers.selection.active is panel.pair.taught


def test_where_next_goes_there_and_says_why(panel, viewer, layer, notes, qtbot):
    panel.where_next()
    assert "there is no answer to doubt yet" in notes[-1]
    begin(panel, layer, qtbot)
    panel.next.button.click()
    until(qtbot, lambda: panel.next.why.text() != "")
    first, orders = panel.next.why.text(), [tuple(viewer.dims.order)]
    assert "most doubt, far from all that is painted" in first
    panel.next.button.click()
    until(qtbot, lambda: panel.next.why.text() != first)
    orders.append(tuple(viewer.dims.order))
    assert orders[0] != orders[1]
    index = layer.world_to_data(viewer.dims.point)
    np.testing.assert_allclose(index, layer.world_to_data(viewer.dims.point).round())


def test_doubt_is_shown_and_hidden(panel, viewer, layer, qtbot):
    begin(panel, layer, qtbot)
    panel.next.doubt.setChecked(True)
    shown = viewer.layers["doubt: ball 0"]
    assert int(np.count_nonzero(shown.data)) == 1
    assert panel.sources.image.name == "ball 0"
    assert [name for name, _ in panel.sources._images(None)] == ["ball 0"]
    panel.next.doubt.setChecked(False)
    assert shown not in viewer.layers


def test_several_volumes_are_learnt_from(panel, viewer, layer, teacher, qtbot):
    begin(panel, layer, qtbot)
    first = panel.pair
    viewer.add_layer(scan(1))
    panel.sources.image_combo.value = viewer.layers["ball 1"]
    assert panel.pair is not first
    assert panel.sources.annotations is None
    panel.new_annotations()
    paint_slice(panel.pair.annotations, 8)
    panel.teach()
    settle(panel, qtbot)
    assert set(teacher.known) == {first.key, panel.pair.key}
    assert panel.pair.taught.name == "taught: ball 1"
    assert panel.sources.volumes.count() == 2
    panel.sources.volumes.itemClicked.emit(panel.sources.volumes.item(0))
    assert panel.pair is first
    second = panel.sources.volumes.item(1)
    second.setCheckState(second.checkState().__class__(0))
    panel.teach()
    settle(panel, qtbot)
    assert set(teacher.known) == {first.key}


def test_channels_are_ticked(panel, viewer, layer, teacher, qtbot):
    viewer.add_layer(scan(1))
    assert panel.sources.image.name == "ball 1"  # which has just been opened
    viewer.layers.selection.active = layer
    (action,) = panel.sources.channels_menu.actions()
    action.setChecked(True)
    assert panel.sources.channels_button.text().strip() == "2 channels"
    begin(panel, layer, qtbot)
    assert teacher.known[panel.pair.key][0].channels == 2


def test_another_image_is_labelled(panel, viewer, layer, notes, qtbot):
    other = viewer.add_layer(scan(1))
    viewer.layers.selection.active = layer
    panel.use.applied.emit(other)
    assert "nothing has been taught yet" in notes[-1]
    begin(panel, layer, qtbot)
    panel.use.applied.emit(other)
    settle(panel, qtbot)
    assert (viewer.layers["taught: ball 1"].data == 1).all()
    assert "Layer 'taught: ball 1' is there" in panel.running.status.text()


def test_an_image_in_a_file_is_opened_and_labelled(
    panel, viewer, layer, tmp_path, monkeypatch, qtbot
):
    path = write_volume(image_volume(2), tmp_path / "other.nii.gz")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    begin(panel, layer, qtbot)
    panel.use.apply_menu.actions()[-1].trigger()
    settle(panel, qtbot)
    assert (viewer.layers["taught: other"].data == 1).all()


def test_no_file_chosen_is_no_model_saved(panel, layer, notes, monkeypatch, qtbot):
    panel.save_model()
    assert "nothing has been taught yet" in notes[-1]
    begin(panel, layer, qtbot)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    panel.save_model()
    assert len(notes) == 1
