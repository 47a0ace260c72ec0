"""The segment list, driven by mouse and keys."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QColorDialog, QLineEdit, QMessageBox

from napari_asmlp.viewer.colours import colour_of, is_shown
from napari_asmlp.viewer.commands import new_labels
from napari_asmlp.viewer.edit.panel import EditPanel
from napari_asmlp.viewer.edit.segment_model import EYE, LOCK, NAME, VALUE
from napari_asmlp.viewer.edit.table import class_names, locked_values
from napari_asmlp.viewer.layers import source_view
from tests.viewer.conftest import without_dock

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def edit(viewer, scan, qtbot):
    """The panel, with 4 voxels of label 1, liver, and 8 of label 2, spleen."""
    viewer.open(str(scan), plugin="napari-asmlp")
    layer = new_labels(viewer)
    voxels = source_view(layer)
    voxels[:2, :2, 0] = 1
    voxels[3:5, :2, :2] = 2
    layer.features = {"index": [0, 1, 2], "name": ["background", "liver", "spleen"]}
    layer.refresh()
    panel = without_dock(EditPanel(viewer), qtbot)
    qtbot.waitUntil(lambda: panel.segments._scanned, timeout=30_000)
    return panel


@pytest.fixture
def layer(edit):
    return edit._watched


def rows(edit):
    model = edit.segments.model
    return [
        (model.index(n, VALUE).data(), model.index(n, NAME).data()) for n in range(model.rowCount())
    ]


def click(edit, row, column, *, double=False):
    table = edit.segments.table
    place = table.visualRect(edit.segments.model.index(row, column)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=place)
    if double:
        QTest.mouseDClick(table.viewport(), LEFT, pos=place)


def type_name(edit, text):
    editor = edit.segments.table.findChild(QLineEdit)
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    QApplication.processEvents()


def delete_selected(edit, qtbot, button):
    """Press Delete, wait for the question, and answer with one of its buttons."""
    QTest.mouseClick(edit.segments.delete_button, LEFT)
    qtbot.waitUntil(lambda: edit.segments.findChild(QMessageBox) is not None, timeout=30_000)
    box = edit.segments.findChild(QMessageBox)
    answer = next(each for each in box.buttons() if button in each.text())
    text = box.text()
    QTest.mouseClick(answer, LEFT)
    return text


def test_labels_are_listed_and_a_click_selects_one(edit, layer):
    assert rows(edit) == [("1", "liver"), ("2", "spleen")]
    click(edit, 1, NAME)
    assert layer.selected_label == 2
    assert edit.tools.all_labels.current_choice == "spleen"
    layer.selected_label = 1
    assert edit.segments.table.currentIndex().row() == 0


def test_eye_and_lock_belong_to_their_row_and_select_nothing(edit, layer):
    colour = colour_of(layer, 2)
    click(edit, 1, EYE)
    assert not is_shown(layer, 2)
    assert is_shown(layer, 1)
    click(edit, 1, LOCK)
    assert locked_values(layer) == {2}
    assert layer.selected_label == 1
    assert edit.segments.table.currentIndex().row() == 0
    click(edit, 1, EYE)
    assert colour_of(layer, 2) == colour
    click(edit, 1, LOCK)
    assert locked_values(layer) == frozenset()


def test_add_is_ready_to_paint_in_a_colour_of_its_own(viewer, edit, layer):
    QTest.mouseClick(edit.segments.add_button, LEFT)
    assert rows(edit) == [("1", "liver"), ("2", "spleen"), ("3", "label 3")]
    assert layer.selected_label == 3
    assert layer.mode == "paint"
    assert viewer.layers.selection.active == layer
    assert colour_of(layer, 3) not in (colour_of(layer, 1), colour_of(layer, 2))


def test_a_double_click_renames_and_the_status_bar_knows(viewer, edit, layer):
    click(edit, 1, NAME, double=True)
    type_name(edit, "left spleen")
    assert class_names(layer) == {1: "liver", 2: "left spleen"}
    place = layer.data_to_world(np.argwhere(layer.data == 2)[0])
    viewer.dims.set_point((0, 1, 2), place)
    assert layer.get_status(place, world=True)["value"] == "2; name: left spleen"


def test_f2_renames_and_a_name_that_is_taken_is_refused(edit, layer, notes):
    click(edit, 1, NAME)
    QTest.keyClick(edit.segments.table, Qt.Key.Key_F2)
    type_name(edit, "Liver")
    assert "label 1 is called 'liver' already" in notes[-1]
    assert rows(edit)[1] == ("2", "spleen")


def test_the_colour_is_chosen_by_a_double_click(edit, layer, monkeypatch):
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#ff0080"))
    click(edit, 1, VALUE, double=True)
    assert colour_of(layer, 2) == pytest.approx((1, 0, 128 / 255, 1), abs=1e-3)
    assert layer.get_color(2) == pytest.approx((1, 0, 128 / 255, 1), abs=1e-3)


def test_delete_says_how_many_voxels_go_and_undo_brings_all_back(edit, layer, qtbot):
    before = layer.data.copy()
    click(edit, 1, NAME)
    assert delete_selected(edit, qtbot, "Delete") == "8 voxels of 'spleen' become background."
    np.testing.assert_array_equal(layer.data, np.where(before == 2, 0, before))
    assert rows(edit) == [("1", "liver")]
    assert layer.selected_label == 1
    QTest.mouseClick(edit.history.undo, LEFT)
    np.testing.assert_array_equal(layer.data, before)
    qtbot.waitUntil(lambda: rows(edit) == [("1", "liver"), ("2", "spleen")], timeout=30_000)


def test_delete_can_be_called_off(edit, layer, qtbot):
    before = layer.data.copy()
    delete_selected(edit, qtbot, "Cancel")
    np.testing.assert_array_equal(layer.data, before)
    assert len(rows(edit)) == 2


def test_an_empty_label_is_deleted_at_once(edit, layer, qtbot):
    QTest.mouseClick(edit.segments.add_button, LEFT)
    QTest.mouseClick(edit.segments.delete_button, LEFT)
    qtbot.waitUntil(lambda: len(rows(edit)) == 2, timeout=30_000)
    assert layer.selected_label == 2
    assert edit.history.edits.undo_title == ""


def test_a_locked_label_is_not_deleted(edit, layer, notes):
    click(edit, 0, LOCK)
    QTest.mouseClick(edit.segments.delete_button, LEFT)
    assert notes[-1] == "'liver' is locked: unlock it to delete it"
    assert edit.brush.text.text() == "liver is locked: unlock it to paint it"


def test_show_alone_follows_the_selection(edit, layer):
    QTest.mouseClick(edit.segments.alone_button, LEFT)
    assert layer.show_selected_label
    click(edit, 1, EYE)  # changes the colormap, which must not show the others again
    click(edit, 1, EYE)
    assert layer.colormap.use_selection
    layer.show_selected_label = False
    assert not edit.segments.alone_button.isChecked()


def test_thousands_of_labels_are_all_listed(viewer, edit, qtbot):
    many = np.arange(1, 5001, dtype=np.uint16).reshape(5, 10, 100)
    edit.layer.value = viewer.add_labels(many, name="many")
    qtbot.waitUntil(lambda: len(rows(edit)) == 5000, timeout=30_000)
    assert rows(edit)[-1] == ("5000", "label 5000")


def test_a_full_layer_takes_no_further_label(viewer, edit, qtbot, notes):
    full = np.arange(1, 256, dtype=np.uint8).reshape(5, 3, 17)
    edit.layer.value = viewer.add_labels(full, name="full")
    qtbot.waitUntil(lambda: len(rows(edit)) == 255, timeout=30_000)
    QTest.mouseClick(edit.segments.add_button, LEFT)
    assert "labels 'full' (uint8) hold 255 at most" in notes[-1]


def test_without_labels_nothing_can_be_pressed(viewer, edit, layer):
    viewer.layers.remove(layer)
    assert rows(edit) == []
    for button in (edit.segments.add_button, edit.segments.delete_button):
        assert not button.isEnabled()
    assert not edit.history.undo.isEnabled()
