"""The segments of a labels layer: one row a label, with colour, name and lock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_asmlp.viewer.edit.request import (
    class_names,
    lock,
    locked_values,
    title_of,
    values_in,
)
from napari_asmlp.viewer.tasks import Job, Task

_MOST_ROWS = 1000  # more would take seconds to list
_ROWS_SHOWN = 4
_SWATCH = 12  # pixels


class LabelList(QListWidget):
    """The labels of a layer by colour and name; a tick locks one, a click selects it.

    Listed are the values that have a name, that lie in the voxels, or that are painted with.

    Signals
    -------
    listed() : the labels, their names or the selected one may be others now
    """

    listed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layer: Labels | None = None
        self._values: set[int] = set()
        self._scan: Task | None = None
        self.setToolTip(
            "Ticked labels are locked: no tool gives to or takes from them. Click a name to select"
            " the label"
        )
        row = self.fontMetrics().height() + 8
        self.setFixedHeight(_ROWS_SHOWN * row)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.itemChanged.connect(self._lock)
        self.itemClicked.connect(self._select)

    def follow(self, layer: Labels | None) -> None:
        """List the labels of another layer, and keep to them as they change."""
        if self._layer is not None:
            for event in self._looks(self._layer):
                event.disconnect(self._relist)
            self._layer.events.data.disconnect(self._rescan)
        self._layer = layer
        if layer is not None:
            for event in self._looks(layer):
                event.connect(self._relist)
            layer.events.data.connect(self._rescan)
        self._rescan()

    def add(self, values: Iterable[int]) -> None:
        """List values that now lie in the voxels too."""
        self._values.update(values)
        self._relist()

    def _rescan(self, _event: Any = None) -> None:
        """Look for the values in the voxels, in another thread; they are listed when found."""
        if self._scan is not None:
            self._scan.abandon()
            self._scan.deleteLater()
            self._scan = None
        self._values = set()
        self._relist()
        layer = self._layer
        if layer is None or not isinstance(layer.data, np.ndarray):
            return
        array = layer.data
        self._scan = Task(Job(f"labels of {layer.name}", lambda: values_in(array)), self)
        self._scan.returned.connect(self.add)
        self._scan.start()

    def _relist(self, _event: Any = None) -> None:
        layer = self._layer
        self.blockSignals(True)
        self.clear()
        if layer is not None:
            self._values.add(int(layer.selected_label))
            names, locked = class_names(layer), locked_values(layer)
            values = sorted({*self._values, *names, *locked} - {0})
            for value in values[:_MOST_ROWS]:
                self.addItem(_row(layer, value, names, value in locked))
            if len(values) > _MOST_ROWS:
                more = QListWidgetItem(f"and {len(values) - _MOST_ROWS} more")
                more.setFlags(Qt.ItemFlag.NoItemFlags)
                self.addItem(more)
        self._mark_selected()
        self.blockSignals(False)
        self.listed.emit()

    @staticmethod
    def _looks(layer: Labels) -> tuple[Any, ...]:
        return layer.events.selected_label, layer.events.features, layer.events.colormap

    def _mark_selected(self) -> None:
        """Highlight the layer's selected label."""
        for n in range(self.count()):
            value = self.item(n).data(Qt.ItemDataRole.UserRole)
            if self._layer is not None and value == self._layer.selected_label:
                self.setCurrentRow(n)
                return
        self.setCurrentRow(-1)

    def _lock(self, item: QListWidgetItem) -> None:
        if self._layer is not None:
            on = item.checkState() == Qt.CheckState.Checked
            lock(self._layer, item.data(Qt.ItemDataRole.UserRole), on=on)

    def _select(self, item: QListWidgetItem) -> None:
        value = item.data(Qt.ItemDataRole.UserRole)
        if self._layer is not None and value is not None:
            self._layer.selected_label = value


def _row(layer: Labels, value: int, names: dict[int, str], locked: bool) -> QListWidgetItem:
    swatch = QPixmap(_SWATCH, _SWATCH)
    colour = layer.get_color(value)  # None where only the selected label is shown
    swatch.fill(QColor.fromRgbF(*(float(c) for c in colour)) if colour is not None else QColor(0))
    icon = QIcon(swatch)
    icon.addPixmap(swatch, QIcon.Mode.Selected)  # or Qt tints it
    name = title_of(value, names)
    item = QListWidgetItem(icon, f"{value} {name}" if value in names else name)
    item.setToolTip(item.text())
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if locked else Qt.CheckState.Unchecked)
    item.setData(Qt.ItemDataRole.UserRole, value)
    return item
