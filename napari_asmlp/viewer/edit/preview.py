"""What an edit would change, as outlines over the labels; they are no labels of anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_asmlp.edit import Change
from napari_asmlp.viewer.edit.words import turn_of
from napari_asmlp.viewer.layers import PREVIEW_KEY, shown_index

if TYPE_CHECKING:
    from napari.components import ViewerModel

_ADDED, _ERASED = 1, 2
_COLOURS = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0), _ADDED: "#3df06a", _ERASED: "#ff3d81"}
LEGEND = "Outlined: green is added, pink erased."


class Preview:
    """Shows one change at a time, in the main canvas only; see `planes.twins.Twins`."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None

    def show(self, labels: Labels, change: Change) -> None:
        """Outline the voxels that would change; the selected layer stays selected."""
        self.hide()
        if not change.count:
            return
        selected = self._viewer.layers.selection.active
        layer = preview_layer(labels, change)
        self._layer = layer  # first: what hears of it may hide it again
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = selected

    def hide(self) -> None:
        """Take the outlines away, if the user has not done so."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def preview_layer(labels: Labels, change: Change) -> Labels:
    """Return a layer that outlines the voxels of a change; it cannot be painted.

    It is as large as the region of the change, not as the labels.
    """
    marks = np.zeros(change.mask.shape, np.uint8)
    marks[change.mask] = np.where(change.values == 0, _ERASED, _ADDED)
    first = tuple(along.start for along in change.region)
    last = tuple(along.stop - 1 for along in change.region)
    corner = np.minimum(shown_index(labels, first), shown_index(labels, last))
    scale = np.asarray(labels.scale)
    layer = Labels(
        turn_of(labels).apply(marks),
        name=f"preview of {labels.name}",
        scale=scale,
        translate=np.asarray(labels.translate) + corner * scale,
        units=labels.units,
        axis_labels=labels.axis_labels,
        colormap=DirectLabelColormap(color_dict=_COLOURS),
        opacity=1.0,
        metadata={PREVIEW_KEY: True},
    )
    layer.contour = 1
    layer.editable = False
    return layer
