"""A table on screen: rows to be chosen, copied and sorted; the choice outlives new numbers."""

from __future__ import annotations

from io import StringIO
from itertools import groupby
from typing import Any

from qtpy.QtCore import QItemSelection, QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QProgressBar, QShortcut, QTableView, QWidget

from napari_asmlp.io.tables import write_table
from napari_asmlp.viewer.measure.model import Key, MeasureModel

_ROWS_SHOWN = 4  # at least
_BAR_HEIGHT = 6  # pixels
_ROWS_FITTED = 100  # by how many rows the widths of columns are found
_WIDEST = 160  # pixels of a column, as long as the user does not widen it


class MeasureTable(QTableView):
    """Shows a `MeasureModel`.

    Signals
    -------
    chosen(record) : a row was clicked, or reached with the keys
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = MeasureModel(self)
        self.setModel(self.rows)
        self._columns: tuple[str, ...] = ()
        self._kept: tuple[set[Key], Key | None] = (set(), None)
        self._is_busy = False
        self._set_up()
        self.rows.modelAboutToBeReset.connect(self._keep)
        self.rows.modelReset.connect(self._restore)
        self.selectionModel().currentRowChanged.connect(self._choose)
        self.clicked.connect(self._choose)
        copy = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self)
        copy.setContext(Qt.ShortcutContext.WidgetShortcut)
        copy.activated.connect(self.copy)

    def copy(self) -> None:
        """Put the selected rows, or all, on the clipboard: tab-separated, under their names."""
        chosen = self._selected()
        shown = self.rows.shown
        text = StringIO()
        records = [shown[row] for row in chosen] if chosen else shown
        write_table(text, self.rows.table.columns, records, "\t")
        QGuiApplication.clipboard().setText(text.getvalue())

    def _set_up(self) -> None:
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        height = self.fontMetrics().height() + 8
        self.verticalHeader().setDefaultSectionSize(height)
        self.setMinimumHeight((_ROWS_SHOWN + 3) * height)
        self.setMinimumWidth(0)
        self.horizontalHeader().setResizeContentsPrecision(_ROWS_FITTED)
        self.horizontalHeader().setSortIndicator(-1, self.horizontalHeader().sortIndicatorOrder())
        self.setSortingEnabled(True)

    def _choose(self, now: Any, _before: Any = None) -> None:
        if now.isValid() and not self._is_busy:
            self.chosen.emit(self.rows.shown[now.row()])

    def _keep(self) -> None:
        """Remember which rows are selected, before they are replaced."""
        self._is_busy = True
        current = self.currentIndex()
        selected = {self.rows.key(row) for row in self._selected()}
        self._kept = selected, self.rows.key(current.row()) if current.isValid() else None

    def _restore(self) -> None:
        """Select the same rows, wherever they are now; go nowhere for it."""
        selected, current = self._kept
        if selected or current is not None:
            flags = QItemSelectionModel.SelectionFlag
            keys = [self.rows.key(row) for row in range(len(self.rows.shown))]
            if current in keys:
                index = self.rows.index(keys.index(current), 0)
                self.selectionModel().setCurrentIndex(index, flags.NoUpdate)
            self.selectionModel().select(self._selection(keys, selected), flags.ClearAndSelect)
        if self.rows.table.columns != self._columns:
            self._columns = self.rows.table.columns
            self._fit()
        self._is_busy = False

    def _selected(self) -> list[int]:
        """Return the selected rows; Qt's own ``selectedRows`` takes minutes for all of 50,000."""
        spans = self.selectionModel().selection()
        return sorted({row for span in spans for row in range(span.top(), span.bottom() + 1)})

    def _selection(self, keys: list[Key], selected: set[Key]) -> QItemSelection:
        """Return the rows of some keys, those that follow each other as one span."""
        selection, last = QItemSelection(), len(self.rows.table.columns) - 1
        for is_wanted, group in groupby(enumerate(keys), lambda each: each[1] in selected):
            if is_wanted:
                rows = [row for row, _ in group]
                selection.select(self.rows.index(rows[0], 0), self.rows.index(rows[-1], last))
        return selection

    def _fit(self) -> None:
        """Make columns as wide as what they hold, up to a limit."""
        self.resizeColumnsToContents()
        for column in range(len(self._columns)):
            self.setColumnWidth(column, min(self.columnWidth(column), _WIDEST))


def thin_bar() -> QProgressBar:
    """Return a bar for work that is often over in a moment."""
    bar = QProgressBar(textVisible=False)
    bar.setFixedHeight(_BAR_HEIGHT)
    return bar
