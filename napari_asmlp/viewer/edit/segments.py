"""The segment list: the labels of a layer by colour and name, to be selected, shown and locked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QItemSelectionModel, QModelIndex, QPoint, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QKeySequence
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QMenu,
    QMessageBox,
    QPushButton,
    QShortcut,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.colours import colour_of, fresh_colour, is_shown, recolour, show_labels
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.edit.request import Prepared, editable_grid, removal
from napari_asmlp.viewer.edit.segment_model import (
    EYE,
    LOCK,
    NAME,
    VALUE,
    SegmentModel,
    segment_table,
)
from napari_asmlp.viewer.edit.table import (
    class_names,
    forget,
    lock,
    locked_values,
    next_value,
    remember,
    rename,
    title_of,
    values_in,
)
from napari_asmlp.viewer.shortcuts import key_of
from napari_asmlp.viewer.tasks import Job, Task

if TYPE_CHECKING:
    from napari.components import ViewerModel

_SETTLED_MS = 300  # after the last of several undos, the voxels are looked through once


class SegmentList(QWidget):
    """The labels of a layer, and buttons that add, delete, and show one alone.

    Listed are the values that have a name, that lie in the voxels, or that are painted with.

    Signals
    -------
    listed() : the labels, their names, locks or the selected one may be others now
    """

    listed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self._values: set[int] = set()
        self._scanned = False
        self._scan: Task | None = None
        self._removal: Task | None = None
        self.model = SegmentModel(self, viewer.theme)
        self.table = segment_table(self.model)
        self._settled = QTimer(self, singleShot=True, interval=_SETTLED_MS)
        self._make_buttons()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(self._buttons())
        self._listen()
        self._relist()

    def follow(self, layer: Labels | None) -> None:
        """List the labels of another layer, and keep to them as they change."""
        self._hear(self._layer, on=False)
        self._stop_tasks()
        self._layer, self._values, self._scanned = layer, set(), False
        self._hear(layer, on=True)
        self._relist()
        self.rescan()

    def rescan(self) -> None:
        """Look for the values in the voxels, in another thread; they are listed when found."""
        _stop(self._scan)
        self._scan, layer = None, self._layer
        if layer is None or not isinstance(layer.data, np.ndarray):
            return
        array = layer.data
        self._scan = Task(Job(f"labels of {layer.name}", lambda: values_in(array)), self)
        self._scan.returned.connect(self._found)
        self._scan.start()

    def rescan_soon(self, _event: Any = None) -> None:
        """Look for the values once the voxels stay as they are for a moment."""
        self._settled.start()

    def use_theme(self, _event: Any = None) -> None:
        """Follow napari's theme."""
        self.model.use_theme(self._viewer.theme)
        self._relist()

    def add(self) -> None:
        """Add a label, with the next value that is free, ready to paint."""
        with errors_shown():
            layer = self._editable()
            value = next_value(layer, {*self._values, *self.model.values})
            colour = fresh_colour(layer, self.model.values)
            rename(layer, value, f"label {value}")
            show_labels(layer, [value], on=True)
            recolour(layer, value, colour)
            layer.selected_label = value
            self._viewer.layers.selection.active = layer
            layer.mode = "paint"

    def delete(self) -> None:
        """Delete the selected label, after saying how many voxels it has."""
        with errors_shown():
            layer = self._editable()
            value = self._selected(layer)
            _stop(self._removal)
            self._removal = Task(removal(layer, value), self)
            self._removal.returned.connect(lambda found: self._confirm(layer, value, found))
            self._removal.start()

    def choose_colour(self) -> None:
        """Choose another colour for the selected label, in a dialog."""
        with errors_shown():
            layer = self._chosen_layer()
            value = self._selected(layer)
            now = QColor.fromRgbF(*colour_of(layer, value)[:3])
            title = f"Colour of {title_of(value, class_names(layer))}"
            chosen = QColorDialog.getColor(now, self, title)
            if chosen.isValid():
                recolour(layer, value, chosen.getRgbF())

    def rename(self) -> None:
        """Type another name for the selected label, in its row."""
        if self.table.currentIndex().isValid():
            self.table.edit(self.table.currentIndex().siblingAtColumn(NAME))

    def _make_buttons(self) -> None:
        self.add_button = QPushButton("Add")
        self.add_button.setToolTip("A new label with the next free value, ready to paint")
        self.delete_button = QPushButton("Delete")
        self.delete_button.setToolTip(
            "Turn the selected label into background (Delete), as one step that"
            f" {key_of('undo')} takes back"
        )
        self.alone_button = QPushButton("Show alone", checkable=True)
        self.alone_button.setToolTip("Show only the selected label, whichever that is")

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for button in (self.add_button, self.delete_button, self.alone_button):
            row.addWidget(button, stretch=1)
        return row

    def _listen(self) -> None:
        self.add_button.clicked.connect(self.add)
        self.delete_button.clicked.connect(self.delete)
        self.alone_button.toggled.connect(self._show_alone)
        self.table.clicked.connect(self._toggle)
        self.table.doubleClicked.connect(self._double_click)
        self.table.customContextMenuRequested.connect(self._open_menu)
        self.table.selectionModel().currentChanged.connect(self._select)
        self._settled.timeout.connect(self.rescan)
        delete = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self.delete)

    def _hear(self, layer: Labels | None, *, on: bool) -> None:
        """Follow what a layer says, or no longer."""
        if layer is None:
            return
        events = layer.events
        looks = (events.selected_label, events.features, events.colormap)
        for event in (*looks, events.show_selected_label):
            (event.connect if on else event.disconnect)(self._relist)
        (events.data.connect if on else events.data.disconnect)(self.rescan_soon)

    def _found(self, values: Iterable[int]) -> None:
        """List what lies in the voxels; a label that an undo brought back has its name again."""
        self._values, self._scanned = set(values), True
        if self._layer is not None:
            remember(self._layer, self._values)
        self._relist()

    def _relist(self, _event: Any = None) -> None:
        layer = self._layer
        if layer is not None:
            self._values.add(int(layer.selected_label))
        self.model.show(layer, self._values)
        self._mark_selected()
        usable = layer is not None and self._scanned
        self.add_button.setEnabled(usable)
        self.delete_button.setEnabled(usable)
        self.alone_button.setEnabled(layer is not None)
        self.alone_button.setChecked(layer is not None and layer.show_selected_label)
        self.listed.emit()

    def _mark_selected(self) -> None:
        """Highlight the layer's selected label."""
        layer, values = self._layer, self.model.values
        if layer is None or layer.selected_label not in values:
            self.table.clearSelection()
            return
        index = self.model.index(values.index(layer.selected_label), NAME)
        flags = QItemSelectionModel.SelectionFlag
        self.table.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)

    def _select(self, now: QModelIndex, _before: QModelIndex) -> None:
        """Select the label of a row; not where its eye or lock was clicked."""
        if self._layer is not None and now.isValid() and now.column() in (VALUE, NAME):
            self._layer.selected_label = self.model.values[now.row()]

    def _toggle(self, index: QModelIndex) -> None:
        if index.column() in (EYE, LOCK):
            self.model.toggle(index)
            self._mark_selected()
            self.listed.emit()

    def _double_click(self, index: QModelIndex) -> None:
        if index.column() == VALUE:
            self.choose_colour()

    def _show_alone(self, on: bool) -> None:
        if self._layer is not None and self._layer.show_selected_label != on:
            self._layer.show_selected_label = on

    def _open_menu(self, place: QPoint) -> None:
        layer, index = self._layer, self.table.indexAt(place)
        if layer is None or not index.isValid():
            return
        layer.selected_label = value = self.model.values[index.row()]
        shown, locked = is_shown(layer, value), value in locked_values(layer)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Rename (F2)", self.rename)
        menu.addAction("Colour…", self.choose_colour)
        menu.addAction(
            "Hide" if shown else "Show", lambda: show_labels(layer, [value], on=not shown)
        )
        menu.addAction("Unlock" if locked else "Lock", lambda: self._lock(value, on=not locked))
        menu.addAction("Delete", self.delete)
        menu.popup(self.table.viewport().mapToGlobal(place))

    def _lock(self, value: int, *, on: bool) -> None:
        if self._layer is not None:
            lock(self._layer, value, on=on)
            self._relist()

    def _confirm(self, layer: Labels, value: int, prepared: Prepared | None) -> None:
        """Ask before voxels go; a label without any goes at once."""
        if prepared is None:
            self._drop(layer, value)
            return
        title = title_of(value, class_names(layer))
        box = QMessageBox(QMessageBox.Icon.Question, "Delete label", "", parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setText(f"{prepared.change.count:,} voxels of {title!r} become background.")
        box.setInformativeText(f"{key_of('undo')} brings them back.")
        yes = box.addButton("Delete", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        yes.clicked.connect(lambda: self._remove(layer, value, prepared))
        box.open()

    def _remove(self, layer: Labels, value: int, prepared: Prepared) -> None:
        with errors_shown():
            if layer not in self._viewer.layers:
                raise SettingsError(f"labels {layer.name!r} are no longer open")
            prepared.commit()
            self._drop(layer, value)

    def _drop(self, layer: Labels, value: int) -> None:
        """Take a label that has no voxel out of the list, and select another."""
        forget(layer, value)
        if self._layer is None or layer is not self._layer:
            return
        self._values.discard(value)
        left = [other for other in self.model.values if other != value]
        layer.selected_label = min(left, key=lambda other: abs(other - value), default=1)
        self._relist()

    def _chosen_layer(self) -> Labels:
        if self._layer is None:
            raise SettingsError("there are no labels: open, paint or segment some first")
        return self._layer

    def _editable(self) -> Labels:
        layer = self._chosen_layer()
        editable_grid(layer)
        return layer

    def _selected(self, layer: Labels) -> int:
        value = int(layer.selected_label)
        if value <= 0:
            raise SettingsError("the background is selected: click a label of the list first")
        return value

    def _stop_tasks(self) -> None:
        _stop(self._scan)
        _stop(self._removal)
        self._scan = self._removal = None
        self._settled.stop()


def _stop(task: Task | None) -> None:
    if task is not None:
        task.abandon()
        task.deleteLater()
