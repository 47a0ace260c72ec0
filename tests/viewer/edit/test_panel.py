"""The Edit labels panel, and with a tool that waits where a test wants to act."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import ClassVar

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_asmlp.edit import (
    TOOLS,
    ClipToRegion,
    CopySlice,
    Grow,
    GrowFromSeeds,
    RemoveSmallIslands,
    Threshold,
    Tool,
)
from napari_asmlp.edit.tool import require
from napari_asmlp.grid import Region
from napari_asmlp.viewer.commands import new_labels
from napari_asmlp.viewer.edit import toolbox
from napari_asmlp.viewer.edit.fields import field_title, parameter_help, tool_widgets
from napari_asmlp.viewer.edit.panel import EditPanel
from napari_asmlp.viewer.edit.segment_model import NAME
from napari_asmlp.viewer.edit.toolbox import GROUPS
from napari_asmlp.viewer.layers import PREVIEW_KEY, is_labels, shown_index, source_view
from napari_asmlp.viewer.region import region_box
from tests.viewer.conftest import close_dock, without_dock

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
def edit(viewer, scan, qtbot, monkeypatch):
    """The panel, with labels 1 (a block of 8 voxels and one apart) and 2 (a block of 8)."""
    monkeypatch.setattr(toolbox, "TOOLS", (*TOOLS, Slow))
    STARTED.clear()
    GO.clear()
    viewer.open(str(scan), plugin="napari-asmlp")
    layer = new_labels(viewer)
    voxels = source_view(layer)
    voxels[:2, :2, :2] = 1
    voxels[5, 6, 7] = 1
    voxels[3:5, :2, :2] = 2
    layer.features = {"index": [0, 1, 2], "name": ["background", "anterior", "posterior"]}
    layer.refresh()
    panel = without_dock(EditPanel(viewer), qtbot)
    yield panel
    GO.set()


@pytest.fixture
def layer(edit):
    return edit.layer.value


def finish(panel, qtbot):
    qtbot.waitUntil(lambda: panel.tools._task is None, timeout=30_000)


def delete(panel):
    panel.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def paint(layer):
    """Give label 1 a voxel apart from the others."""
    layer.data_setitem(shown_index(layer, [np.array([n]) for n in (5, 0, 7)]), 1)


def rows(panel):
    model = panel.segments.model
    return [model.index(n, NAME).data() for n in range(model.rowCount())]


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
    assert edit.tools.tool.value.title == "Keep largest island"
    edit.tools.preview()
    assert not edit.tools.apply_button.isEnabled()
    finish(edit, qtbot)
    assert edit.tools.status.text() == "1 voxel would change: −1 anterior"
    np.testing.assert_array_equal(layer.data, before)
    edit.tools.apply()
    assert edit.tools._task is None  # what was previewed is not computed again
    assert edit.tools.status.text() == "1 voxel changed: −1 anterior"
    assert source_view(layer)[5, 6, 7] == 0
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_apply_without_a_preview(edit, layer, qtbot):
    edit.tools.tool.value = Grow
    edit.tools.settings.set(mm=1.0)
    edit.tools.apply()
    finish(edit, qtbot)
    assert (layer.data == 1).sum() > 9
    assert (layer.data == 2).sum() == 8


def test_painting_makes_a_preview_stale_and_apply_computes_anew(edit, layer, qtbot):
    edit.tools.preview()
    finish(edit, qtbot)
    paint(layer)
    assert edit.tools.status.text() == "The labels have changed: preview again"
    edit.tools.apply()
    finish(edit, qtbot)
    assert (layer.data == 1).sum() == 8
    assert edit.tools.status.text() == "2 voxels changed: −2 anterior"


def test_an_undo_after_a_preview_is_noticed(edit, layer, qtbot):
    paint(layer)
    edit.tools.preview()
    finish(edit, qtbot)
    assert edit.tools.status.text() == "2 voxels would change: −2 anterior"
    layer.undo()
    edit.tools.apply()
    finish(edit, qtbot)
    assert edit.tools.status.text() == "1 voxel changed: −1 anterior"


def test_painting_while_it_computes_wins(edit, layer, qtbot, notes):
    edit.tools.tool.value = Slow
    edit.tools.apply()
    assert not edit.tools._fields.isEnabled()
    assert STARTED.wait(30)
    paint(layer)
    painted = layer.data.copy()
    GO.set()
    finish(edit, qtbot)
    assert any("changed meanwhile: apply once more" in note for note in notes)
    np.testing.assert_array_equal(layer.data, painted)


def test_deleting_the_layer_while_it_computes_is_harmless(viewer, edit, layer, qtbot, notes):
    edit.tools.tool.value = Slow
    edit.tools.apply()
    viewer.layers.remove(layer)
    before = layer.data.copy()
    GO.set()
    finish(edit, qtbot)
    assert edit.tools.status.text() == "The labels were deleted; nothing was changed"
    np.testing.assert_array_equal(layer.data, before)
    edit.tools.apply()
    assert notes[-1] == "there are no labels: open, paint or segment some first"


def test_cancel_changes_nothing(edit, layer, qtbot):
    before = layer.data.copy()
    edit.tools.tool.value = Slow
    edit.tools.apply()
    edit.tools.cancel()
    assert edit.tools.status.text() == "Stopped; nothing was changed"
    assert edit.tools.apply_button.isEnabled()
    GO.set()
    qtbot.wait(50)
    np.testing.assert_array_equal(layer.data, before)


def test_an_error_of_a_tool_is_a_notification(edit, qtbot, notes):
    edit.tools.tool.value = Slow
    edit.tools.settings.set(fail=True)
    GO.set()
    edit.tools.preview()
    finish(edit, qtbot)
    assert notes[-1] == "this cannot be done"
    assert edit.tools.apply_button.isEnabled()
    assert edit.tools.status.text() == ""


def test_values_without_names_are_found(viewer, edit, qtbot):
    other = viewer.add_labels(np.array([[[0, 5], [9, 5]]]), name="plain")
    edit.layer.value = other
    qtbot.waitUntil(lambda: rows(edit) == ["label 1", "label 5", "label 9"], timeout=30_000)


def test_a_tool_begins_at_the_slice_shown(viewer, edit):
    viewer.dims.set_current_step(0, 3)
    edit.tools.tool.value = CopySlice
    assert edit.tools.settings.values == {"axis": 0, "index": 3, "to": 4}


def test_a_tool_with_slices_of_its_own_leaves_no_other_choice(edit):
    edit.tools.slice_only.value = True
    assert edit.tools.wish().slice_only
    edit.tools.tool.value = CopySlice
    assert not edit.tools.slice_only.enabled
    assert "chosen above" in edit.tools.slice_only.tooltip
    assert not edit.tools.wish().slice_only
    edit.tools.tool.value = Grow
    assert edit.tools.slice_only.enabled
    assert edit.tools.wish().slice_only


def test_moving_the_slider_drops_a_preview_of_a_slice(viewer, edit, qtbot):
    edit.tools.slice_only.value = True
    viewer.dims.set_current_step(0, int(np.argmax((edit.layer.value.data == 1).any((1, 2)))))
    edit.tools.preview()
    finish(edit, qtbot)
    assert "would change" in edit.tools.status.text()
    viewer.dims.set_current_step(0, 5)
    assert edit.tools.status.text() == ""


def test_a_closed_panel_hears_nothing(viewer, edit, layer, qtbot):
    edit.tools.tool.value = Slow
    edit.tools.apply()
    close_dock(edit)
    GO.set()
    delete(edit)
    paint(layer)
    before = layer.data.copy()
    layer.selected_label = 2
    viewer.dims.set_current_step(0, 1)
    assert (layer.data == before).all()


def test_every_tool_stands_in_one_group(edit):
    grouped = [tool for tools in GROUPS.values() for tool in tools]
    assert sorted(grouped, key=repr) == sorted(TOOLS, key=repr)
    shown = [edit.tools.tool.itemText(n).strip() for n in range(edit.tools.tool.count())]
    assert shown[:3] == ["Clean up", "Keep largest island", "Remove small islands"]
    assert shown[-2:] == ["Others", "Slow"]


def previews(viewer):
    return [layer for layer in viewer.layers if PREVIEW_KEY in layer.metadata]


def test_a_preview_outlines_what_would_change_and_goes_by_itself(viewer, edit, layer, qtbot):
    edit.tools.preview()
    finish(edit, qtbot)
    (outline,) = previews(viewer)
    place = outline.data_to_world((0, 0, 0))
    at = tuple(np.rint(layer.world_to_data(place)).astype(int))
    assert outline.data.tolist() == [[[2]]]  # one voxel, to be erased
    assert at == tuple(shown_index(layer, (5, 6, 7)))
    assert not is_labels(outline)
    assert not outline.editable
    assert viewer.layers.selection.active == layer
    assert [each for _, each in edit._labels()] == [layer]
    edit.tools.apply()
    assert not previews(viewer)


@pytest.mark.parametrize("what", ["paint", "undo", "tool", "settings", "layer", "panel"])
def test_a_preview_goes_when_it_is_no_longer_true(viewer, edit, layer, qtbot, what):
    paint(layer)
    edit.tools.preview()
    finish(edit, qtbot)
    assert len(previews(viewer)) == 1
    {
        "paint": lambda: layer.data_setitem((np.array([0]),) * 3, 2),
        "undo": edit.history.undo.click,
        "tool": lambda: setattr(edit.tools.tool, "value", Grow),
        "settings": lambda: setattr(edit.tools.overwrite, "value", True),
        "layer": lambda: viewer.layers.remove(layer),
        "panel": lambda: close_dock(edit),
    }[what]()
    assert not previews(viewer)
    assert edit.tools._prepared is None
    if what == "panel":
        delete(edit)


def test_undo_and_redo_say_what_they_would_do(edit, layer, qtbot):
    before = layer.data.copy()
    assert not edit.history.undo.isEnabled()
    assert edit.history.undo.toolTip() == "Nothing to undo"
    edit.tools.apply()
    finish(edit, qtbot)
    after = layer.data.copy()
    assert edit.history.undo.isEnabled()
    assert "'keep largest island'" in edit.history.undo.toolTip()
    edit.history.undo.click()
    np.testing.assert_array_equal(layer.data, before)
    assert not edit.history.undo.isEnabled()
    edit.history.redo.click()
    np.testing.assert_array_equal(layer.data, after)


def test_a_layer_renamed_while_it_computes_is_edited(edit, layer, qtbot):
    edit.tools.tool.value = Slow
    edit.tools.all_labels.value = True
    edit.tools.apply()
    layer.name = "renamed"
    GO.set()
    finish(edit, qtbot)
    assert (layer.data == 7).all()
    assert edit.layer.current_choice == "renamed"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Labels(np.zeros((4, 4), np.uint8), name="bad"), "has 2 axes"),
        (lambda: Labels(np.zeros((2, 4, 4, 4), np.uint8), name="bad"), "has 4 axes"),
        (lambda: Labels(read_only(), name="bad"), "are read-only: duplicate"),
        (lambda: Labels(on_dask(), name="bad"), "are not in memory"),
        (lambda: Labels(np.full((2, 2, 2), -1), name="bad"), "is negative"),
        (lambda: Labels(np.zeros((2, 2, 2), np.uint8), name="bad"), "label 1 is empty"),
    ],
)
def test_layers_that_cannot_be_edited_get_a_message(viewer, edit, notes, qtbot, make, words):
    bad = viewer.add_layer(make())
    before = np.asarray(bad.data).copy()
    edit.layer.value = bad
    edit.tools.apply()
    finish(edit, qtbot)
    assert words in notes[-1]
    np.testing.assert_array_equal(np.asarray(bad.data), before)


def read_only():
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels.flags.writeable = False
    return voxels


def on_dask():
    return pytest.importorskip("dask.array").zeros((4, 4, 4), dtype=np.uint8)


def test_the_region_is_taken_from_the_box(viewer, edit, layer, notes):
    edit.tools.tool.value = ClipToRegion
    edit.tools.settings.take_region()
    assert "there is no region box on the grid of 'scan labels'" in notes[-1]
    region_box(viewer).put(edit.image.value, Region((0, 0, 0), (2, 3, 4)))
    edit.tools.settings.take_region()
    assert edit.tools.settings.values == {"region": "0:2,0:3,0:4"}


def test_planes_of_a_layer_without_anatomy_are_named_by_axis(viewer, edit):
    edit.tools.tool.value = CopySlice
    other = viewer.add_labels(np.ones((2, 2, 2), np.uint8), axis_labels=("z", "y", "x"))
    edit.layer.value = other
    choices = edit.tools.settings._widgets["axis"].choices
    assert choices == (0, 1, 2)
    assert edit.tools.settings._widgets["axis"].current_choice == "z axis"


def test_the_threshold_brush_paints_in_its_range_while_it_is_seen(viewer, edit, layer, qtbot):
    image = edit.image.value
    edit.brush.switch.setChecked(True)
    low, high = (float(end) for end in np.percentile(image.data, [30, 60]))
    edit.brush.limits = low, high
    layer.n_edit_dimensions, layer.brush_size = 3, 100
    before = layer.data.copy()
    layer.paint((3, 3, 3), 1)
    low, high = edit.brush.limits
    inside = (image.data >= low) & (image.data <= high)
    np.testing.assert_array_equal(layer.data, np.where(inside, 1, before))
    layer.undo()
    close_dock(edit)
    layer.paint((3, 3, 3), 1)
    assert (layer.data == 1).all()
    delete(edit)


def test_the_range_is_taken_from_the_selected_label(edit, layer, qtbot):
    image = edit.image.value
    inside = image.data[layer.data == 1]
    edit.brush.switch.setChecked(True)
    edit.brush.from_label.click()
    low, high = np.round(np.percentile(inside, [5, 95]))
    qtbot.waitUntil(lambda: edit.brush.limits == (low, high), timeout=30_000)


def test_a_brush_without_its_image_is_switched_off(viewer, edit, layer, notes):
    edit.image.value = viewer.add_image(np.zeros((2, 2, 2)), name="other")
    edit.brush.switch.setChecked(True)
    assert not edit.brush.switch.isChecked()
    assert "'other'" in notes[-1]


def test_a_tool_with_a_range_begins_with_that_of_the_brush(edit):
    edit.brush.limits = 20.0, 90.0
    edit.tools.tool.value = GrowFromSeeds
    assert edit.tools.settings.values == {"low": 20.0, "high": 90.0}


def test_a_threshold_begins_with_what_is_bright(edit, layer):
    image = edit._viewer.layers["scan"]
    bright = np.zeros(image.data.shape, image.data.dtype)
    bright[1:3] = 90
    image.data = bright
    edit.tools.tool.value = Threshold
    values = edit.tools.settings.values
    assert 0 <= values["low"] < 90 and values["high"] == 90


def test_the_row_of_painting_sets_and_follows_the_layer(viewer, edit, layer):
    row = edit.painting
    viewer.layers.selection.active = viewer.layers["scan"]
    row.buttons["paint"].click()
    assert layer.mode == "paint" and viewer.layers.selection.active is layer
    for mode in ("erase", "fill", "pick", "pan_zoom"):
        layer.mode = mode
        assert [name for name, button in row.buttons.items() if button.isChecked()] == [mode]
    step = row.size.singleStep()
    assert row.size.value() == pytest.approx(layer.brush_size * step)
    row.size.setValue(7 * step)
    assert layer.brush_size == 7
    layer.brush_size = 3
    assert row.size.value() == pytest.approx(3 * step) and "mm" in row.size.suffix()
    row.ball.click()
    assert layer.n_edit_dimensions == 3
    layer.n_edit_dimensions = 2
    assert not row.ball.isChecked()
    viewer.layers.remove(layer)
    assert not row.isEnabled()


@pytest.mark.parametrize(
    ("step", "shown"), [(2.0, "6.0 mm"), (0.25, "0.75 mm"), (0.002, "0.0060 mm")]
)
def test_the_size_of_the_brush_has_the_digits_of_its_step(edit, layer, step, shown):
    layer.scale = (step,) * 3
    layer.brush_size = 3
    edit.painting.tell()
    assert edit.painting.size.text() == shown
