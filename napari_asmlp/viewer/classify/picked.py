"""Which object of a labels layer is meant: the one clicked, or selected by other means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.classify.pick import Picker
from napari_asmlp.viewer.planes.connections import Connections

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_asmlp.viewer.classify.pick import Position


class Picked(QObject):
    """The object that is meant, in one layer at a time; it is the layer's selected label.

    Parameters
    ----------
    viewer
        Where objects are clicked.

    Signals
    -------
    changed() : another object is meant
    pressed(number) : the key of a class, from 1

    Attributes
    ----------
    layer : that is followed
    value : of the object, 0 for none
    place : where in the world it was clicked; empty if it was not
    """

    changed = Signal()
    pressed = Signal(int)

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._events = Connections()
        self._picker = Picker(viewer, lambda: self.layer, self._pick, self.pressed.emit)
        self.layer: Labels | None = None
        self.value = 0
        self.place: Position = ()
        self._selected = 0

    def follow(self, layer: Labels | None) -> None:
        """Turn to the objects of another layer, or of none."""
        self._events.close()
        self.layer, self.value, self.place = layer, 0, ()
        if layer is not None:
            self._selected = int(layer.selected_label)
            self._events.connect(layer.events.selected_label, self._follow_selection)
        self._picker.follow_layer()

    def toggle(self, on: bool) -> None:
        """Take the mouse and the keys 1 to 9, or give them back.

        Raises
        ------
        SettingsError
            If there is no layer to pick in.
        """
        if not on:
            self._picker.stop()
            return
        if self.layer is None:
            raise SettingsError("there are no labels: open, paint or segment some first")
        self._viewer.layers.selection.active = self.layer
        self._picker.start()

    def go_to(self, value: int, place: Position) -> None:
        """Mean another object, and show the slices of a place of it, if that is known."""
        if len(place) == self._viewer.dims.ndim:
            self._viewer.dims.point = place
        self._mean(value, place)

    def _pick(self, value: int, place: Position) -> None:
        """Take the object under the mouse; background is none."""
        if value:
            self._mean(value, place)

    def _mean(self, value: int, place: Position) -> None:
        if self.layer is not None:
            self.value, self.place = value, place
            self.layer.selected_label = value
            self.changed.emit()

    def _follow_selection(self, _event: Any = None) -> None:
        """Mean the label that is now selected; napari also says so when colours change."""
        if self.layer is None or int(self.layer.selected_label) == self._selected:
            return
        self._selected = int(self.layer.selected_label)
        if self._selected != self.value:
            self.value, self.place = self._selected, ()
            self.changed.emit()
