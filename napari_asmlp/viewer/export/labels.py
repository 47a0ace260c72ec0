"""The list in which labels are ticked that become part of a file."""

from __future__ import annotations

from collections.abc import Mapping

from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.measure import voxel_mm3
from napari_asmlp.viewer.edit.table import class_names, title_of
from napari_asmlp.viewer.export.request import listed_values
from napari_asmlp.viewer.files import labels_volume, rgb_of

_MOST_ROWS = 1000  # more would take seconds to list; they are written unless others are chosen
_ROWS_SHOWN = 5
_SWATCH = 12  # pixels
_COLUMNS = ("Label", "Name", "Voxels", "ml")


class LabelChoice(QWidget):
    """Labels by colour, name, voxels and volume, each with a tick.

    Signals
    -------
    changed() : ticks were set or taken away by hand
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.list = QTreeWidget(rootIsDecorated=False, uniformRowHeights=True)
        self.list.setHeaderLabels(_COLUMNS)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.list.setToolTip("Ticked labels are written; the others become background")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.list.header()
        header.setStretchLastSection(False)
        for column in range(len(_COLUMNS)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.list.setMinimumHeight((_ROWS_SHOWN + 1) * (self.fontMetrics().height() + 9))
        self.list.itemChanged.connect(self.changed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        row = QHBoxLayout()
        for title, on in (("All", True), ("None", False)):
            button = QPushButton(title, toolTip=f"Tick {title.lower()} of the labels")
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, on=on: self.tick_all(on=on))
            row.addWidget(button)
        row.addStretch()
        column.addLayout(row)

    def show_labels(self, layer: Labels, counts: Mapping[int, int]) -> None:
        """List the labels of a layer, all ticked."""
        self.list.blockSignals(True)
        self.list.clear()
        if counts:
            names = class_names(layer)
            voxel_ml = voxel_mm3(labels_volume(layer).grid.affine) / 1000
            values = listed_values(layer, counts)
            self.list.addTopLevelItems(
                [_row(layer, v, names, counts.get(v, 0), voxel_ml) for v in values[:_MOST_ROWS]]
            )
            if len(values) > _MOST_ROWS:
                more = QTreeWidgetItem(["", f"and {len(values) - _MOST_ROWS} more"])
                more.setFlags(Qt.ItemFlag.NoItemFlags)
                self.list.addTopLevelItem(more)
        self.list.blockSignals(False)

    def chosen(self) -> frozenset[int] | None:
        """Return the values of the ticked labels; None if all are."""
        items = self._items()
        ticked = [item for item in items if item.checkState(0) == Qt.CheckState.Checked]
        if len(ticked) == len(items):
            return None
        return frozenset(item.data(0, Qt.ItemDataRole.UserRole) for item in ticked)

    def tick_all(self, *, on: bool) -> None:
        """Tick all labels, or none."""
        self.list.blockSignals(True)
        for item in self._items():
            item.setCheckState(0, Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.list.blockSignals(False)
        self.changed.emit()

    def _items(self) -> list[QTreeWidgetItem]:
        items = [self.list.topLevelItem(n) for n in range(self.list.topLevelItemCount())]
        return [item for item in items if item.data(0, Qt.ItemDataRole.UserRole) is not None]


def _row(
    layer: Labels, value: int, names: Mapping[int, str], voxels: int, voxel_ml: float
) -> QTreeWidgetItem:
    ml = voxels * voxel_ml
    item = QTreeWidgetItem(
        [str(value), title_of(value, names), f"{voxels:,}", f"{ml:,.{2 if ml >= 1 else 3}f}"]
    )
    item.setToolTip(1, item.text(1))
    swatch = QPixmap(_SWATCH, _SWATCH)
    swatch.fill(QColor(*rgb_of(layer, value)))
    item.setIcon(0, QIcon(swatch))
    item.setCheckState(0, Qt.CheckState.Checked)
    item.setData(0, Qt.ItemDataRole.UserRole, value)
    for column in (2, 3):
        item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
