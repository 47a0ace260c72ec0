"""One piece of work at a time, and where it stands: a bar, a line of text, and Cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.viewer.classify.request import progress_text
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.widgets import breakable, text_label

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_asmlp.pipeline.classification import ClassifyProgress, Item

Take = Callable[[Any], str]


class RunRow(QWidget):
    """Runs jobs that yield `ClassifyProgress`, the later in place of the earlier.

    Signals
    -------
    changed() : something has begun, or ended
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._task: Task | None = None
        self._items: list[Item] = []
        self._text = ""
        self.about: Labels | None = None
        self.bar = QProgressBar()
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(hint("Stop; classes that are known by then stay", "cancel"))
        self.cancel_button.clicked.connect(self.cancel)
        self.status = text_label()
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.status)
        self.show_idle("")

    @property
    def is_busy(self) -> bool:
        """Whether something runs."""
        return self._task is not None

    def start(
        self, job: Job, take: Take, about: Labels | None = None, take_part: Take | None = None
    ) -> None:
        """Begin.

        Parameters
        ----------
        take
            Gets what the job returns; says what came of it.
        about
            The layer that the work is about.
        take_part
            Gets the items that are known when the user stops it; says what came of it.
        """
        self.stop()
        self._items, self._text, self.about = [], "Stopped", about
        self._task = task = Task(job, self)
        task.stepped.connect(self._step)
        task.returned.connect(lambda result: self._say(take, result))
        task.failed.connect(self._fail)
        task.ended.connect(lambda: self._end(take_part if task.is_cancelled else None))
        self._show_busy()
        self.changed.emit()
        task.start()

    def cancel(self) -> None:
        """Ask what runs to stop."""
        if self._task is not None:
            self._task.cancel()
            self.cancel_button.setEnabled(False)
            self.status.setText("Stopping…")

    def stop(self) -> None:
        """Give up what runs."""
        task, self._task, self.about = self._task, None, None
        if task is not None:
            task.abandon()
            task.deleteLater()
            self.show_idle("Stopped")

    def show_idle(self, text: str) -> None:
        """Show that nothing runs, and what came of it."""
        self.bar.hide()
        self.cancel_button.hide()
        self.status.setText(breakable(text))
        self.changed.emit()

    def _show_busy(self) -> None:
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel_button.setEnabled(True)
        self.cancel_button.show()
        self.status.setText("")

    def _step(self, progress: ClassifyProgress) -> None:
        self._items += progress.items
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        if self.cancel_button.isEnabled():
            self.status.setText(progress_text(progress).capitalize())

    def _say(self, take: Take, result: Any) -> None:
        if result is not None:  # else it was cancelled
            self._text = take(result)

    def _fail(self, message: str) -> None:
        self._text = message

    def _end(self, take_part: Take | None) -> None:
        task, self._task, self.about = self._task, None, None
        if task is None:
            return
        task.deleteLater()
        if take_part is not None and self._items:
            self._text = f"Stopped: {take_part(self._items)}"
        self.show_idle(self._text)
