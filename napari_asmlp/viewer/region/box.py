"""The region of a viewer: at most one, on one image, shown as a box in every plane."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from psygnal import Signal

from napari_asmlp.grid import Grid, Region
from napari_asmlp.viewer.layers import REGION_KEY, index_at, shown_index, volume_of
from napari_asmlp.viewer.region.geometry import Outline

if TYPE_CHECKING:
    from napari.components import ViewerModel

_Thing = TypeVar("_Thing")

_COLOUR = "#ffd933"
_OPACITY = 0.2


class RegionBox:
    """The region of one viewer, and the layer that shows it.

    That layer is a Labels layer of a single voxel as large as the region, a tint: moving the region
    is a matter of scale and translate. napari shows it in whatever plane cuts the region, and in
    3D. Deleting the layer, or the image, clears the region.

    It has no bounding box: napari 0.9 crashes in OpenGL when it draws a layer that was added after
    one with a visible bounding box was removed.

    Signals
    -------
    changed() : another region, or none
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._layer: Labels | None = None
        self._image: Image | None = None
        self._region: Region | None = None
        viewer.layers.events.removed.connect(self._notice)

    @property
    def region(self) -> Region | None:
        """The region in voxels of its image's file; None for the whole volume."""
        return self._region

    @property
    def image(self) -> Image | None:
        """The image that the region is a part of."""
        return self._image

    def region_on(self, image: Image | None) -> Region | None:
        """Return the region if it is one of this image."""
        return self._region if image is not None and _unwrapped(image) is self._image else None

    def put(self, image: Image, region: Region) -> None:
        """Set the region; the selected layer stays selected.

        Raises
        ------
        SettingsError
            If the image is no volume.
        """
        image = _unwrapped(image)
        if image is self._image and region == self._region:
            return
        outline = outline_of(image, region)
        if image is not self._image:
            self._take_away()
        self._image, self._region = image, region
        if self._layer is None:
            self._layer = box_layer(image, region)
            self._show(self._layer)
        else:
            self._layer.scale = outline.high - outline.low
            self._layer.translate = (outline.low + outline.high) / 2
            self._layer.metadata = {REGION_KEY: str(region)}
        self.changed.emit()

    def clear(self) -> None:
        """Mean the whole volume again, and take the box away."""
        if self._region is not None:
            self._take_away()
            self._image = self._region = None
            self.changed.emit()

    def _show(self, layer: Labels) -> None:
        viewer = self._viewer()
        if viewer is not None:
            active = viewer.layers.selection.active
            viewer.add_layer(layer)
            viewer.layers.selection.active = active

    def _take_away(self) -> None:
        layer, self._layer = self._layer, None
        viewer = self._viewer()
        if viewer is not None and layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    def _notice(self, event: Any) -> None:
        """Note that the user has deleted the box, or what it is a part of."""
        if event.value is self._layer or event.value is self._image:
            self.clear()


_boxes: WeakKeyDictionary[ViewerModel, RegionBox] = WeakKeyDictionary()


def region_box(viewer: ViewerModel) -> RegionBox:
    """Return the region of a viewer, whoever asks."""
    viewer = _unwrapped(viewer)
    if viewer not in _boxes:
        _boxes[viewer] = RegionBox(viewer)
    return _boxes[viewer]


def current_region(viewer: ViewerModel, grid: Grid | None = None) -> Region | None:
    """Return the region that is set in a viewer; None if that is the whole volume.

    Parameters
    ----------
    grid
        That of the labels or the image it is wanted for: a region of another grid is none.
    """
    box = region_box(viewer)
    if box.image is None or (grid is not None and not volume_of(box.image).grid.same_as(grid)):
        return None
    return box.region


def box_layer(image: Image, region: Region) -> Labels:
    """Return a layer that tints a region of an image's volume; it cannot be painted."""
    outline = outline_of(image, region)
    layer = Labels(
        np.ones((1, 1, 1), np.uint8),
        name=f"region of {image.name}",
        scale=outline.high - outline.low,
        translate=(outline.low + outline.high) / 2,
        units=image.units,
        axis_labels=image.axis_labels,
        colormap=DirectLabelColormap(color_dict={None: "transparent", 1: _COLOUR}),
        opacity=_OPACITY,
        metadata={REGION_KEY: str(region)},
    )
    layer.editable = False
    return layer


def outline_of(image: Image, region: Region | None) -> Outline:
    """Return where a region of an image lies in the world; without one, the whole image.

    Raises
    ------
    SettingsError
        If the image is no volume.
    """
    region = region or Region.whole(volume_of(image).grid.shape)
    last = tuple(stop - 1 for stop in region.stop)
    ends = np.sort([shown_index(image, region.start), shown_index(image, last)], axis=0)
    spacing = np.asarray(image.scale, float)
    low, high = (np.asarray(image.translate) + end * spacing for end in ends)
    return Outline(low - spacing / 2, high + spacing / 2, spacing)


def region_in(image: Image, outline: Outline) -> Region:
    """Return the voxels of an image inside an outline; what reaches beyond the image is cut."""
    first, last = (index_at(image, end.tolist()) for end in outline.ends)
    start = [min(pair) for pair in zip(first, last, strict=True)]  # an axis may run the other way
    stop = [max(pair) + 1 for pair in zip(first, last, strict=True)]
    return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _unwrapped(thing: _Thing) -> _Thing:
    """Return a viewer or a layer itself: panels are given proxies of them."""
    itself: _Thing = getattr(thing, "__wrapped__", thing)
    return itself
