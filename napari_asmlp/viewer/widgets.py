"""Small widgets and manners that all panels share."""

from __future__ import annotations

import re
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QApplication,
    QFormLayout,
    QFrame,
    QLabel,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

_SHOWN_LETTERS = 10
_LOWEST = 200  # pixels


class Scrolled(QScrollArea):
    """Scrolls downwards where the window is low, and is never too narrow for what is inside."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__(widgetResizable=True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)

    def minimumSizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Return the width of what is inside, and the height of a few rows."""
        inside = self.widget().minimumSizeHint().width()
        return QSize(inside + self.verticalScrollBar().sizeHint().width(), _LOWEST)


def shorten(combo: ComboBox) -> None:
    """Let a list be narrower than its longest name, which its popup shows in full."""
    box = combo.native
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_SHOWN_LETTERS)


def show_choice(combo: ComboBox, value: Any) -> None:
    """Bring the choices of a list up to date and show one, if it is among them; emit nothing."""
    with combo.changed.blocked():
        combo.reset_choices()
        if value in combo.choices:
            combo.value = value


def text_label(kind: Qt.TextFormat = Qt.TextFormat.PlainText) -> QLabel:
    """Return a text that wraps instead of widening its panel."""
    label = QLabel(textFormat=kind, wordWrap=True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def breakable(text: str) -> str:
    """Let long names break over lines, which a label otherwise cuts off at the panel's edge."""
    return re.sub(r"([_./\\])", "\\1\u200b", text)


def form_layout() -> QFormLayout:
    """Return a form whose fields fill their column."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
    return form


def line() -> QFrame:
    """Return a line between parts of a panel."""
    drawn = QFrame()
    drawn.setFrameShape(QFrame.Shape.HLine)
    return drawn


def main_window() -> QWidget | None:
    """Return the window that dialogs belong to: the active one, else any of napari's."""
    active = QApplication.activeWindow()
    if active is not None:
        return active
    windows = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
    return max(windows, key=QMainWindow.isVisible, default=None)
