"""The classes in the panel: a short list with what is annotated of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.viewer.edit.segment_model import swatch
from napari_asmlp.viewer.widgets import text_label

if TYPE_CHECKING:
    from napari_asmlp.viewer.teach.classes import ClassEntry
    from napari_asmlp.viewer.teach.tally import Count

VALUE, NAME, VOXELS, SLICES = range(4)  # the columns
_TITLES = ("Value", "Class", "Voxels", "Slices")
_ROWS_SHOWN = 5
ZERO_TEXT = "0: not annotated. Background has its own value"
_ZERO_HINT = "Voxels of value 0 are ignored. Those of the background's value become 0 in the result"


class ClassBox(QWidget):
    """A list of classes; the panel says what is in it.

    Signals
    -------
    picked(value) : a class was clicked
    renamed(value, name), recoloured(value, colour) : it was given another name or colour
    added() : a new class is wanted
    removed(value) : it shall go
    background_set(value, on) : it shall mean background, or no longer
    """

    picked = Signal(int)
    renamed = Signal(int, str)
    recoloured = Signal(int, object)
    added = Signal()
    removed = Signal(int)
    background_set = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        self._entries: tuple[ClassEntry, ...] = ()
        self.table = _table()
        self.table.itemChanged.connect(self._rename)
        self.table.itemClicked.connect(lambda item: self._pick(item.row()))
        self.table.cellDoubleClicked.connect(self._recolour)
        self.zero = text_label()
        self.zero.setText(ZERO_TEXT)
        self.zero.setToolTip(_ZERO_HINT)
        self.note = text_label()
        self.add_button = QPushButton("Add class")
        self.add_button.clicked.connect(self.added)
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip("Take the class out, and what is painted of it")
        self.remove_button.clicked.connect(lambda: self._with_value(self.removed.emit))
        self.background_button = QPushButton("Background", checkable=True)
        self.background_button.setToolTip("Whether the class is background: written as 0")
        self.background_button.clicked.connect(
            lambda on: self._with_value(lambda value: self.background_set.emit(value, on))
        )
        self._lay_out()

    @property
    def value(self) -> int | None:
        """The class that is selected."""
        row = self.table.currentRow()
        return self._entries[row].value if 0 <= row < len(self._entries) else None

    def show_classes(
        self, entries: Sequence[ClassEntry], counts: Mapping[int, Count], value: int | None
    ) -> None:
        """Show classes, what is annotated of each, and which is selected."""
        table = self.table
        table.blockSignals(True)
        if tuple(entries) != self._entries:
            self._entries = tuple(entries)
            table.setRowCount(len(entries))
            for row, entry in enumerate(entries):
                self._fill(row, entry)
        for row, entry in enumerate(entries):
            count = counts.get(entry.value)
            for column, number in (
                (VOXELS, count and count.voxels),
                (SLICES, count and count.slices),
            ):
                table.item(row, column).setText(f"{number or 0:,}")
        selected = next((n for n, entry in enumerate(entries) if entry.value == value), -1)
        if selected != table.currentRow():
            table.setCurrentCell(selected, NAME)
        table.blockSignals(False)
        chosen = entries[selected] if selected >= 0 else None
        self.background_button.setChecked(chosen is not None and chosen.is_background)

    def say(self, text: str) -> None:
        """Show what is missing, or worth knowing."""
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def set_open(self, *, on: bool) -> None:
        """Let classes be changed, or not where there are no annotations."""
        for widget in (self.table, self.add_button, self.remove_button, self.background_button):
            widget.setEnabled(on)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        for button in (self.add_button, self.remove_button, self.background_button):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(row)
        column.addWidget(self.zero)
        column.addWidget(self.note)

    def _fill(self, row: int, entry: ClassEntry) -> None:
        colour = QColor.fromRgbF(*entry.colour)
        texts = (str(entry.value), entry.name, "0", "0")
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            if column != NAME:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            if column in (VOXELS, SLICES):
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            font = item.font()
            font.setItalic(entry.is_background)
            item.setFont(font)
            self.table.setItem(row, column, item)
        self.table.item(row, VALUE).setIcon(swatch(colour))
        what = "Background: becomes 0 in the result" if entry.is_background else "A class"
        self.table.item(row, NAME).setToolTip(f"{what}. Click to paint it, double-click to rename")
        self.table.item(row, VALUE).setToolTip("Double-click: the colour")
        self.table.item(row, SLICES).setToolTip("In the direction with fewest")

    def _rename(self, item: QTableWidgetItem) -> None:
        if item.column() == NAME:
            entry = self._entries[item.row()]
            self.table.blockSignals(True)
            text = item.text()
            item.setText(entry.name)  # until the name has been taken
            self.table.blockSignals(False)
            self.renamed.emit(entry.value, text)

    def _pick(self, row: int) -> None:
        if 0 <= row < len(self._entries):
            self.picked.emit(self._entries[row].value)

    def _recolour(self, row: int, column: int) -> None:
        if column != VALUE or not 0 <= row < len(self._entries):
            return
        entry = self._entries[row]
        colour = QColorDialog.getColor(
            QColor.fromRgbF(*entry.colour), self, f"Colour of {entry.name}"
        )
        if colour.isValid():
            self.recoloured.emit(entry.value, colour.getRgbF()[:3])

    def _with_value(self, do: object) -> None:
        if self.value is not None and callable(do):
            do(self.value)


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_TITLES))
    table.setHorizontalHeaderLabels(_TITLES)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    triggers = QAbstractItemView.EditTrigger
    table.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setShowGrid(False)
    table.setTabKeyNavigation(False)
    table.verticalHeader().hide()
    height = table.fontMetrics().height() + 8
    table.verticalHeader().setDefaultSectionSize(height)
    table.setFixedHeight((_ROWS_SHOWN + 1) * height + 4)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
    header.setFixedHeight(height)
    metrics = table.fontMetrics()
    for column, widest in ((VALUE, "00000"), (VOXELS, "00,000,000"), (SLICES, "Slices")):
        table.setColumnWidth(column, metrics.horizontalAdvance(widest) + 20)
    return table
