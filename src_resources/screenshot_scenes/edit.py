"""Correcting, measuring, saving and recovering labels."""

from __future__ import annotations

import napari
from qtpy.QtWidgets import QWidget

from napari_asmlp.edit import Smooth
from napari_asmlp.viewer import commands
from napari_asmlp.viewer.history import journal, recover
from napari_asmlp.viewer.history.dialog import RecoverDialog
from napari_asmlp.viewer.planes import show_planes
from screenshot_scenes.stage import (
    add_result,
    looks_of,
    middle,
    open_dialog,
    open_panel,
    process,
    scene,
    wait_until,
    window_of,
)


@scene
def edit_preview(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    panel = open_panel(viewer, "Edit labels")
    panel.tools.tool.value = Smooth
    panel.tools.all_labels.value = True
    panel.tools.preview()
    wait_until(lambda: not panel.tools.is_busy)
    return window_of(viewer)


@scene
def export(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    commands.export_labels_command()
    dialog = open_dialog()
    wait_until(lambda: dialog._counts is not None)
    return dialog


@scene
def measure(viewer: napari.Viewer) -> QWidget:
    before = add_result(viewer)
    data = before.data.copy()
    data[:20] = 0  # as if somebody had cut a part off
    planes = show_planes(viewer)
    layer = viewer.add_labels(data, name="corrected", **looks_of(before))
    panel = open_panel(viewer, "Measure")
    panel.layer.value = layer
    panel.compare.other.value = before
    wait_until(lambda: not panel.is_busy and bool(panel.table.rows.shown))
    panel.compare.button.click()
    wait_until(lambda: not panel.compare.is_busy)
    panel.table.selectRow(1)
    planes.cursor.place()
    return window_of(viewer)


@scene
def recovery(viewer: napari.Viewer) -> QWidget:
    layer = add_result(viewer)
    layer.paint((20, 20, 20), 1)
    viewer.layers.remove(layer)  # which is kept, since it was not exported
    journal.flush()
    dialog = RecoverDialog(viewer, recover.found().sound)
    dialog.show()
    return dialog


@scene
def window(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    open_panel(viewer, "Edit labels")
    planes = show_planes(viewer)
    process(0.5)
    middle(viewer, planes)
    return window_of(viewer)
