"""Where to paint next, whether that still helps, and what can be done with what was taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.viewer.widgets import breakable, text_label

if TYPE_CHECKING:
    from napari.layers import Image


class NextBox(QWidget):
    """The button that goes to where painting is worth most, and lines that say why."""

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Where next")
        self.button.setToolTip(
            "Go to the slice and the place that are most worth painting; again: to the next best"
        )
        self.doubt = QCheckBox("Show doubt")
        self.doubt.setToolTip("Show as an image where two classes are almost equally likely")
        self.why = text_label()
        self.worth = text_label()
        grid = QGridLayout()
        grid.addWidget(self.button, 0, 0)
        grid.addWidget(self.doubt, 0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(grid)
        column.addWidget(self.why)
        column.addWidget(self.worth)
        self.say("", "")

    def say(self, why: str | None = None, worth: str | None = None) -> None:
        """Show lines of text; one that is None stays as it is."""
        for label, text in ((self.why, why), (self.worth, worth)):
            if text is not None:
                label.setText(breakable(text))
                label.setVisible(bool(text))


class UseBox(QWidget):
    """Buttons for what was taught: other images, a model file, a project.

    Signals
    -------
    applied(image) : an image layer shall be labelled; None for one in a file
    """

    applied = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.apply_button = QPushButton("Apply to")
        self.apply_button.setToolTip("Label another image by what was taught here")
        self.apply_menu = QMenu(self)
        self.apply_button.setMenu(self.apply_menu)
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Keep the taught network as a model file, for Segment too")
        self.open_project_button = QPushButton("Open project…")
        self.open_project_button.setToolTip("Go on with images, annotations and model of a file")
        self.save_project_button = QPushButton("Save project…")
        self.save_project_button.setToolTip(
            "Keep images, annotations and model together, to go on another day"
        )
        self.tune_button = QPushButton("Fine-tune a model…")
        self.tune_button.setToolTip("Teach a model by labels of it that you have corrected")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        rows = (
            (self.apply_button, self.save_button),
            (self.open_project_button, self.save_project_button),
        )
        for row, buttons in enumerate(rows):
            for column, button in enumerate(buttons):
                grid.addWidget(button, row, column)
        grid.addWidget(self.tune_button, len(rows), 0, 1, 2)

    def show_images(self, images: Sequence[Image]) -> None:
        """Offer images to label."""
        self.apply_menu.clear()
        for image in images:
            action = self.apply_menu.addAction(image.name)
            action.triggered.connect(lambda _=False, image=image: self.applied.emit(image))
        if images:
            self.apply_menu.addSeparator()
        self.apply_menu.addAction("A file…").triggered.connect(lambda: self.applied.emit(None))
