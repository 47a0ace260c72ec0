"""The Mixer panel, taught by example and by a model."""

from __future__ import annotations

import napari
import numpy as np
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.classify.panel import MixerPanel
from napari_asmlp.viewer.classify.saving import save_as
from napari_asmlp.viewer.planes import show_planes
from screenshot_scenes import OWN
from screenshot_scenes.stage import add_cells, open_panel, scene, wait_until, window_of


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
