"""The list of the tools, in groups."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QComboBox, QWidget

from napari_asmlp.edit import (
    TOOLS,
    ClipToRegion,
    CopySlice,
    FillHoles,
    Grow,
    GrowFromSeeds,
    Hollow,
    InterpolateSlices,
    KeepLargestIsland,
    Merge,
    Relabel,
    RemoveSmallIslands,
    Shrink,
    Smooth,
    SplitByWatershed,
    Threshold,
    Tool,
)
from napari_asmlp.viewer.shortcuts import hint

GROUPS: dict[str, tuple[type[Tool], ...]] = {
    "Clean up": (KeepLargestIsland, RemoveSmallIslands, FillHoles, Smooth),
    "Shape": (Grow, Shrink, Hollow, SplitByWatershed, ClipToRegion),
    "Slices": (InterpolateSlices, CopySlice),
    "By the image": (Threshold, GrowFromSeeds),
    "Values": (Merge, Relabel),
}
_KEYS: dict[type[Tool], str] = {InterpolateSlices: "interpolate", CopySlice: "copy_forward"}
_INDENT = "   "
_SHOWN_LETTERS = 12


class ToolChoice(QComboBox):
    """Chooses one of the tools, which stand under the titles of their groups.

    Signals
    -------
    changed() : another tool is chosen
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(QStandardItemModel(self))
        self._tools: dict[int, type[Tool]] = {}
        for title, tools in groups().items():
            heading = QStandardItem(title)
            heading.setFlags(Qt.ItemFlag.NoItemFlags)
            self.model().appendRow(heading)
            for tool in tools:
                self._tools[self.count()] = tool
                self.model().appendRow(_row(tool))
        self.setMaxVisibleItems(self.count())
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(_SHOWN_LETTERS)
        self.setCurrentIndex(min(self._tools))
        self.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> type[Tool] | None:
        """The tool that is chosen."""
        return self._tools.get(self.currentIndex())

    @value.setter
    def value(self, tool: type[Tool]) -> None:
        self.setCurrentIndex(next(row for row, each in self._tools.items() if each is tool))


def groups() -> dict[str, tuple[type[Tool], ...]]:
    """Return the tools by group; those of none come last."""
    grouped = {tool for tools in GROUPS.values() for tool in tools}
    others = tuple(tool for tool in TOOLS if tool not in grouped)
    return {**GROUPS, "Others": others} if others else GROUPS


def tool_help(tool: type[Tool]) -> str:
    """Return what a tool does, in a sentence, and the key that does it at once."""
    text = (tool.__doc__ or "").strip().partition("\n")[0]
    return hint(text, _KEYS[tool]) if tool in _KEYS else text


def _row(tool: type[Tool]) -> QStandardItem:
    row = QStandardItem(_INDENT + tool.title)
    row.setToolTip(tool_help(tool))
    return row
