"""The list of all keys."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.viewer.shortcuts import SHORTCUTS

_SIZE = QSize(640, 600)
_COLUMNS = ("Key", "Does", "When")


class KeyList(QDialog):
    """A window beside napari's that lists the keys of this plugin."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts of napari-asmlp")
        self.table = QTableWidget(len(SHORTCUTS), len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        for row, shortcut in enumerate(SHORTCUTS):
            for column, text in enumerate((shortcut.text, shortcut.does, shortcut.when)):
                self.table.setItem(row, column, QTableWidgetItem(text))
        self.table.resizeColumnsToContents()
        self.table.horizontalHeader().setStretchLastSection(True)
        QVBoxLayout(self).addWidget(self.table)
        self.resize(_SIZE)
