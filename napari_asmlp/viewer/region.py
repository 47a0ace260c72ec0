"""The region on screen: a box in all three planes, placed by a click."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtWidgets import QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.grid import Region
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.layers import REGION_KEY, index_at, shown_index, volume_of
from napari_asmlp.viewer.segment.request import box_around

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.model import Card

_COLOUR = "#ffd933"
_LINE = 2  # pixels on screen


class RegionBox:
    """Shows one region of one image, as the bounding box of an empty Labels layer of its own.

    napari draws it in whatever plane is shown, if that cuts the region, and as a wire frame in 3D.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None

    def show(self, image: Image, region: Region) -> None:
        """Move the box to a region of an image; the selected layer stays selected."""
        self.hide()
        active = self._viewer.layers.selection.active
        self._layer = box_layer(image, region)
        self._viewer.add_layer(self._layer)
        self._viewer.layers.selection.active = active

    def hide(self) -> None:
        """Take the box away, if the user has not done so."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None


class ClickPicker:
    """Passes on clicks in the canvas as world positions, while it is on; drags stay napari's."""

    def __init__(self, viewer: ViewerModel, picked: Callable[[tuple[float, ...]], None]) -> None:
        self._viewer = viewer
        self._picked = picked

    def turn(self, on: bool) -> None:
        """Start or stop listening."""
        callbacks = self._viewer.mouse_drag_callbacks
        if on and self._follow not in callbacks:
            callbacks.append(self._follow)
        elif not on and self._follow in callbacks:
            callbacks.remove(self._follow)

    def _follow(self, _viewer: ViewerModel, event: Any) -> Any:
        yield
        if event.type == "mouse_release":  # else it is a drag, which moves the view
            self._picked(tuple(event.position))


def box_layer(image: Image, region: Region) -> Labels:
    """Return a layer that outlines a region of an image's volume; it cannot be painted."""
    last = tuple(stop - 1 for stop in region.stop)
    corners = np.sort([shown_index(image, region.start), shown_index(image, last)], axis=0)
    scale, translate = np.asarray(image.scale), np.asarray(image.translate)
    layer = Labels(
        np.zeros(corners[1] - corners[0] + 1, np.uint8),
        name=f"region of {image.name}",
        scale=scale,
        translate=translate + corners[0] * scale,
        units=image.units,
        axis_labels=image.axis_labels,
        metadata={REGION_KEY: str(region)},
    )
    box = layer.bounding_box
    box.visible, box.points, box.line_color, box.line_thickness = True, False, _COLOUR, _LINE
    layer.editable = False
    return layer


def view_centre(viewer: ViewerModel) -> tuple[float, ...]:
    """Return the world position in the middle of what the viewer shows."""
    position = list(viewer.dims.point)
    centre = viewer.scene.camera.center[-viewer.dims.ndisplay :]
    for axis, place in zip(viewer.dims.displayed, centre, strict=True):
        position[axis] = float(place)
    return tuple(position)


class RegionRow(QWidget):
    """The region as text, and a button that places a box of the model's field of view.

    Pressed, the button puts the box in the middle of the view; while it stays down, a click in the
    image moves it there.

    Parameters
    ----------
    viewer
        Where the box is shown.
    choice
        Returns the chosen image and the model's card, or None for either.
    """

    def __init__(
        self, viewer: ViewerModel, choice: Callable[[], tuple[Image | None, Card | None]]
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._choice = choice
        self._box = RegionBox(viewer)
        self._picker = ClickPicker(viewer, self.place)
        self._text = QLineEdit(placeholderText="whole volume", clearButtonEnabled=True)
        self._text.setToolTip(
            "Voxels of the file, i0:i1,j0:j1,k0:k1, in the file's axis order; an empty end is the"
            " border, an empty field the whole volume"
        )
        self._text.editingFinished.connect(self._show_typed)
        self._text.textChanged.connect(lambda text: None if text else self._box.hide())
        self._button = QPushButton("Place box in the image", checkable=True)
        self._button.setToolTip(
            "Put a box of the model's field of view around the middle of the view; then click in"
            " the image to move it. Press again when it is right"
        )
        self._button.toggled.connect(self._toggle)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._text)
        column.addWidget(self._button)

    @property
    def text(self) -> str:
        """What is typed or placed; empty for the whole volume."""
        text: str = self._text.text()
        return text.strip()

    def place(self, position: tuple[float, ...]) -> None:
        """Put the box around a world position of the viewer."""
        with errors_shown():
            image, card = self._choice()
            if image is None or card is None:
                raise SettingsError("choose an image and a model first: their sizes make the box")
            region = box_around(index_at(image, position), volume_of(image).grid, card)
            self._text.setText(str(region))
            self._box.show(image, region)

    def follow_image(self) -> None:
        """Move the box to the image that is now chosen; a region that does not fit goes."""
        image, _ = self._choice()
        self._box.hide()
        if image is None or not self.text:
            return
        try:
            self._show_typed_on(image)
        except AsmlpError:
            self._text.clear()

    def close_box(self) -> None:
        """Take box and mouse back from the viewer."""
        self._picker.turn(on=False)
        self._box.hide()

    def _toggle(self, on: bool) -> None:
        self._picker.turn(on)
        if on:
            self.place(view_centre(self._viewer))

    def _show_typed(self) -> None:
        image, _ = self._choice()
        if image is None or not self.text:
            return
        self._box.hide()
        with errors_shown():
            self._show_typed_on(image)

    def _show_typed_on(self, image: Image) -> None:
        self._box.show(image, Region.parse(self.text, volume_of(image).grid.shape))
