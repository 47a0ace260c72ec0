"""The dialog that offers back what a crash left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.history.records import Summary
from napari_asmlp.viewer.history.recover import describe, discard, restore

if TYPE_CHECKING:
    import napari

_COLUMNS = ("Labels", "File", "Last edit", "Not exported")
_FILE = 1
_FILE_WIDTH = 160  # pixels; longer names are cut, and told in full by their tooltips


class RecoverDialog(QDialog):
    """A list of journals, to be restored, discarded, or left for the next time.

    Parameters
    ----------
    viewer
        Which the labels are restored into, and whose window the dialog belongs to.
    """

    def __init__(self, viewer: napari.Viewer, journals: Sequence[Summary]) -> None:
        viewer = getattr(viewer, "__wrapped__", viewer)  # a proxy hides the window's widget
        super().__init__(viewer.window._qt_window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Recover edits")
        self._viewer = viewer
        self._journals = list(journals)
        self.table = _table(journals)
        box = QDialogButtonBox()
        role = QDialogButtonBox.ButtonRole
        self.restore_button = box.addButton("Restore", role.AcceptRole)
        self.discard_button = box.addButton("Discard", role.DestructiveRole)
        self.later_button = box.addButton("Later", role.RejectRole)
        self.restore_button.setToolTip("Add the selected labels to the viewer, with their history")
        self.discard_button.setToolTip("Delete the selected edits for good")
        self.later_button.setToolTip("Keep them; File, IO Utilities, Recover edits… lists them")
        self.restore_button.clicked.connect(self._restore)
        self.discard_button.clicked.connect(self._ask)
        self.later_button.clicked.connect(self.close)
        layout = QVBoxLayout(self)
        text = QLabel(
            "These labels were edited, and not exported before napari ended or the layer was"
            " removed. Restored, they lie on the grid of the image they were drawn on."
        )
        text.setWordWrap(True)
        for widget in (text, self.table, box):
            layout.addWidget(widget)
        self.table.itemSelectionChanged.connect(self._show_enabled)
        self.table.selectAll()
        self.resize(760, 260)

    def _selected(self) -> list[Summary]:
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        return [self._journals[row] for row in rows]

    def _restore(self) -> None:
        for held in self._selected():
            restore(self._viewer, held)
        self._drop(self._selected())

    def _ask(self) -> None:
        count = len(self._selected())
        what = "these edits" if count == 1 else f"the edits of {count} layers"
        question = QMessageBox(self)
        question.setIcon(QMessageBox.Icon.Warning)
        question.setText(f"Delete {what} for good?")
        question.setStandardButtons(
            QMessageBox.StandardButton.Discard | QMessageBox.StandardButton.Cancel
        )
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.button(QMessageBox.StandardButton.Discard).clicked.connect(self._discard)
        question.open()

    def _discard(self) -> None:
        selected = self._selected()
        with errors_shown():
            for held in selected:
                discard(held)
        self._drop(selected)

    def _drop(self, gone: list[Summary]) -> None:
        for held in gone:
            row = self._journals.index(held)
            self.table.removeRow(row)
            del self._journals[row]
        if not self._journals:
            self.close()

    def _show_enabled(self) -> None:
        for button in (self.restore_button, self.discard_button):
            button.setEnabled(bool(self._selected()))


def _table(journals: Sequence[Summary]) -> QTableWidget:
    table = QTableWidget(len(journals), len(_COLUMNS))
    table.setHorizontalHeaderLabels(_COLUMNS)
    table.verticalHeader().hide()
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    for row, held in enumerate(journals):
        for column, text in enumerate(describe(held)):
            item = QTableWidgetItem(text)
            item.setToolTip(str(held.header.path) if column == _FILE and held.header.path else text)
            table.setItem(row, column, item)
    _share_width(table)
    return table


def _share_width(table: QTableWidget) -> None:
    """Give the names of layers what the other columns leave."""
    header, mode = table.horizontalHeader(), QHeaderView.ResizeMode
    header.setSectionResizeMode(mode.ResizeToContents)
    header.setSectionResizeMode(0, mode.Stretch)
    if table.sizeHintForColumn(_FILE) > _FILE_WIDTH:
        header.setSectionResizeMode(_FILE, mode.Interactive)
        header.resizeSection(_FILE, _FILE_WIDTH)
