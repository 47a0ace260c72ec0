"""The examples of a lesson as a table: object, class, and what a model says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_asmlp.viewer.classify.bars import percent

if TYPE_CHECKING:
    from napari_asmlp.pipeline.classification import Item
    from napari_asmlp.viewer.classify.lesson import Lesson

_HEADERS = ("Object", "Class", "Model says")
_ROWS_SHOWN = 3


class ExampleTable(QTableWidget):
    """Shows the examples, the latest first.

    Signals
    -------
    chosen(value) : a row was clicked, or reached with the keys
    deleted() : Delete was pressed
    """

    chosen = Signal(int)
    deleted = Signal()

    def __init__(self) -> None:
        super().__init__(0, len(_HEADERS))
        self._is_busy = False
        self.setHorizontalHeaderLabels(_HEADERS)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        height = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(height)
        self.setMinimumHeight((_ROWS_SHOWN + 2) * height)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setTabKeyNavigation(False)
        self.currentCellChanged.connect(self._choose)

    @property
    def selected(self) -> list[int]:
        """Label values of the selected rows."""
        return [self._value(index.row()) for index in self.selectionModel().selectedRows()]

    def show_examples(self, lesson: Lesson, items: Mapping[int, Item] | None = None) -> None:
        """Show examples, and beside them what a model says, in red where it is another class."""
        items, colours = items or {}, {entry.name: entry.colour for entry in lesson.classes}
        self._is_busy = True
        self.setRowCount(len(lesson.examples))
        for row, (value, name) in enumerate(reversed(list(lesson.examples.items()))):
            item = items.get(value)
            says = "" if item is None else f"{item.class_name} {percent(item.confidence)}"
            cells = [QTableWidgetItem(text) for text in (str(value), name, says)]
            cells[0].setData(Qt.ItemDataRole.UserRole, value)
            cells[1].setForeground(QColor(colours[name]))
            if item is not None and item.class_name != name:
                cells[2].setForeground(QColor("#ff6b5e"))
            for column, cell in enumerate(cells):
                self.setItem(row, column, cell)
        self._is_busy = False

    def event(self, event: QEvent) -> bool:
        """Take Delete for the selected rows, before napari takes it for the selected layers."""
        is_key = event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent)
        if is_key and event.matches(QKeySequence.StandardKey.Delete):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802  # Qt's name
        """Let Delete take the selected rows out."""
        if event.matches(QKeySequence.StandardKey.Delete):
            self.deleted.emit()
        else:
            super().keyPressEvent(event)

    def _choose(self, row: int, _column: int, _row: int, _before: int) -> None:
        if not self._is_busy and row >= 0:
            self.chosen.emit(self._value(row))

    def _value(self, row: int) -> int:
        return int(self.item(row, 0).data(Qt.ItemDataRole.UserRole))
