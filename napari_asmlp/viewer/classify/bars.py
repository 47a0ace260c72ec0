"""The probabilities of classes as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_asmlp.viewer.widgets import breakable, text_label

if TYPE_CHECKING:
    from napari_asmlp.pipeline.classification import Item

_HEIGHT = 14  # pixels
_STEPS = 1000
_MOST = 6  # bars: the likeliest classes
_GREY = "#999999"


class Bars(QWidget):
    """Says what something is, with a bar for each of the likeliest classes."""

    def __init__(self) -> None:
        super().__init__()
        self.title = text_label()
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._rows: list[tuple[QLabel, QProgressBar, QLabel]] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.title)
        column.addLayout(self._grid)

    @property
    def shown(self) -> dict[str, str]:
        """Share of each class, as text, in the order of the bars."""
        return {name.text(): share.text() for name, _, share in self._rows if name.text()}

    def show_item(self, title: str, item: Item | None, colours: Mapping[str, str]) -> None:
        """Show what something is; without an item, only the title.

        Parameters
        ----------
        colours
            By class name.
        """
        self.title.setText(breakable(title))
        known = {} if item is None else item.probabilities
        likeliest = sorted(known.items(), key=lambda pair: -pair[1])[:_MOST]
        while len(self._rows) < len(likeliest):
            self._rows.append(self._new_row())
        for n, row in enumerate(self._rows):
            for widget in row:
                widget.setVisible(n < len(likeliest))
            name, share = likeliest[n] if n < len(likeliest) else ("", 0.0)
            _fill(row, name, share, colours.get(name, _GREY))

    def _new_row(self) -> tuple[QLabel, QProgressBar, QLabel]:
        bar = QProgressBar(textVisible=False, maximum=_STEPS)
        bar.setFixedHeight(_HEIGHT)
        row = QLabel(textFormat=Qt.TextFormat.PlainText), bar, QLabel()
        row[2].setAlignment(Qt.AlignmentFlag.AlignRight)
        for column, widget in enumerate(row):
            self._grid.addWidget(widget, len(self._rows), column)
        return row


def percent(share: float) -> str:
    """Return a probability as text; never 0 % or 100 % unless it is."""
    text = f"{share:.0%}"
    if text == "100%" and share < 1:
        return "> 99 %"
    if text == "0%" and share > 0:
        return "< 1 %"
    return text.replace("%", " %")


def _fill(row: tuple[QLabel, QProgressBar, QLabel], name: str, share: float, colour: str) -> None:
    title, bar, text = row
    title.setText(name)
    bar.setValue(round(share * _STEPS))
    bar.setStyleSheet(f"QProgressBar::chunk {{ background-color: {colour}; }}")
    text.setText(percent(share) if name else "")
