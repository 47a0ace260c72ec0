"""The Measure panel: measurements of labels as a table that follows every edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from napari.utils.notifications import show_info
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
)

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.io import base_name
from napari_asmlp.io.tables import Cell, save_table
from napari_asmlp.measure import Measurement, MeasureProgress
from napari_asmlp.viewer.colours import colour_of
from napari_asmlp.viewer.commands import errors_shown
from napari_asmlp.viewer.export.request import suggested_path
from napari_asmlp.viewer.layers import lies_on
from napari_asmlp.viewer.measure.compare import CompareBox
from napari_asmlp.viewer.measure.flight import fly_to
from napari_asmlp.viewer.measure.request import measuring
from napari_asmlp.viewer.measure.rows import Table, measured_table
from napari_asmlp.viewer.measure.view import MeasureTable, thin_bar
from napari_asmlp.viewer.measure.watch import Watch
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.settings import remembered
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.tasks import Task
from napari_asmlp.viewer.widgets import breakable, form_layout, show_choice, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_NO_IMAGE = "none"
_LABELS, _OBJECTS = "label", "connected object"
_ROWS_KEY = "measure.rows"


class MeasurePanel(Panel):
    """Measures a labels layer, and compares it with another one.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._watched: Labels | None = None
        self._measured_with: Any = None
        self._instead: Any = None  # of the current image, by the user's choice
        self._rows: list[Measurement] = []
        self._task: Task | None = None
        self._is_stale = False
        self.watch = Watch(self)
        self._make_fields()
        self.table = MeasureTable()
        self.compare = CompareBox(self._viewer, lambda: self._watched, self._labels)
        self._lay_out()
        self._listen()
        self._show_idle()
        self.follow_current()

    @property
    def is_busy(self) -> bool:
        """Whether it is measuring."""
        return self._task is not None

    def follow_current(self) -> None:
        """Measure the current labels, with the current image if they lie on its grid."""
        layer, image = self.current.labels, self.current.image
        if layer is not self._watched or self._instead not in (_NO_IMAGE, image):
            self._instead = None
        fits = layer is not None and image is not None and lies_on(layer, image)
        show_choice(self.layer, layer)
        show_choice(self.image, self._instead or (image if fits else _NO_IMAGE))
        self.compare.reset_choices()
        self._watch()

    def opened(self) -> None:
        """Follow the layer."""
        self.follow_current()

    def closed(self) -> None:
        """Give up what is being computed, and let go of the layer."""
        self.compare.clear()
        self._watch_layer(None)
        self._measured_with = None

    def cancel(self) -> None:
        """Stop measuring and comparing; the next edit, or Measure, begins again."""
        if self._task is not None:
            self._task.cancel()
        self.compare.cancel()

    def measure(self) -> None:
        """Measure the labels as they are now; wrong input is said below the table."""
        self._stop()
        layer, image = self._watched, self._image()
        if layer is None:
            self._show([], None)
            return
        try:
            job = measuring(layer, image, objects=self._by_object())
        except AsmlpError as error:
            self._show([], str(error))
            return
        self._task = Task(job, self)
        self._task.stepped.connect(self._show_progress)
        self._task.returned.connect(self._take)
        self._task.failed.connect(lambda message: self._show([], message))
        self._task.ended.connect(self._end)
        self._show_busy()
        self._task.start()

    def save(self) -> None:
        """Save the rows shown as CSV, with the columns of `napari-asmlp measure`, in a dialog."""
        layer = self._watched
        with errors_shown():
            if layer is None or self._is_stale:
                raise SettingsError("there is nothing to save yet: wait for the measurements")
            near = suggested_path(layer)
            suggested = str(near.with_name(f"{base_name(near)}.csv"))
            chosen, _ = QFileDialog.getSaveFileName(
                self, "Save measurements", suggested, "Table (*.csv)"
            )
            if chosen:
                # the dialog has asked about the name that was typed, not about one we complete;
                # and a table never takes the place of a volume
                path = Path(chosen if chosen.lower().endswith(".csv") else f"{chosen}.csv")
                rows = self.table.rows
                save_table(path, rows.table.saved, rows.shown, overwrite=str(path) == chosen)
                show_info(f"Measurements written to {path}")

    def _make_fields(self) -> None:
        self.layer = self._chooser(self._labels, "The labels to measure")
        self.image = self._chooser(
            lambda _: [(_NO_IMAGE, _NO_IMAGE), *self._images()],
            "Whose intensities to measure; on the grid of the labels",
        )
        self.by = remembered(
            ComboBox(choices=[_LABELS, _OBJECTS], tooltip="What a row is about"), _ROWS_KEY
        )
        self.filter = QLineEdit(clearButtonEnabled=True, placeholderText="Words of label or name")
        self.filter.setToolTip("Show only rows whose label, name or other text has these words")
        self.run_button = QPushButton()
        self.copy_button = QPushButton("Copy")
        self.copy_button.setToolTip("Copy the selected rows, or all: for a spreadsheet (Ctrl+C)")
        self.save_button = QPushButton("Save CSV…")
        self.save_button.setToolTip("Save the rows shown, as napari-asmlp measure does")
        self.bar = thin_bar()
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # or the table would jump at every edit
        self.bar.setSizePolicy(policy)
        self.status = text_label()

    def _lay_out(self) -> None:
        form = form_layout()
        for name, combo in (("Labels", self.layer), ("Image", self.image), ("Row per", self.by)):
            form.addRow(name, combo.native)
        form.addRow("Filter", self.filter)
        buttons = QHBoxLayout()
        for button in (self.run_button, self.copy_button, self.save_button):
            buttons.addWidget(button)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.table, 1)
        column.addWidget(self.status)
        column.addWidget(self.bar)
        column.addLayout(buttons)
        column.addWidget(line)
        column.addWidget(self.compare)

    def _listen(self) -> None:
        self.by.changed.connect(self._watch)
        self.image.changed.connect(self._choose_image)
        self.filter.textChanged.connect(self._filter)
        self.table.chosen.connect(self._go)
        self.run_button.clicked.connect(self._toggle)
        self.copy_button.clicked.connect(self.table.copy)
        self.save_button.clicked.connect(self.save)
        self.watch.touched.connect(self._outdate)
        self.watch.settled.connect(self.measure)

    def _toggle(self) -> None:
        (self.cancel if self.is_busy else self.measure)()

    def _watch(self, _value: Any = None) -> None:
        """Measure if it is another layer, image or kind of row than before."""
        if self.parent() is None:  # not in a dock yet, or no more
            return
        self._watch_layer(self.current.labels)
        wish = (self._watched, self._image(), self._by_object())
        if wish != self._measured_with:
            self._measured_with = wish
            self.measure()

    def _watch_layer(self, layer: Labels | None) -> None:
        if layer is self._watched:
            return
        self._stop()
        self._hear(on=False)
        self._watched = layer
        self.watch.follow(layer)
        self._hear(on=True)
        self.compare.clear()
        self.compare.reset_choices()

    def _hear(self, *, on: bool) -> None:
        """Follow names, features and colours of the layer, or no longer."""
        if self._watched is not None:
            events = self._watched.events
            for event, slot in (
                (events.features, self._relabel),
                (events.colormap, self._recolour),
            ):
                (event.connect if on else event.disconnect)(slot)

    def _choose_image(self, chosen: Any) -> None:
        self._instead = chosen  # one that does not fit is refused, not passed over
        self.follow_current()

    def _image(self) -> Image | None:
        return self.image.value if isinstance(self.image.value, Image) else None

    def _by_object(self) -> bool:
        return bool(self.by.value == _OBJECTS)

    def _outdate(self) -> None:
        """Show the numbers as out of date until the labels stay as they are."""
        self._stop()
        self._is_stale = True
        self.table.rows.set_stale(True)
        self.compare.outdate()
        self._show_idle("The labels have changed: measured again in a moment")

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.abandon()
            task.deleteLater()
            self._show_idle()

    def _take(self, rows: list[Measurement] | None) -> None:
        if rows is not None:
            self._show(rows, None)

    def _show(self, rows: list[Measurement], wrong: str | None) -> None:
        self._rows, self._is_stale = rows, False
        self._relabel()
        self.table.rows.set_stale(False)
        self._show_idle(wrong)

    def _relabel(self, _event: Any = None) -> None:
        """Show the measurements with the names, features and colours of now."""
        layer = self._watched
        if layer is None:
            self.table.rows.show(Table())
            return
        self.table.rows.colour = lambda value: QColor.fromRgbF(*colour_of(layer, value)[:3])
        objects = any(row.object is not None for row in self._rows)
        measured = any(row.intensities is not None for row in self._rows)
        self.table.rows.show(
            measured_table(self._rows, layer, objects=objects, intensities=measured)
        )

    def _recolour(self, _event: Any = None) -> None:
        self.table.viewport().update()

    def _filter(self, text: str) -> None:
        self.table.rows.filter(text)
        if not self.is_busy and not self._is_stale:
            self._show_idle()

    def _go(self, record: dict[str, Cell]) -> None:
        """Fly to the centroid of a row, and select its label."""
        layer = self._watched
        if layer is None or layer not in self._viewer.layers:
            return
        x, y, z = (float(str(record[f"centroid_{axis}_mm"])) for axis in "xyz")
        with errors_shown():
            fly_to(self._viewer, layer, (x, y, z))
            layer.selected_label = int(str(record["label"]))

    def _show_busy(self) -> None:
        self.run_button.setText("Cancel")
        self.run_button.setToolTip(hint("Stop measuring", "cancel"))
        self.save_button.setEnabled(False)
        self.bar.setRange(0, 0)
        self.bar.show()
        self.status.setText("Measuring…")

    def _show_progress(self, progress: MeasureProgress) -> None:
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)

    def _show_idle(self, text: str | None = None) -> None:
        """Show that nothing runs, and say something or how many rows there are."""
        self.run_button.setText("Measure")
        self.run_button.setToolTip("Measure again")
        self.run_button.setEnabled(self._watched is not None)
        for button in (self.copy_button, self.save_button):
            button.setEnabled(bool(self._rows) and not self._is_stale)
        self.bar.hide()
        self.status.setText(breakable(self._count() if text is None else text))

    def _count(self) -> str:
        if self._watched is None:
            return "Open, paint or segment labels to measure them"
        what = "connected objects" if self._by_object() else "labels"
        shown, total = len(self.table.rows.shown), len(self._rows)
        return f"{total:,} {what}" if shown == total else f"{shown:,} of {total:,} {what}"

    def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None and task.is_cancelled:
            self._is_stale = True
            self.table.rows.set_stale(True)
            self._show_idle("Stopped: press Measure to measure again")
