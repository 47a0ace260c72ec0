"""The commands of napari's menus: new labels, open labels, export labels, resample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QFileDialog

from napari_asmlp.errors import AsmlpError, GridError, SettingsError
from napari_asmlp.io import read_volume
from napari_asmlp.io.formats import FORMATS
from napari_asmlp.viewer.camera import show_upright
from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.export.dialog import ExportDialog
from napari_asmlp.viewer.layers import (
    METADATA_KEY,
    add_labels,
    is_labels,
    labels_layer_data,
    labels_on,
    volume_of,
)
from napari_asmlp.viewer.plain import add_plain
from napari_asmlp.viewer.resampling import open_resampling
from napari_asmlp.viewer.session import attend
from napari_asmlp.viewer.widgets import main_window
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

VOLUME_FILTER = f"Volumes ({' '.join('*' + f.suffix for f in FORMATS)});;All files (*)"


def new_labels_command() -> None:
    """Menu: empty labels on the grid of the current image."""
    with errors_shown():
        new_labels(viewer_of_command())


def open_labels_command() -> None:
    """Menu: a file of labels, chosen in a dialog."""
    with errors_shown():
        viewer = viewer_of_command()
        path, _ = QFileDialog.getOpenFileName(None, "Open labels", folder_of(viewer), VOLUME_FILTER)
        if path:
            open_labels(viewer, Path(path))


def export_labels_command() -> None:
    """Menu: the current labels as a file, in a dialog that stays in front of the window."""
    with errors_shown():
        viewer = viewer_of_command()
        ExportDialog(viewer, current_labels(viewer), main_window()).open()


def resample_command() -> None:
    """Menu: a volume onto the grid of an image, in a dialog."""
    with errors_shown():
        viewer = viewer_of_command()
        current = current_of(viewer)
        selected = viewer.layers.selection.active
        open_resampling(viewer, current.labels if is_labels(selected) else current.image)


def plain_command() -> None:
    """Menu: a plain 3D layer of the selected one, such as a pyramid or a time series."""
    with errors_shown():
        add_plain(viewer_of_command())


def planes_command() -> None:
    """Menu: axial, coronal and sagittal planes at once, or one of them."""
    from napari_asmlp.viewer.view.actions import toggle_planes  # which imports this

    with errors_shown():
        toggle_planes(viewer_of_command())


def new_labels(viewer: ViewerModel) -> Labels:
    """Add an empty, selected Labels layer on the grid of the current image, ready to paint.

    Raises
    ------
    SettingsError
        If there is no image, or it is no volume.
    """
    image = current_of(viewer).image
    if image is None:
        raise SettingsError("there is no image to draw on: open a volume first")
    layer = labels_on(image, np.zeros(volume_of(image).grid.shape, np.uint8))
    attend(viewer)
    add_labels(viewer, layer)
    return layer


def open_labels(viewer: ViewerModel, path: Path) -> Labels:
    """Add a file of labels; if volumes are open, it must lie on the grid of one of them.

    Names and colours come from a table beside it, as the export writes one, or from inside it.

    Raises
    ------
    AsmlpError
        If the file is no volume of labels, or lies on another grid.
    """
    volume = read_volume(path, kind="labels")
    _check_has_image(viewer, volume)
    show_upright(viewer)
    attend(viewer)
    data, attributes, _ = labels_layer_data(volume)
    layer = Labels(data, **attributes)
    add_labels(viewer, layer)
    for note in volume.notes:
        show_warning(note)
    return layer


def current_labels(viewer: ViewerModel) -> Labels:
    """Return the current labels.

    Raises
    ------
    SettingsError
        If there are none.
    """
    labels = current_of(viewer).labels
    if labels is None:
        raise SettingsError("there are no labels: open, paint or segment some first")
    return labels


@contextmanager
def errors_shown() -> Iterator[None]:
    """Turn an AsmlpError into a notification of one line."""
    try:
        yield
    except AsmlpError as error:
        show_error(str(error))


def _check_has_image(viewer: ViewerModel, labels: Volume) -> None:
    """Raise a GridError if volumes are open, and the labels lie on the grid of none of them."""
    sources = {
        layer.name: layer.metadata[METADATA_KEY].grid
        for layer in viewer.layers
        if isinstance(layer, Image) and METADATA_KEY in layer.metadata
    }
    if sources and not any(labels.grid.same_as(grid) for grid in sources.values()):
        name, grid = next(iter(sources.items()))
        raise GridError(
            f"labels {labels.name} do not lie on the grid of image {name!r}"
            f" ({labels.grid.difference(grid)}): open the image they were drawn on"
        )


def folder_of(viewer: ViewerModel) -> str:
    """Return the folder of an open volume, where labels are likely to lie too."""
    sources = (layer.metadata.get(METADATA_KEY) for layer in reversed(viewer.layers))
    paths = (source.path for source in sources if isinstance(source, Volume))
    return str(next((path.parent for path in paths if path), Path.home()))


def viewer_of_command() -> ViewerModel:
    """Return the viewer whose menu was used; raises a SettingsError where there is none."""
    viewer = napari.current_viewer()
    if viewer is None:
        raise SettingsError("open a napari window first")
    return viewer
