"""Layers of any kind can be deleted while the brush is in hand: the process survives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import napari_asmlp

# A process of its own: where the fault is, it ends the process.
SCRIPT = """
import os
import time

import napari
import numpy as np
from napari_asmlp.viewer.planes import toggle_planes
from napari_asmlp.viewer.session import attend
from qtpy.QtWidgets import QApplication


def paint(seconds=0.15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()


def fill():
    viewer.add_image(np.random.default_rng(0).normal(size=(6, 7, 8)))
    viewer.add_points(np.full((1, 3), 3.0))
    viewer.add_shapes(np.array([[3, 1, 1], [3, 4, 4]]), shape_type="line")
    viewer.add_labels(np.zeros((6, 7, 8), np.uint8)).mode = "paint"
    paint()


viewer = napari.Viewer()
attend(viewer)
for planes in (False, True):
    if planes:
        toggle_planes(viewer)
    fill()
    viewer.layers.clear()
    paint()
    fill()
    while viewer.layers:
        viewer.layers.pop()
    paint()
print("survived", flush=True)
os._exit(0)  # without the seconds that taking the window apart takes
"""


def test_layers_can_be_deleted_while_the_brush_is_in_hand(tmp_path: Path) -> None:
    found = os.pathsep.join(
        [str(Path(napari_asmlp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    own = {"NAPARI_ASMLP_CONFIG": str(tmp_path), "NAPARI_ASMLP_STATE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **own, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("survived\n")
