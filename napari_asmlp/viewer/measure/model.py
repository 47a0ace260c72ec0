"""The rows of a table, sorted and filtered, as Qt's views ask for them.

Sorting is Python's own: a proxy model of Qt asks Python for two cells at each comparison, which
takes seconds for 50,000 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QColor, QPalette

from napari_asmlp.io.tables import Cell
from napari_asmlp.viewer.edit.segment_model import swatch
from napari_asmlp.viewer.measure.rows import TIPS, Table, title

Key = tuple[Cell, Cell]
Record = Mapping[str, Cell]


class MeasureModel(QAbstractTableModel):
    """A `Table`: what is shown of it, in which order.

    Attributes
    ----------
    shown : its records, as they stand in the rows
    colour : of a label value, or None where there are no colours
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.colour: Callable[[int], QColor] | None = None
        self.table = Table()
        self.shown: list[Record] = []
        self._words: list[str] = []
        self._sorted: tuple[str, bool] | None = None
        self._stale = False

    def show(self, table: Table) -> None:
        """Show another table, sorted and filtered as before."""
        self._arrange(table)

    def filter(self, text: str) -> None:
        """Show only rows in whose label, name or other text all of some words occur."""
        words = text.casefold().split()
        if words != self._words:
            self._words = words
            self._arrange(self.table)

    def set_stale(self, on: bool) -> None:
        """Show the numbers as out of date, or as they are."""
        self._stale = on
        if self.shown:
            last = self.index(len(self.shown) - 1, len(self.table.columns) - 1)
            self.dataChanged.emit(self.index(0, 0), last, [Qt.ItemDataRole.ForegroundRole])

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what has no value comes last, whichever the order."""
        known = 0 <= column < len(self.table.columns)
        down = order == Qt.SortOrder.DescendingOrder
        self._sorted = (self.table.columns[column], down) if known else None
        self._arrange(self.table)

    def key(self, row: int) -> Key:
        """Return what a row is known by, in tables to come too: label and object."""
        return key_of(self.shown[row])

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of rows shown."""
        return 0 if parent is not None and parent.isValid() else len(self.shown)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self.table.columns)

    def headerData(  # noqa: N802  # Qt's name
        self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the title of a column, with its unit."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self.table.columns):
            return None
        column = self.table.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return title(column)
        return TIPS.get(column) if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid():
            return None
        column, row = self.table.columns[index.column()], self.shown[index.row()]
        cell = row.get(column)
        if role == Qt.ItemDataRole.DisplayRole:
            return shown_text(cell)
        if role == Qt.ItemDataRole.TextAlignmentRole and not isinstance(cell, str):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and self._stale:
            return QPalette().color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
        if role == Qt.ItemDataRole.DecorationRole and column == "label" and self.colour is not None:
            return swatch(self.colour(int(str(cell))))
        return None

    def _arrange(self, table: Table) -> None:
        self.beginResetModel()
        self.table = table
        shown = [row for row in table.records if self._is_wanted(row)]
        if self._sorted is not None and self._sorted[0] in table.columns:
            column, down = self._sorted
            known = [row for row in shown if row.get(column) is not None]
            missing = [row for row in shown if row.get(column) is None]
            shown = sorted(known, key=lambda row: _order(row[column]), reverse=down) + missing
        self.shown = shown
        self.endResetModel()

    def _is_wanted(self, row: Record) -> bool:
        if not self._words:
            return True
        texts = (cell for cell in row.values() if isinstance(cell, str))
        text = " ".join((str(row["label"]), *texts)).casefold()
        return all(word in text for word in self._words)


def key_of(row: Record) -> Key:
    """Return what a row is known by: label and object."""
    return row["label"], row.get("object")


def shown_text(cell: Cell) -> str:
    """Return a cell as it is read: about four digits, none of a whole number left out.

    >>> shown_text(12345), shown_text(12345.6), shown_text(1.23456), shown_text(None)
    ('12,345', '12,346', '1.235', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if 1000 <= abs(cell) < 1e15 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _order(cell: Cell) -> tuple[bool, Any]:
    """Return what a cell is sorted by: numbers before words."""
    return (True, cell.casefold()) if isinstance(cell, str) else (False, cell)
