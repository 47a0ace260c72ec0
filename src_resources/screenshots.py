"""Make pictures of the window: a PNG for each scene, of the sample, its labels and all panels.

Run it where the package is installed with a Qt binding and the demo's volume, and look at the
results; without a screen::

    xvfb-run -a -s "-screen 0 1366x768x24" python src_resources/screenshots.py OUT [scene ...]

Without names, all scenes are made. The picture of the README is the scene `window`. Nothing that
the user's own windows remember is read or written.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event
from typing import Any

os.environ["NAPARI_ASMLP_CONFIG"] = tempfile.mkdtemp(prefix="screenshots-")
os.environ["NAPARI_ASMLP_STATE"] = os.environ["NAPARI_ASMLP_CONFIG"]
os.environ["NAPARI_CONFIG"] = str(Path(os.environ["NAPARI_ASMLP_CONFIG"]) / "napari.yaml")

import napari
import nibabel
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from napari_asmlp.edit import Smooth
from napari_asmlp.grid import Region
from napari_asmlp.viewer import commands
from napari_asmlp.viewer.classify.panel import MixerPanel
from napari_asmlp.viewer.classify.saving import save_as
from napari_asmlp.viewer.history import journal, recover
from napari_asmlp.viewer.history.dialog import RecoverDialog
from napari_asmlp.viewer.layers import volume_of
from napari_asmlp.viewer.planes import show_planes
from napari_asmlp.viewer.region import region_box
from napari_asmlp.viewer.segment import request

OWN = Path(os.environ["NAPARI_ASMLP_CONFIG"])
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


@scene
def segment_idle(viewer: napari.Viewer) -> QWidget:
    open_panel(viewer, "Segment")
    return window_of(viewer)


@scene
def segment_running(viewer: napari.Viewer) -> QWidget:
    panel, real = open_panel(viewer, "Segment"), request.iter_segment

    def slowed(*of_run: Any) -> Generator[Any, None, Any]:
        # so that the run is still there when the picture is taken
        return (yield from each_followed_by(lambda _: time.sleep(3), real(*of_run)))

    request.iter_segment = slowed
    panel.run()
    wait_until(lambda: panel.bar.value() > 0 or panel._run is None)
    request.iter_segment = real
    return window_of(viewer)


@scene
def segment_stopped(viewer: napari.Viewer) -> QWidget:
    head = volume_of(viewer.layers[0])
    path = OWN / "both.nii.gz"  # of more than one window
    nibabel.save(nibabel.Nifti1Image(np.tile(head.array(), (1, 1, 2)), head.grid.affine), path)
    viewer.layers.clear()
    viewer.open(str(path), plugin="napari-asmlp")
    panel, real = open_panel(viewer, "Segment"), request.iter_segment
    stopped = Event()

    def held(*of_run: Any) -> Generator[Any, None, Any]:
        def wait(step: Any) -> None:
            if step.slab is not None:
                stopped.wait(PATIENCE)

        return (yield from each_followed_by(wait, real(*of_run)))

    request.iter_segment = held
    panel.run()
    wait_until(lambda: len(viewer.layers) > 1 or panel._run is None)
    panel.cancel()
    stopped.set()
    wait_until(lambda: panel._run is None)
    request.iter_segment = real
    panel.advanced.expand(animate=False)
    middle(viewer)
    return window_of(viewer)


@scene
def segment_done(viewer: napari.Viewer) -> QWidget:
    run_model(viewer)
    return window_of(viewer)


@scene
def region(viewer: napari.Viewer) -> QWidget:
    panel = open_panel(viewer, "Segment")
    show_planes(viewer)
    region_box(viewer).put(viewer.layers[0], Region((8, 10, 6), (34, 46, 34)))
    panel.region.draw_button.click()
    return window_of(viewer)


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
def mixer(viewer: napari.Viewer) -> QWidget:
    layer, is_long = add_cells(viewer)
    panel = open_panel(viewer, "Mixer")
    planes = show_planes(viewer)
    panel.tabs.setCurrentWidget(panel.teach)
    values = np.arange(1, len(is_long) + 1)
    for name, those in (("round", values[~is_long]), ("long", values[is_long])):
        panel.teach.new_class.setText(name)
        panel.teach.add_button.click()
        for value in those[:5]:
            place = np.median(np.argwhere(layer.data == value), axis=0)
            panel.picked.go_to(int(value), tuple(layer.data_to_world(place)))
            panel.teach.named.emit(name)
    panel.train()
    wait_until(lambda: not panel.running.is_busy)
    panel.picked.go_to(int(values[is_long][9]), ())
    planes.cursor.place()
    return window_of(viewer)


@scene
def mixer_model(viewer: napari.Viewer) -> QWidget:
    mixer(viewer)
    panel = viewer.window._qt_window.findChild(MixerPanel)
    panel.by_model.choose(save_as(panel.record.order.model, str(OWN / "round or long")))
    panel.tabs.setCurrentWidget(panel.by_model)
    panel.classify()
    wait_until(lambda: not panel.running.is_busy)
    panel.picked.go_to(10, ())
    panel.picked.layer.contour = 1  # so that the map is seen
    panel.show_why()
    wait_until(lambda: not panel.running.is_busy)
    return window_of(viewer)


@scene
def view_radiological(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    open_panel(viewer, "View").planes.three_button.click()
    return window_of(viewer)


@scene
def view_neurological(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    box = open_panel(viewer, "View").planes
    box.three_button.click()
    box.convention.value = "neurological"
    return window_of(viewer)


@scene
def shortcuts(viewer: napari.Viewer) -> QWidget:
    open_panel(viewer, "View").keys_button.click()
    return open_dialog()


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
def tilt(viewer: napari.Viewer) -> QWidget:
    volume = volume_of(viewer.layers[0])
    turn = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.1, 0.15, 0.2))
    path = OWN / "follow-up.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.array(), turn @ volume.grid.affine), path)
    viewer.open(str(path), plugin="napari-asmlp")
    process(1)
    return window_of(viewer)


@scene
def window(viewer: napari.Viewer) -> QWidget:
    add_result(viewer)
    open_panel(viewer, "Edit labels")
    planes = show_planes(viewer)
    process(0.5)
    middle(viewer, planes)
    return window_of(viewer)


def main(out: Path, names: list[str]) -> None:
    """Make the pictures of the scenes named, or of all."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names or SCENES:
        viewer = napari.Viewer(title="napari")
        window_of(viewer).setGeometry(0, 0, *SIZE)
        viewer.open_sample("napari-asmlp", "hippocampus")
        process(0.5)
        toasts(viewer)
        widget = SCENES[name](viewer)
        process(1)
        if name != "tilt":
            toasts(viewer)
        if not widget.grab().save(str(out / f"{name}.png")):
            sys.exit(f"{out}: cannot be written")
        print(out / f"{name}.png")
        close(viewer)


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


if __name__ == "__main__":
    unknown = set(sys.argv[2:]) - set(SCENES)
    if len(sys.argv) < 2 or unknown:
        sys.exit(f"usage: python {sys.argv[0]} OUT [scene ...], of {', '.join(SCENES)}")
    main(Path(sys.argv[1]), sys.argv[2:])
