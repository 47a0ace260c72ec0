"""Where an image lies in a range, as a tint over the slice shown; it is no labels of anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_asmlp.viewer.layers import PREVIEW_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.viewer.edit.brush import Limits

_COLOURS = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0), 1: "#4ddbff"}
_OPACITY = 0.25


class InRange:
    """An array that is 1 where another lies in a range; only what is asked for is computed."""

    dtype = np.dtype(np.uint8)

    def __init__(self, image: Any, limits: Limits) -> None:
        self._image = image
        self.limits = limits
        self.shape: tuple[int, ...] = tuple(image.shape)
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        part = np.asarray(self._image[key])
        return ((part >= self.limits[0]) & (part <= self.limits[1])).astype(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of it."""
        return self[...].astype(dtype or self.dtype, copy=bool(copy))


class RangeShown:
    """Shows one range of one image at a time, in the main canvas only, as `Preview` does."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None
        self._image: Image | None = None

    def show(self, image: Image, limits: Limits) -> None:
        """Tint the voxels of an image that lie in a range; the selected layer stays selected."""
        if image is not self._image or self._layer not in self._viewer.layers:
            self.hide()
            selected = self._viewer.layers.selection.active
            self._layer, self._image = range_layer(image, limits), image
            self._viewer.add_layer(self._layer)
            self._viewer.layers.selection.active = selected
        elif self._layer is not None and self._layer.data.limits != limits:
            self._layer.data.limits = limits
            self._layer.refresh(extent=False, highlight=False)

    def hide(self) -> None:
        """Take the tint away, if the user has not done so."""
        layer, self._layer, self._image = self._layer, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def range_layer(image: Image, limits: Limits) -> Labels:
    """Return a layer that tints an image where it lies in a range; it cannot be painted."""
    layer = Labels(
        InRange(image.data, limits),
        name=f"range of {image.name}",
        **{key: getattr(image, key) for key in ("scale", "translate", "units", "axis_labels")},
        colormap=DirectLabelColormap(color_dict=_COLOURS),
        opacity=_OPACITY,
        metadata={PREVIEW_KEY: True},
    )
    layer.editable = False
    return layer
