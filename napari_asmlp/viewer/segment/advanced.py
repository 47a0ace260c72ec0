"""Settings of a run that few need to touch, under a heading that opens them."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QWidget
from superqt import QCollapsible

from napari_asmlp.devices import DEVICES, PRECISIONS
from napari_asmlp.pipeline import SegmentSettings
from napari_asmlp.viewer.segment.request import DEFAULTS
from napari_asmlp.viewer.settings import remembered

_NARROWEST = 70


class Advanced(QCollapsible):
    """How a run computes, and what it gives beside labels; remembered from one start to the next.

    Signals
    -------
    changed() : something is set otherwise
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Advanced")
        self._make_fields()
        ticks = (self.compiled, self.mirror, self.uncertainty, self.probabilities)
        grid = QGridLayout()  # two fields a row: a dock has no room to spare on a laptop
        grid.setContentsMargins(0, 0, 0, 0)
        for n, (title, field) in enumerate(
            (
                ("Device", self.device.native),
                ("Precision", self.precision.native),
                ("Overlap", self.overlap.native),
                ("Memory", self.memory),
            )
        ):
            row, column = divmod(n, 2)
            grid.addWidget(QLabel(title), row, 2 * column)
            grid.addWidget(field, row, 2 * column + 1)
            field.setMinimumWidth(_NARROWEST)
        for n, tick in enumerate(ticks):
            row, column = divmod(n, 2)
            grid.addWidget(tick.native, 2 + row, 2 * column, 1, 2)
        for field in (self.device, self.precision, self.overlap, *ticks):
            remembered(field, f"segment.{field.name}")
            field.changed.connect(lambda *_: self.changed.emit())
        self.memory.textChanged.connect(self.changed)
        content = QWidget()
        content.setLayout(grid)
        self.setContent(content)
        self.setDuration(0)  # no animation: the dock below it would twitch
        self.collapse(animate=False)

    def settings(self) -> SegmentSettings:
        """Return what the fields say, region and memory left out."""
        return SegmentSettings(
            device=self.device.value,
            precision=self.precision.value,
            overlap=None if self.overlap.value < 0 else self.overlap.value,
            compiled=self.compiled.value or None,
            mirror=self.mirror.value or None,
            uncertainty=self.uncertainty.value,
            probabilities=self.probabilities.value,
        )

    def _make_fields(self) -> None:
        self.device = ComboBox(
            name="device",
            choices=DEVICES,
            value=DEFAULTS.device,
            tooltip="Where the network runs; auto takes a GPU where there is one",
        )
        self.precision = ComboBox(
            name="precision",
            choices=PRECISIONS,
            value=DEFAULTS.precision,
            tooltip="Of the network's numbers; auto is the fastest that the device computes itself",
        )
        self.overlap = FloatSpinBox(
            name="overlap",
            value=-0.05,
            min=-0.05,
            max=0.75,
            step=0.05,
            tooltip="Fraction of its length that a window shares with the next one along each"
            " axis, 0 to 0.75; more is smoother and slower; auto is what suits the model",
        )
        self.overlap.native.setSpecialValueText("auto")  # shown in place of the least value
        self.memory = QLineEdit(
            placeholderText="no bound",
            toolTip="What the run may take at most, such as 2GB: it fits itself into that, or says"
            " what it needs",
        )
        self.compiled = _tick(
            "compiled",
            "Compiled blocks",
            "Compile the network's blocks for this processor: seconds once, then faster, even"
            " without this tick; on a CPU, and takes a C++ compiler",
        )
        self.mirror = _tick(
            "mirror",
            "Mirror windows",
            "Run each window mirrored as well, and average; a mirrored window takes as long as the"
            " window itself. A small volume or region is mirrored even without this tick",
        )
        self.uncertainty = _tick(
            "uncertainty",
            "Uncertainty map",
            "An image: entropy of the class probabilities, bright where the model hesitates; with"
            " mirroring, a second image of where the mirrored windows disagree",
        )
        self.probabilities = _tick(
            "probabilities",
            "Probability maps",
            "An image for each class; takes 4 bytes a voxel and class",
        )


def _tick(name: str, text: str, tip: str) -> CheckBox:
    default = bool(getattr(DEFAULTS, name))  # None is left to the machine
    return CheckBox(name=name, text=text, value=default, tooltip=tip)
