"""The part of the Measure panel that compares the labels with another layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.layers import add_labels
from napari_asmlp.viewer.measure.request import Compared, changes_layer, comparison
from napari_asmlp.viewer.measure.rows import Table, overlap_table
from napari_asmlp.viewer.measure.view import MeasureTable, thin_bar
from napari_asmlp.viewer.settings import remembered
from napari_asmlp.viewer.tasks import Task
from napari_asmlp.viewer.widgets import breakable, form_layout, shorten, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_CHANGES_KEY = "measure.changes_layer"


class CompareBox(QWidget):
    """Compares the labels of the panel with another labels layer, the reference.

    Parameters
    ----------
    labels
        Returns the layer that is measured.
    choices
        Returns the labels layers, with their names.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        labels: Callable[[], Labels | None],
        choices: Callable[..., Iterable[tuple[str, Labels]]],
    ) -> None:
        super().__init__()
        self._viewer, self._labels = viewer, labels
        self._task: Task | None = None
        self._what: tuple[Labels, Labels] | None = None
        self.other = ComboBox(
            choices=lambda _: [each for each in choices() if each[1] is not labels()],
            tooltip="The reference: labels on the same grid",
        )
        self.changes = remembered(QCheckBox("Changes as a layer", checked=True), _CHANGES_KEY)
        self.changes.setToolTip(
            "Add a labels layer: 1 where the reference has no label, 2 where only it has one,"
            " 3 where it has another"
        )
        self.button = QPushButton("Compare")
        self.button.clicked.connect(self.toggle)
        self.bar = thin_bar()
        self.table = MeasureTable()
        self.table.setMaximumHeight(self.table.minimumHeight())
        self.status = text_label()
        self._lay_out()
        self._show_idle("")

    @property
    def is_busy(self) -> bool:
        """Whether it is comparing."""
        return self._task is not None

    def reset_choices(self) -> None:
        """Follow the viewer's layers; what was found for layers that are gone goes too."""
        self.other.reset_choices()
        if self._what is not None and not self._is_open(*self._what):
            self.clear()

    def toggle(self) -> None:
        """Compare, or stop comparing; wrong input is shown as a notification."""
        if self._task is not None:
            self.cancel()
            return
        layer, other = self._labels(), self.other.value
        other = getattr(other, "__wrapped__", other)
        with errors_shown():
            if layer is None:
                return
            job = comparison(layer, other)
            self._what = (layer, other)
            self._task = Task(job, self)
            self._task.stepped.connect(self._show_progress)
            self._task.returned.connect(self._show)
            self._task.ended.connect(self._end)
            self.button.setText("Cancel")
            self.bar.setRange(0, 0)
            self.bar.show()
            self.status.hide()
            self._task.start()

    def cancel(self) -> None:
        """Stop after the label that is being compared."""
        if self._task is not None:
            self._task.cancel()

    def clear(self) -> None:
        """Stop, and forget what was found."""
        task, self._task, self._what = self._task, None, None
        if task is not None:
            task.abandon()
            task.deleteLater()
        self.table.rows.show(Table())
        self._show_idle("")

    def outdate(self) -> None:
        """Show what was found as out of date."""
        if self.table.rows.shown:
            self.table.rows.set_stale(True)
            self._say("The labels have changed since: compare again")

    def _lay_out(self) -> None:
        shorten(self.other)
        form = form_layout()
        form.addRow("Compare with", self.other.native)
        row = QHBoxLayout()
        row.addWidget(self.changes)
        row.addStretch()
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addLayout(row)
        for widget in (self.bar, self.table, self.status):
            column.addWidget(widget)

    def _show_progress(self, step: tuple[int, int]) -> None:
        done, total = step
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def _show(self, found: Compared | None) -> None:
        if found is None or self._what is None or not self._is_open(*self._what):
            show_info("A layer was closed: the comparison was dropped")
            return
        layer, other = self._what
        names = {**class_names(other), **class_names(layer)}
        self.table.rows.show(overlap_table(found.scores, names))
        self.table.rows.set_stale(False)
        differ = bool(found.changes.any())
        self._say("" if differ else "No voxel differs" if found.scores else "Both layers are empty")
        if self.changes.isChecked() and differ:
            with current_of(self._viewer).kept():
                add_labels(self._viewer, changes_layer(layer, other, found.changes))

    def _end(self) -> None:
        task, self._task = self._task, None
        stopped = task is not None and task.is_cancelled
        self._show_idle("Stopped" if stopped else self.status.text())

    def _show_idle(self, text: str) -> None:
        self.button.setText("Compare")
        self.button.setToolTip("Dice, Hausdorff-95 and average surface distance of each label")
        self.bar.hide()
        self.table.setVisible(bool(self.table.rows.table.columns))
        self._say(text)

    def _say(self, text: str) -> None:
        self.status.setText(breakable(text))
        self.status.setVisible(bool(text))

    def _is_open(self, *layers: Any) -> bool:
        return all(layer in self._viewer.layers for layer in layers)
