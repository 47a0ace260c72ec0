"""The Segment panel, while it runs and after."""

from __future__ import annotations

import time
from collections.abc import Generator
from threading import Event
from typing import Any

import napari
import nibabel
import numpy as np
from qtpy.QtWidgets import QWidget

from napari_asmlp.grid import Region
from napari_asmlp.viewer.layers import volume_of
from napari_asmlp.viewer.planes import show_planes
from napari_asmlp.viewer.region import region_box
from napari_asmlp.viewer.segment import request
from screenshot_scenes import OWN
from screenshot_scenes.stage import (
    PATIENCE,
    each_followed_by,
    middle,
    open_panel,
    run_model,
    scene,
    wait_until,
    window_of,
)


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
