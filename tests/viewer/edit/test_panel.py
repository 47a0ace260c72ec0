"""The Edit labels panel in a real window, and with a tool that waits where a test wants to act."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import ClassVar

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication

from napari_asmlp.edit import (
    TOOLS,
    CopySlice,
    Grow,
    GrowFromSeeds,
    RemoveSmallIslands,
    Tool,
)
from napari_asmlp.edit.tool import require
from napari_asmlp.viewer.commands import new_labels
from napari_asmlp.viewer.edit import panel as edit_panel
from napari_asmlp.viewer.edit.fields import field_title, parameter_help, tool_widgets
from napari_asmlp.viewer.layers import shown_index, source_view

STARTED, GO = Event(), Event()


@dataclass(frozen=True)
class Slow(Tool):
    """Writes 7 when it is allowed to."""

    title: ClassVar[str] = "Slow"
    fail: bool = False

    def _change(self, scope):
        STARTED.set()
        GO.wait(30)
        require(not self.fail, "this cannot be done")
        draft = scope.draft(scope.window)
        draft.new[...] = 7
        return draft.change()


@pytest.fixture
def edit(window, scan, qtbot, monkeypatch):
    """The panel, with labels 1 (a block of 8 voxels and one apart) and 2 (a block of 8)."""
    monkeypatch.setattr(edit_panel, "TOOLS", (*TOOLS, Slow))
    STARTED.clear()
    GO.clear()
    window.open(str(scan), plugin="napari-asmlp")
    layer = new_labels(window)
    voxels = source_view(layer)
    voxels[:2, :2, :2] = 1
    voxels[5, 6, 7] = 1
    voxels[3:5, :2, :2] = 2
    layer.features = {"index": [0, 1, 2], "name": ["background", "anterior", "posterior"]}
    layer.refresh()
    panel = edit_panel.EditPanel(window)
    window.window.add_dock_widget(panel, name="Edit labels")
    yield panel
    GO.set()


@pytest.fixture
def layer(edit):
    return edit.layer.value


def finish(panel, qtbot):
    qtbot.waitUntil(lambda: panel._task is None, timeout=30_000)


def paint(layer):
    """Give label 1 a voxel apart from the others."""
    layer.data_setitem(shown_index(layer, [np.array([n]) for n in (5, 0, 7)]), 1)


def rows(panel):
    return [panel.labels.item(n).text() for n in range(panel.labels.count())]


@pytest.mark.parametrize("tool", TOOLS)
def test_each_field_of_each_tool_is_shown_with_its_default_and_help(qtbot, tool):
    widgets = tool_widgets(tool)
    for name, widget in widgets.items():
        assert widget.tooltip
        default = tool.__dataclass_fields__[name].default
        assert widget.value == ("" if default is None else default)
    assert set(parameter_help(tool)) == set(widgets)
    for widget in widgets.values():
        widget.close()


def test_units_are_in_titles_and_tooltips(qtbot):
    assert field_title("smallest_mm3") == "Smallest (mm³)"
    assert field_title("mm") == "Distance (mm)"
    assert field_title("axis") == "Plane"
    assert field_title("to") == "New label"
    assert field_title("to", counts_slices=True) == "To slice"
    smallest = tool_widgets(RemoveSmallIslands)["smallest_mm3"]
    assert smallest.tooltip.endswith("In mm³.")


def test_preview_changes_nothing_and_apply_is_one_undo(edit, layer, qtbot):
    before = layer.data.copy()
    assert edit.tool.value.title == "Keep largest island"
    edit.preview()
    assert not edit.apply_button.isEnabled()
    finish(edit, qtbot)
    assert edit.status.text() == "1 voxel would change: −1 anterior"
    np.testing.assert_array_equal(layer.data, before)
    edit.apply()
    assert edit._task is None  # what was previewed is not computed again
    assert edit.status.text() == "1 voxel changed: −1 anterior"
    assert source_view(layer)[5, 6, 7] == 0
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_apply_without_a_preview(edit, layer, qtbot):
    edit.tool.value = Grow
    edit.settings.set(mm=1.0)
    edit.apply()
    finish(edit, qtbot)
    assert (layer.data == 1).sum() > 9
    assert (layer.data == 2).sum() == 8


def test_painting_makes_a_preview_stale_and_apply_computes_anew(edit, layer, qtbot):
    edit.preview()
    finish(edit, qtbot)
    paint(layer)
    assert edit.status.text() == "The labels have changed: preview again"
    edit.apply()
    finish(edit, qtbot)
    assert (layer.data == 1).sum() == 8
    assert edit.status.text() == "2 voxels changed: −2 anterior"


def test_an_undo_after_a_preview_is_noticed(edit, layer, qtbot):
    paint(layer)
    edit.preview()
    finish(edit, qtbot)
    assert edit.status.text() == "2 voxels would change: −2 anterior"
    layer.undo()
    edit.apply()
    finish(edit, qtbot)
    assert edit.status.text() == "1 voxel changed: −1 anterior"


def test_painting_while_it_computes_wins(edit, layer, qtbot, notes):
    edit.tool.value = Slow
    edit.apply()
    assert not edit._fields.isEnabled()
    assert STARTED.wait(30)
    paint(layer)
    painted = layer.data.copy()
    GO.set()
    finish(edit, qtbot)
    assert any("changed meanwhile: apply once more" in note for note in notes)
    np.testing.assert_array_equal(layer.data, painted)


def test_deleting_the_layer_while_it_computes_is_harmless(window, edit, layer, qtbot, notes):
    edit.tool.value = Slow
    edit.apply()
    window.layers.remove(layer)
    before = layer.data.copy()
    GO.set()
    finish(edit, qtbot)
    assert edit.status.text() == "The labels were deleted; nothing was changed"
    np.testing.assert_array_equal(layer.data, before)
    edit.apply()
    assert notes[-1] == "there are no labels: open, paint or segment some first"


def test_cancel_changes_nothing(edit, layer, qtbot):
    before = layer.data.copy()
    edit.tool.value = Slow
    edit.apply()
    edit.cancel()
    assert edit.status.text() == "Stopped; nothing was changed"
    assert edit.apply_button.isEnabled()
    GO.set()
    qtbot.wait(50)
    np.testing.assert_array_equal(layer.data, before)


def test_an_error_of_a_tool_is_a_notification(edit, qtbot, notes):
    edit.tool.value = Slow
    edit.settings.set(fail=True)
    GO.set()
    edit.preview()
    finish(edit, qtbot)
    assert notes[-1] == "this cannot be done"
    assert edit.apply_button.isEnabled()
    assert edit.status.text() == ""


def test_the_list_of_labels_locks_and_selects(edit, layer, qtbot):
    qtbot.waitUntil(lambda: rows(edit) == ["1 anterior", "2 posterior"], timeout=30_000)
    assert edit.all_labels.current_choice == "anterior"
    edit.labels.itemClicked.emit(edit.labels.item(1))
    assert layer.selected_label == 2
    assert edit.all_labels.current_choice == "posterior"
    edit.labels.item(0).setCheckState(Qt.CheckState.Checked)
    edit.tool.value = Slow
    edit.all_labels.value = True
    GO.set()
    edit.apply()
    finish(edit, qtbot)
    assert (layer.data == 1).sum() == 9
    assert set(np.unique(layer.data)) == {1, 7}
    assert "label 7" in rows(edit)
    assert edit.labels.item(0).checkState() == Qt.CheckState.Checked


def test_values_without_names_are_found(window, edit, qtbot):
    other = window.add_labels(np.array([[[0, 5], [9, 5]]]), name="plain")
    edit.layer.value = other
    qtbot.waitUntil(lambda: rows(edit) == ["label 1", "label 5", "label 9"], timeout=30_000)


def test_only_what_a_tool_needs_is_shown(window, edit):
    assert not edit.image.native.isVisibleTo(edit)
    edit.tool.value = GrowFromSeeds
    assert edit.image.native.isVisibleTo(edit)
    window.dims.set_current_step(0, 3)
    edit.tool.value = CopySlice
    assert edit.settings.values == {"axis": 0, "index": 3, "to": 4}


def test_moving_the_slider_drops_a_preview_of_a_slice(window, edit, qtbot):
    edit.slice_only.value = True
    window.dims.set_current_step(0, int(np.argmax((edit.layer.value.data == 1).any((1, 2)))))
    edit.preview()
    finish(edit, qtbot)
    assert "would change" in edit.status.text()
    window.dims.set_current_step(0, 5)
    assert edit.status.text() == ""


def test_a_closed_panel_hears_nothing(window, edit, layer, qtbot):
    edit.tool.value = Slow
    edit.apply()
    window.window.remove_dock_widget(edit)
    GO.set()
    edit.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    paint(layer)
    before = layer.data.copy()
    layer.selected_label = 2
    window.dims.set_current_step(0, 1)
    assert (layer.data == before).all()
