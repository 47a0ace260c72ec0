"""The View panel."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_asmlp.viewer.planes import planes_shown
from napari_asmlp.viewer.settings import recall
from napari_asmlp.viewer.shortcuts import SHORTCUTS
from napari_asmlp.viewer.view import actions
from napari_asmlp.viewer.view.contrast import CT_PRESETS
from napari_asmlp.viewer.view.panel import ViewPanel
from tests.viewer.conftest import close_dock, without_dock


@pytest.fixture
def panel(viewer, qtbot):
    """The View panel, with a CT and labels of it."""
    voxels = np.linspace(-1000, 1000, 4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)
    viewer.add_image(voxels, name="ct", contrast_limits=(-160, 240))
    viewer.add_labels(np.zeros((4, 5, 6), np.uint8), name="labels")
    return without_dock(ViewPanel(viewer), qtbot)


def limits(viewer, name="ct"):
    return pytest.approx(viewer.layers[name].contrast_limits)


def test_fields_and_image_follow_one_another(viewer, panel):
    box = panel.contrast
    assert (box.window_field.value(), box.level_field.value()) == (400, 40)
    assert box.window_field.suffix() == " HU"
    viewer.layers["ct"].contrast_limits = (0, 80)
    assert (box.window_field.value(), box.level_field.value()) == (80, 40)
    box.window_field.setValue(100)
    assert limits(viewer) == [-10, 90]
    box.level_field.setValue(-600)
    assert limits(viewer) == [-650, -550]


def test_typing_one_keeps_the_digits_of_the_other(viewer, panel):
    viewer.layers["ct"].contrast_limits = (0.123456, 100.123456)
    panel.contrast.window_field.setValue(50)
    assert limits(viewer) == [25.123456, 75.123456]


def test_buttons(viewer, panel, qtbot):
    box = panel.contrast
    for button, preset in zip(box.ct_buttons, CT_PRESETS, strict=True):
        button.click()
        assert limits(viewer) == list(preset.window.limits)
    box.full_button.click()
    qtbot.waitUntil(lambda: viewer.layers["ct"].contrast_limits == [-1000, 1000])
    viewer.dims.set_point(0, 3)
    box.slice_button.click()
    low, high = viewer.layers["ct"].contrast_limits
    assert (low > 500, high < 1001) == (True, True)  # the last of four slices: 512 to 1000
    box.auto_button.click()
    assert viewer.layers["ct"].contrast_limits[0] < -980


def test_presets_say_when_the_image_is_no_ct(viewer, panel):
    assert panel.contrast.no_ct.isHidden()
    viewer.add_image(np.zeros((4, 5, 6)), name="t1", contrast_limits=(0, 1))
    assert not panel.contrast.no_ct.isHidden()
    assert "the lowest value is 0" in panel.contrast.no_ct.text()
    assert panel.contrast.window_field.suffix() == ""
    assert (panel.contrast.window_field.value(), panel.contrast.level_field.value()) == (1, 0.5)
    panel.contrast.ct_buttons[0].click()  # offered all the same
    assert limits(viewer, "t1") == [-500, 1300]


def test_the_drag_button_gives_the_mouse_back(viewer, panel):
    before = len(viewer.mouse_drag_callbacks)
    panel.contrast.drag_button.click()
    assert len(viewer.mouse_drag_callbacks) == before + 1
    assert viewer.layers.selection.active.name == "ct"
    panel.contrast.drag_button.click()
    assert len(viewer.mouse_drag_callbacks) == before
    assert viewer.layers.selection.active.name == "labels"


def test_overlay(viewer, panel):
    layer, box = viewer.layers["labels"], panel.overlay
    box.opacity_field.value = 0.35
    box.width_field.value = 3
    assert (layer.opacity, layer.contour) == (0.35, 0)
    box.style_field.value = "contour"
    assert layer.contour == 3
    actions.cycle_overlay(viewer)
    assert box.style_field.value == "hidden"
    layer.opacity = 0.5
    assert box.opacity_field.value == 0.5
    assert (recall("view.opacity", 0.0), recall("view.contour_width", 0)) == (0.35, 3)


def test_nothing_to_look_at(viewer, panel):
    viewer.layers.clear()
    assert not panel.contrast.isEnabled()
    assert not panel.overlay.isEnabled()
    assert "open one" in panel.contrast.name.text()


def test_planes_are_switched_by_button_and_key(window):
    window.add_image(np.zeros((4, 5, 6)), name="ct")
    _, panel = window.window.add_plugin_dock_widget("napari-asmlp", "View")
    viewer = window.__wrapped__
    panel.planes.three_button.click()
    assert planes_shown(viewer)
    actions.toggle_planes(viewer)
    assert not planes_shown(viewer)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not panel.planes.three_button.isChecked()
    actions.toggle_crosshair(viewer)
    assert not panel.planes.crosshair.isChecked()
    panel.planes.convention.value = "neurological"
    assert recall("view.crosshair", True) is False
    assert recall("view.convention", "") == "neurological"


def test_a_closed_panel_lets_go(viewer, panel, qtbot):
    panel.contrast.drag_button.click()
    callbacks = len(viewer.mouse_drag_callbacks)
    close_dock(panel)
    assert len(viewer.mouse_drag_callbacks) == callbacks - 1
    viewer.layers["ct"].contrast_limits = (0, 10)
    assert panel.contrast.window_field.value() != 10
    with qtbot.waitSignal(panel.destroyed):
        panel.deleteLater()


def test_the_list_of_keys_is_the_table(viewer, panel):
    panel.show_keys()
    table = panel._keys.table
    assert [table.item(row, 0).text() for row in range(table.rowCount())] == [
        shortcut.text for shortcut in SHORTCUTS
    ]
    panel._keys.close()
