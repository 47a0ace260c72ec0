"""Every page of the workspace: with the sample and its labels, empty, at work, after a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.app.pages import PAGES
from screenshot_scenes.stage import (
    SCENES,
    SIZE,
    add_result,
    open_panel,
    process,
    scene,
    wait_until,
    window_of,
)


def page(viewer: napari.Viewer, name: str) -> Any:
    """Show a page of the workspace in a window of a laptop's size; return its panel."""
    panel = open_panel(viewer, "AS-MLP").show_page(name)
    window_of(viewer).resize(*SIZE)
    process(1)
    return panel


def _typical(name: str) -> Callable[[napari.Viewer], QWidget]:
    def show(viewer: napari.Viewer) -> QWidget:
        add_result(viewer)
        page(viewer, name)
        return window_of(viewer)

    return show


def _empty(name: str) -> Callable[[napari.Viewer], QWidget]:
    def show(viewer: napari.Viewer) -> QWidget:
        viewer.layers.clear()
        page(viewer, name)
        return window_of(viewer)

    return show


for _each in PAGES:
    SCENES[f"page_{_each.name}"] = _typical(_each.name)
    SCENES[f"empty_{_each.name}"] = _empty(_each.name)


@scene
def done_segment(viewer: napari.Viewer) -> QWidget:
    panel = page(viewer, "segment")
    panel.run()
    wait_until(lambda: panel._run is None)
    return window_of(viewer)


@scene
def failed_segment(viewer: napari.Viewer) -> QWidget:
    panel = page(viewer, "segment")
    panel.region.field.setText("0:4")
    panel.run()
    return window_of(viewer)


@scene
def running_teach(viewer: napari.Viewer) -> QWidget:
    labels = add_result(viewer)
    panel = page(viewer, "teach")
    labels.mode = "paint"
    panel.teach()
    process(2)
    return window_of(viewer)


@scene
def failed_teach(viewer: napari.Viewer) -> QWidget:
    panel = page(viewer, "teach")
    panel.teach()
    return window_of(viewer)


@scene
def failed_edit(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    panel = page(viewer, "edit")
    panel.layer.value.selected_label = 7
    panel.tools.apply()
    return window_of(viewer)


@scene
def focus(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    page(viewer, "edit")
    open_panel(viewer, "AS-MLP").toggle_focus()
    process(0.5)
    return window_of(viewer)
