"""What came of a classification: bars, colours by class, and where to look further."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.viewer.classify.bars import Bars


class ResultBox(QWidget):
    """Shows an answer; what its buttons do is the panel's matter."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = Bars()
        self.colour = QCheckBox("Colour by class")
        self.colour.setToolTip("Off: the colours from before come back")
        self.back_button = QPushButton("Back")
        self.back_button.setToolTip("Take back the last change of classes and examples, one step")
        self.why_button = QPushButton("Show why")
        self.why_button.setToolTip(
            "Map what spoke for the class (orange) and against it (blue): how its probability"
            " changes where the image is blotted out"
        )
        self.measure_button = QPushButton("Show in Measure")
        self.measure_button.setToolTip("See the classes in one table with the measurements")
        grid = QGridLayout()
        grid.addWidget(self.colour, 0, 0)
        grid.addWidget(self.back_button, 0, 1)
        grid.addWidget(self.why_button, 1, 0)
        grid.addWidget(self.measure_button, 1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.bars)
        column.addLayout(grid)
