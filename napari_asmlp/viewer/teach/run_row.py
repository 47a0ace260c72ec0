"""Teach, and what can be done with a round: pause, stop, go back; and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.viewer.settings import remembered
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.teach.request import DEFAULTS, progress_text
from napari_asmlp.viewer.widgets import breakable, text_label

if TYPE_CHECKING:
    from napari_asmlp.teaching.loop import TeachProgress
    from napari_asmlp.viewer.teach.rounds import Rounds
    from napari_asmlp.viewer.teach.states import State

_FULL = 1000  # steps of the bar


class RunRow(QWidget):
    """The buttons of a round, its bar and a line of text.

    Signals
    -------
    went_back(state) : an earlier state is wanted
    """

    went_back = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.teach_button = QPushButton("Teach")
        self.teach_button.setToolTip(
            "Learn from what is annotated and corrected, and label all of the volume, better and"
            " better. A second press begins again with what is painted by then"
        )
        self.auto = QCheckBox("Auto")
        self.auto.setToolTip("Begin a round by itself when you have painted and paused")
        self.seconds = QSpinBox(minimum=1, maximum=24 * 3600, value=round(DEFAULTS.seconds))
        self.seconds.setSuffix(" s a round")
        self.seconds.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.seconds.setKeyboardTracking(False)
        self.seconds.setToolTip("How long a round learns, and labels, before it ends by itself")
        self.pause_button = QPushButton("Pause")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip(
            hint("End the round; labels and what was learnt stay", "cancel")
        )
        self.back_button = QPushButton("Back to")
        self.back_button.setToolTip(
            "Bring the labels of an earlier round back, and forget what was learnt since"
        )
        self.back_menu = QMenu(self)
        self.back_button.setMenu(self.back_menu)
        self.bar = QProgressBar()
        self.bar.setRange(0, _FULL)
        self.bar.setTextVisible(False)
        self.status = text_label()
        remembered(self.auto, "teach.auto")
        remembered(self.seconds, "teach.seconds")
        self._lay_out()

    def show_progress(self, progress: TeachProgress) -> None:
        """Show where a round stands."""
        self.bar.setRange(0, _FULL)
        self.bar.setValue(round(_FULL * progress.fraction))
        self.status.setText(progress_text(progress))

    def say(self, text: str) -> None:
        """Show a line of text."""
        self.status.setText(breakable(text))

    def show_state(self, rounds: Rounds) -> None:
        """Enable what can be done now."""
        busy = rounds.is_busy
        self.pause_button.setEnabled(busy and not rounds.is_stopping)
        self.pause_button.setText("Go on" if rounds.is_paused else "Pause")
        self.pause_button.setToolTip(
            "Let the round learn on" if rounds.is_paused else "Let the round wait: nothing is lost"
        )
        self.stop_button.setEnabled(busy and not rounds.is_stopping)
        self.bar.setVisible(busy)

    def show_states(self, states: Sequence[State]) -> None:
        """Offer states to go back to, the latest first."""
        self.back_menu.clear()
        for state in reversed(states):
            action = self.back_menu.addAction(state.title)
            action.triggered.connect(lambda _=False, state=state: self.went_back.emit(state))
        self.back_button.setEnabled(bool(states))

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        widgets = (
            (self.teach_button, self.auto, self.seconds),
            (self.pause_button, self.stop_button, self.back_button),
        )
        for row, line in enumerate(widgets):
            for column, widget in enumerate(line):
                grid.addWidget(widget, row, column)
                grid.setColumnStretch(column, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(grid)
        column.addWidget(self.bar)
        column.addWidget(self.status)
