"""Small widgets and manners that all panels share."""

from __future__ import annotations

import re

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFormLayout, QLabel, QMainWindow, QSizePolicy, QWidget

_SHOWN_LETTERS = 10


def shorten(combo: ComboBox) -> None:
    """Let a list be narrower than its longest name, which its popup shows in full."""
    box = combo.native
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_SHOWN_LETTERS)


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


def main_window() -> QWidget | None:
    """Return the window that dialogs belong to: the active one, else any of napari's."""
    active = QApplication.activeWindow()
    if active is not None:
        return active
    windows = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
    return max(windows, key=QMainWindow.isVisible, default=None)
