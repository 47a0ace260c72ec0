"""Notices that labels have changed, by whatever edits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_asmlp.viewer.history.edits import edits_of, is_editable
from napari_asmlp.viewer.planes.connections import Connections

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_asmlp.viewer.history.edits import Edits

_SETTLED_MS = 500


class Watch(QObject):
    """Follows the voxels of one labels layer at a time.

    Signals
    -------
    touched() : they are being edited
    settled() : they have been, and then stayed as they are for a moment
    """

    touched = Signal()
    settled = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._events = Connections()
        self._layer: Labels | None = None
        self._edits: Edits | None = None
        self._stamp: object = None
        self._timer = QTimer(self, singleShot=True, interval=_SETTLED_MS)
        self._timer.timeout.connect(self.settled)

    def follow(self, layer: Labels | None) -> None:
        """Follow another layer, or none."""
        self._events.close()
        self._timer.stop()
        self._layer, self._edits = layer, None
        if layer is None:
            return
        for event in (layer.events.paint, layer.events.data):
            self._events.connect(event, self._touch)
        if is_editable(layer):
            self._edits = edits_of(layer)
            for signal in (self._edits.changed, self._edits.finished):
                self._events.connect(signal, self._touch)
            # what a run of a model writes, or a program that refreshes the layer
            self._events.connect(layer.events.set_data, self._look)
            self._stamp = self._edits.stamp

    def _touch(self, _event: Any = None) -> None:
        self.touched.emit()
        self._timer.start()

    def _look(self, _event: Any = None) -> None:
        """Tell a layer that has been written into from one that only shows another slice."""
        layer, edits = self._layer, self._edits
        if layer is None or edits is None or not layer.visible:
            return
        before, self._stamp = self._stamp, edits.stamp
        if before != self._stamp:
            self._touch()
