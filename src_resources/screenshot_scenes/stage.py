"""The stage of all scenes: a window of its own settings, layers to show, and patience."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import napari
import nibabel
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from napari_asmlp.viewer import commands
from napari_asmlp.viewer.history import journal
from screenshot_scenes import OWN

SIZE = (1366, 768)
PATIENCE = 600  # seconds
SLEEP = 0.01
LABELS: list[Any] = []  # the result of the sample, computed once

Scene = Callable[[napari.Viewer], QWidget]
SCENES: dict[str, Scene] = {}


def scene(make: Scene) -> Scene:
    """Enter a function that returns the widget to take a picture of into the table of scenes."""
    SCENES[make.__name__] = make
    return make


def sample_window() -> napari.Viewer:
    """Open a window of a laptop's size with the sample in it."""
    viewer = napari.Viewer(title="napari")
    window_of(viewer).setGeometry(0, 0, *SIZE)
    viewer.open_sample("napari-asmlp", "hippocampus")
    process(0.5)
    toasts(viewer)
    return viewer


def each_followed_by(
    do: Callable[[Any], Any], work: Generator[Any, None, Any]
) -> Generator[Any, None, Any]:
    """Yield what a run yields, doing something after each step, and return what it returns."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            return end.value
        yield step
        do(step)


def run_model(viewer: napari.Viewer) -> Any:
    """Segment the sample with the first model that is installed; returns the labels."""
    panel = open_panel(viewer, "Segment")
    if panel.model.path is None:
        sys.exit("no model is installed: train one first, see the recipes beside this file")
    panel.run()
    wait_until(lambda: panel._run is None)
    labels = viewer.layers[-1]
    if labels is viewer.layers[0]:
        sys.exit("the run left no labels: see the message above")
    LABELS[:] = [labels.as_layer_data_tuple()]
    middle(viewer)
    return labels


def add_result(viewer: napari.Viewer) -> Any:
    """Add the labels of the sample, which the model computes the first time."""
    if not LABELS:
        labels = run_model(viewer)
        viewer.window.remove_dock_widget("all")
        return labels
    data, attributes, _ = LABELS[0]
    labels = viewer.add_labels(data.copy(), **attributes)
    middle(viewer)
    return labels


def add_cells(viewer: napari.Viewer) -> tuple[Any, Any]:
    """Add round and long cells in place of the sample; returns the labels, and which are long."""
    random, shape = np.random.default_rng(0), (40, 96, 96)
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    labels = np.zeros(shape, np.uint16)
    centres = [(k, j, i) for k in (10, 30) for j in range(8, 96, 16) for i in range(8, 96, 16)]
    is_long = random.random(len(centres)) < 0.4
    for value, (centre, stretched) in enumerate(zip(centres, is_long, strict=True), start=1):
        along = random.normal(size=3)
        along /= np.linalg.norm(along)
        apart = grid - centre
        length = apart @ along / (2.2 if stretched else 1)
        across = np.linalg.norm(apart - (apart @ along)[..., None] * along, axis=-1)
        labels[np.hypot(length, across) < random.uniform(2.5, 3.5)] = value
    image = (100 + 60 * (labels > 0) + random.normal(0, 12, shape)).astype(np.float32)
    viewer.layers.clear()
    path = OWN / "cells.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image.T, np.eye(4)), path)
    viewer.open(str(path), plugin="napari-asmlp")
    layer = commands.new_labels(viewer)
    layer.data = labels
    layer.name = "cell labels"
    process(0.5)
    return layer, is_long


def looks_of(layer: Any) -> dict[str, Any]:
    """Return what a layer of the same grid and labels needs besides its voxels."""
    names = ("scale", "translate", "units", "axis_labels", "metadata", "colormap", "features")
    return {name: getattr(layer, name) for name in names}


def middle(viewer: napari.Viewer, planes: Any = None) -> None:
    """Go to the middle of the larger part of the labels, and closer to them in all planes."""
    labels = viewer.layers[-1]
    inside = np.argwhere(labels.data == 1)
    inside = inside[inside[:, 2] > labels.data.shape[2] / 2]
    centre = labels.data_to_world(np.median(inside, axis=0))
    viewer.dims.point = centre
    if planes is not None:
        planes.cursor.move(centre)


def open_panel(viewer: napari.Viewer, name: str) -> Any:
    _, panel = viewer.window.add_plugin_dock_widget("napari-asmlp", name)
    process(0.5)
    return panel


def open_dialog() -> Any:
    (dialog,) = (w for w in QApplication.topLevelWidgets() if is_open_dialog(w))
    return dialog


def is_open_dialog(widget: QWidget) -> bool:
    toast = isinstance(widget, NapariQtNotification)
    return isinstance(widget, QDialog) and widget.isVisible() and not toast


def window_of(viewer: napari.Viewer) -> Any:
    return viewer.window._qt_window


def close(viewer: napari.Viewer) -> None:
    """Close a window with whatever runs in it, and wait until that has stopped."""
    for widget in QApplication.topLevelWidgets():
        if is_open_dialog(widget):
            widget.close()
    viewer.close()
    process(2)
    journal.close_all()


def toasts(viewer: napari.Viewer) -> None:
    """Take notifications away."""
    for toast in window_of(viewer).findChildren(NapariQtNotification):
        toast.close()
    process(0.5)


def wait_until(done: Callable[[], bool]) -> None:
    """Run the window until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            sys.exit(f"not done after {PATIENCE} s")
        process(0.05)


def process(seconds: float) -> None:
    """Run the window for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(SLEEP)
