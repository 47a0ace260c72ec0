"""Make the README's picture of the window: the sample, segmented, corrected labels and all.

Run it where the package is installed with a Qt binding and the demo's volume, and look at the
result; without a screen::

    xvfb-run -a -s "-screen 0 1366x768x24" python src_resources/screenshots.py window.png
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp()) / "settings.yaml"))

import napari
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtWidgets import QApplication

SIZE = (1366, 768)
LONG_AXIS = (2, 0, 1)  # order of the axes (S, A, R) that shows a sagittal plane
PATIENCE = 600  # seconds


def main(out: Path) -> None:
    """Open the sample, segment it, and save the whole window as a PNG."""
    viewer = napari.Viewer(title="napari")
    viewer.window._qt_window.setGeometry(0, 0, *SIZE)
    _, panel = viewer.window.add_plugin_dock_widget("napari-asmlp", "Segment")
    viewer.open_sample("napari-asmlp", "hippocampus")
    if panel.model.path is None:
        sys.exit("no model is installed: train one first, see src_resources")
    panel.run()
    wait_until(lambda: panel._run is None)
    labels = viewer.layers[-1]
    if labels is viewer.layers[0]:
        sys.exit("the run left no labels: see the message above")
    show_middle(viewer, labels)
    settle(viewer)
    viewer.window._qt_window.grab().save(str(out))
    viewer.close()


def show_middle(viewer: napari.Viewer, labels: Any) -> None:
    """Show the sagittal plane with most labels, as large as it fits."""
    fullest = int((labels.data > 0).sum(axis=(0, 1)).argmax())
    viewer.dims.order = LONG_AXIS
    viewer.dims.set_current_step(2, fullest)
    viewer.reset_view()


def settle(viewer: napari.Viewer) -> None:
    """Paint everything, and take notifications away."""
    process(1)
    for toast in viewer.window._qt_window.findChildren(NapariQtNotification):
        toast.close()
    process(1)


def wait_until(done: Any) -> None:
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
        time.sleep(0.01)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} OUT.png")
    main(Path(sys.argv[1]))
