"""The rows of the segment list, as Qt's views ask for them: only those on screen are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from napari.layers import Labels
from napari.resources import get_colorized_svg, get_icon_path
from napari.utils.theme import get_theme
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_asmlp.viewer.colours import colour_of, is_shown, show_labels
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.edit.table import class_names, lock, locked_values, rename, title_of
from napari_asmlp.viewer.shortcuts import hint

EYE, VALUE, NAME, LOCK = range(4)  # the columns
_SWATCH = 14  # pixels
_NARROW = 24  # pixels: a column that is one icon
_ROWS_SHOWN = 5
_ICONS = ("visibility", "visibility_off", "lock", "lock_open")
_HINTS = {
    EYE: ("Shown: click to hide this label", "Hidden: click to show this label"),
    LOCK: (
        "Locked: neither brush nor tool touches it; click to unlock",
        "Click to lock: neither brush nor tool gives to or takes from it then",
    ),
}


class SegmentModel(QAbstractTableModel):
    """The labels of one layer, a row each: eye, colour and value, name, lock."""

    def __init__(self, parent: QObject, theme: str) -> None:
        super().__init__(parent)
        self._layer: Labels | None = None
        self._names: dict[int, str] = {}
        self._locked: frozenset[int] = frozenset()
        self.values: list[int] = []
        self.use_theme(theme)

    def show(self, layer: Labels | None, values: Iterable[int]) -> None:
        """Show labels of a layer: those given and all that have a name or a lock."""
        names = class_names(layer) if layer is not None else {}
        locked = locked_values(layer) if layer is not None else frozenset[int]()
        rows = sorted({*values, *names, *locked} - {0}) if layer is not None else []
        if rows == self.values and layer is self._layer:
            self._names, self._locked = names, locked
            if rows:  # keeps a name that is being typed, and where the list is scrolled to
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, LOCK))
            return
        self.beginResetModel()
        self._layer, self._names, self._locked, self.values = layer, names, locked, rows
        self.endResetModel()

    def use_theme(self, theme: str) -> None:
        """Draw the icons in the colours of a theme of napari."""
        colour = get_theme(theme).icon.as_hex()
        self._icons = {name: themed_icon(name, colour) for name in _ICONS}

    def toggle(self, index: QModelIndex) -> None:
        """Show or hide, lock or unlock the label of a cell that was clicked."""
        layer, value = self._layer, self.values[index.row()]
        if layer is None:
            return
        if index.column() == EYE:
            show_labels(layer, [value], on=not is_shown(layer, value))
        elif index.column() == LOCK:
            lock(layer, value, on=value not in self._locked)
            self.show(layer, self.values)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of labels."""
        return 0 if parent is not None and parent.isValid() else len(self.values)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else LOCK + 1

    def flags(self, index: QModelIndex) -> Any:
        """Only names can be typed."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == NAME else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        layer = self._layer
        if layer is None or not index.isValid():
            return None
        value, column = self.values[index.row()], index.column()
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return {VALUE: str(value), NAME: title_of(value, self._names)}.get(column)
        if role == Qt.ItemDataRole.DecorationRole:
            return self._picture(layer, value, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._hint(layer, value, column)
        return None

    def setData(  # noqa: N802  # Qt's name
        self, index: QModelIndex, text: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Rename a label; a name that cannot be is refused with a notification."""
        if self._layer is None or role != Qt.ItemDataRole.EditRole:
            return False
        value = self.values[index.row()]
        if text != title_of(value, self._names):  # else nothing was typed
            with errors_shown():
                rename(self._layer, value, str(text))
        return bool(class_names(self._layer).get(value) == text)

    def _picture(self, layer: Labels, value: int, column: int) -> QIcon | None:
        if column == EYE:
            return self._icons["visibility" if is_shown(layer, value) else "visibility_off"]
        if column == VALUE:
            return swatch(QColor.fromRgbF(*colour_of(layer, value)[:3]))
        if column == LOCK:
            return self._icons["lock" if value in self._locked else "lock_open"]
        return None

    def _hint(self, layer: Labels, value: int, column: int) -> str:
        if column == EYE:
            return _HINTS[EYE][0 if is_shown(layer, value) else 1]
        if column == LOCK:
            return hint(_HINTS[LOCK][0 if value in self._locked else 1], "toggle_lock")
        title = f"{title_of(value, self._names)} (label {value})"
        return f"{title}. Double-click: the colour" if column == VALUE else f"{title}. F2: rename"


def segment_table(model: SegmentModel) -> QTableView:
    """Return a view of the rows that shows a few of them at a time."""
    table = QTableView()
    table.setModel(model)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    triggers = QAbstractItemView.EditTrigger
    table.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
    table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setShowGrid(False)
    table.setTabKeyNavigation(False)
    table.horizontalHeader().hide()
    table.verticalHeader().hide()
    height = table.fontMetrics().height() + 8
    table.verticalHeader().setDefaultSectionSize(height)
    table.setFixedHeight(_ROWS_SHOWN * height + 4)
    header = table.horizontalHeader()
    header.setMinimumSectionSize(_NARROW)
    header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
    widths = {
        EYE: _NARROW,
        VALUE: 24 + table.fontMetrics().horizontalAdvance("00000"),
        LOCK: _NARROW,
    }
    for column, width in widths.items():
        table.setColumnWidth(column, width)
    return table


def swatch(colour: QColor) -> QIcon:
    """Return a square of a colour, the same in a selected row."""
    square = QPixmap(_SWATCH, _SWATCH)
    square.fill(colour)
    icon = QIcon(square)
    icon.addPixmap(square, QIcon.Mode.Selected)  # or Qt tints it
    return icon


def themed_icon(name: str, colour: str) -> QIcon:
    """Return one of napari's own icons in a colour."""
    drawn = QPixmap()
    drawn.loadFromData(get_colorized_svg(get_icon_path(name), colour).encode(), "SVG")
    icon = QIcon(drawn)
    icon.addPixmap(drawn, QIcon.Mode.Selected)
    return icon
