"""The planes as switches: three at once, which side is left, crosshair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout

from napari_asmlp.viewer.camera import CONVENTION_KEY, convention_of
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.planes import (
    planes_shown,
    set_convention,
    show_crosshair,
    show_letters,
    toggle_planes,
)
from napari_asmlp.viewer.planes.show import CROSSHAIR_KEY, LETTERS_KEY
from napari_asmlp.viewer.settings import recall, remember
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.widgets import form_layout

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.viewer.anatomy import Convention

_CONVENTIONS: tuple[Convention, ...] = ("radiological", "neurological")


class PlanesBox(QGroupBox):
    """Switches what planes of a viewer are shown, and how; the habits are remembered."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__("Planes")
        self._viewer = viewer
        self.three_button = QPushButton("Three planes", checkable=True)
        self.three_button.setToolTip(
            hint("Show axial, coronal and sagittal side by side", "toggle_planes")
        )
        self.crosshair = QCheckBox("Crosshair")
        self.crosshair.setToolTip(
            hint("Lines where the three planes cut one another", "toggle_crosshair")
        )
        self.letters = QCheckBox("Letters")
        self.letters.setToolTip(
            hint(
                "R, L, A, P, S and I at the edges of the image: which side is which",
                "toggle_letters",
            )
        )
        self.convention = ComboBox(
            choices=_CONVENTIONS,
            value=convention_of(viewer),
            tooltip="Radiological: the patient's right is on the left of the screen; neurological:"
            " on the right. For volumes with anatomy",
        )
        row = QHBoxLayout()
        row.addWidget(self.three_button, stretch=1)
        row.addWidget(self.crosshair)
        row.addWidget(self.letters)
        form = form_layout()
        form.addRow("Sides", self.convention.native)
        column = QVBoxLayout(self)
        column.addLayout(row)
        column.addLayout(form)
        self.three_button.clicked.connect(self._toggle)
        self.crosshair.toggled.connect(self._set_crosshair)
        self.letters.toggled.connect(self._set_letters)
        self.convention.changed.connect(self._set_convention)
        self.refresh()

    def refresh(self) -> None:
        """Show what is on, after something else has switched it."""
        states = (
            (self.three_button, planes_shown(self._viewer)),
            (self.crosshair, recall(CROSSHAIR_KEY, True)),
            (self.letters, recall(LETTERS_KEY, True)),
        )
        for button, on in states:
            blocker = QSignalBlocker(button)
            button.setChecked(on)
            blocker.unblock()

    def _toggle(self) -> None:
        with errors_shown():
            toggle_planes(self._viewer)
        self.refresh()

    def _set_crosshair(self, on: bool) -> None:
        remember(CROSSHAIR_KEY, on)
        show_crosshair(self._viewer, on)

    def _set_letters(self, on: bool) -> None:
        remember(LETTERS_KEY, on)
        show_letters(self._viewer, on)

    def _set_convention(self, convention: Convention) -> None:
        remember(CONVENTION_KEY, convention)
        set_convention(self._viewer, convention)
