"""Opening a result in a new napari window, with the workspace beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import napari

from napari_asmlp.io import read_volume
from napari_asmlp.model import LabelEntry
from napari_asmlp.viewer.camera import show_upright
from napari_asmlp.viewer.layers import image_layer_data, labels_layer_data
from napari_asmlp.viewer.panel import open_page


def open_result(image: Path, labels: Path, entries: Iterable[LabelEntry]) -> napari.Viewer:
    """Return a new viewer that shows an image and its labels.

    Parameters
    ----------
    entries
        The label table, for colours and class names.
    """
    viewer = napari.Viewer()
    show_upright(viewer)
    for data, attributes, _ in image_layer_data(read_volume(image)):
        viewer.add_image(data, **attributes)
    data, attributes, _ = labels_layer_data(read_volume(labels, kind="labels"), entries)
    layer = viewer.add_labels(data, **attributes)
    for axis, where in enumerate(layer.data.nonzero()):
        if where.size:
            viewer.dims.set_current_step(axis, round(float(where.mean())))
    open_page(viewer, "segment")
    return viewer


def show(image: Path, labels: Path, entries: Iterable[LabelEntry]) -> None:
    """Open a result and run the window until the user closes it."""
    open_result(image, labels, entries)
    napari.run()
