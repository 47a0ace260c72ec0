"""The dialog that fine-tunes a model by corrections of its labels."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp import zoo
from napari_asmlp.errors import AsmlpError
from napari_asmlp.model import SUFFIX, Card
from napari_asmlp.pipeline.fine_tune import FINE_TUNING, FineTuned, summary_of
from napari_asmlp.project import PROJECT_SUFFIX
from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import is_labels, lies_on
from napari_asmlp.viewer.region import region_box
from napari_asmlp.viewer.segment.card import card_html
from napari_asmlp.viewer.segment.models import ModelChooser
from napari_asmlp.viewer.segment.request import duration
from napari_asmlp.viewer.settings import recall, remember, remembered
from napari_asmlp.viewer.tasks import Task
from napari_asmlp.viewer.teach.classes import BACKGROUND_KEY
from napari_asmlp.viewer.teach.saving import choose_in_segment
from napari_asmlp.viewer.teach.tune_request import Wish, resolve, scores_html
from napari_asmlp.viewer.widgets import (
    breakable,
    form_layout,
    main_window,
    shorten,
    show_choice,
    text_label,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

_ALL, _REGION = "all of it", "the region that is drawn"
_PROJECT_KEY = "fine_tune.project"
_WIDTH = 480  # pixels
_FULL = 1000


def open_fine_tuning(viewer: ViewerModel) -> None:
    """Open the dialog in front of the window."""
    FineTuneDialog(viewer, main_window()).open()


class FineTuneDialog(QDialog):
    """Asks for corrected labels and a model, and shows what came of it.

    Parameters
    ----------
    viewer
        Whose labels are offered.
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = getattr(viewer, "__wrapped__", viewer)
        self._task: Task | None = None
        self._note = ""  # on what is held back
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Fine-tune a model by corrections")
        self._make_fields()
        self._make_footer()
        self._lay_out()
        self.setMinimumWidth(_WIDTH)

    def wish(self) -> Wish:
        """Return what the fields say now; raises `AsmlpError` for a region that is none."""
        labels = self.labels.value
        image = self._image_of(labels)
        region = None
        if self.part.value == _REGION and image is not None:
            region = region_box(self._viewer).region_on(image)
        return Wish(
            labels,
            image,
            region,
            self.model.path,
            self.model.card,
            Path(self.project.text()),
            Path(self.output.text()),
            self.minutes.value(),
            forget=not self.keep.isChecked(),
        )

    def run(self) -> None:
        """Gather the corrections and fine-tune; wrong input is said in the dialog."""
        try:
            wish = self.wish()
            if self.part.value == _REGION and wish.region is None:
                self.say("There is no region: draw one in the Segment panel, or choose all of it")
                return
            order = resolve(wish, self._viewer.layers)
        except AsmlpError as error:
            self.say(str(error))
            return
        remember(_PROJECT_KEY, self.project.text())
        self._task = task = Task(order.work(), self)
        task.stepped.connect(self._step)
        task.returned.connect(self._show)
        task.failed.connect(self.say)
        task.ended.connect(self._end)
        self._show_busy(on=True)
        task.start()

    def say(self, text: str) -> None:
        """Show a line of text."""
        self.status.setText(breakable(text))

    def done(self, result: int) -> None:
        """Stop what runs, and close."""
        task, self._task = self._task, None
        if task is not None:
            task.abandon()
        super().done(result)

    def _make_fields(self) -> None:
        self.labels = ComboBox(
            choices=self._labels, tooltip="Labels of the model that you have corrected"
        )
        self.part = ComboBox(
            choices=[_ALL, _REGION], tooltip="What you have looked at: only there voxels count"
        )
        for combo in (self.labels, self.part):
            shorten(combo)
        show_choice(self.labels, current_of(self._viewer).labels)
        self.model = ModelChooser(Card, card_html)
        folder = zoo.user_folder() if zoo.user_folder().is_dir() else Path.home()
        project = recall(_PROJECT_KEY, str(folder / f"corrections{PROJECT_SUFFIX}"))
        self.project = QLineEdit(project)
        self.project.setToolTip(
            "All corrections are gathered here, this volume beside those of other days"
        )
        self.output = QLineEdit(str(folder / f"fine-tuned{SUFFIX}"))
        self.output.setToolTip("The model file to write; one that is there is replaced")
        self.minutes = QDoubleSpinBox(minimum=0.1, maximum=24 * 60, value=FINE_TUNING.minutes)
        self.minutes.setSuffix(" min")
        self.minutes.setDecimals(1)
        remembered(self.minutes, "fine_tune.minutes")
        self.keep = QCheckBox("Keep labels that the corrections do not hold", checked=True)

    def _make_footer(self) -> None:
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.hide()
        self.status = text_label()
        self.scores = text_label(Qt.TextFormat.RichText)
        self.run_button = QPushButton("Fine-tune")
        self.run_button.clicked.connect(self.run)
        self.close_button = QPushButton("Close")
        self.close_button.clicked.connect(self.reject)

    def _lay_out(self) -> None:
        form = form_layout()
        form.addRow("Corrected labels", self.labels.native)
        form.addRow("Looked at", self.part.native)
        form.addRow("Model", self.model)
        form.addRow(self.model.summary)
        form.addRow("Corrections to", self._with_browse(self.project, PROJECT_SUFFIX))
        form.addRow("New model", self._with_browse(self.output, SUFFIX))
        form.addRow("Learn for", self.minutes)
        form.addRow(self.keep)
        column = QVBoxLayout(self)
        column.addLayout(form)
        for widget in (self.bar, self.status, self.scores):
            column.addWidget(widget)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self.run_button)
        row.addWidget(self.close_button)
        column.addLayout(row)

    def _with_browse(self, field: QLineEdit, suffix: str) -> QHBoxLayout:
        browse = QPushButton("Browse…")

        def ask() -> None:
            options = QFileDialog.Option.DontConfirmOverwrite
            chosen, _ = QFileDialog.getSaveFileName(
                self, "File", field.text(), f"Files (*{suffix})", options=options
            )
            if chosen:
                field.setText(chosen if chosen.endswith(suffix) else f"{chosen}{suffix}")

        browse.clicked.connect(ask)
        row = QHBoxLayout()
        row.addWidget(field, stretch=1)
        row.addWidget(browse)
        return row

    def _labels(self, _combo: Any) -> list[tuple[str, Labels]]:
        return [
            (layer.name, layer)
            for layer in self._viewer.layers
            if is_labels(layer)
            and BACKGROUND_KEY not in layer.metadata
            and self._image_of(layer) is not None
        ]

    def _image_of(self, labels: Labels | None) -> Image | None:
        if labels is None:
            return None
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        images.sort(key=lambda image: image is not current_of(self._viewer).image)
        return next((image for image in images if lies_on(labels, image)), None)

    def _step(self, step: Any) -> None:
        if isinstance(step, str):
            self.bar.setRange(0, 0)
            self.say(f"{step}…")
            return
        self.bar.setRange(0, _FULL)
        self.bar.setValue(round(_FULL * step.fraction))
        left = f" · {duration(step.seconds_left)} left" if step.seconds_left else ""
        self._note = getattr(step, "note", "") or self._note
        self.say(f"{_sentence(step.describe())}{left}")

    def _show(self, tuned: FineTuned) -> None:
        self.say(_sentence(summary_of(tuned)))
        self.scores.setText(f"{scores_html(tuned)}{escape(_sentence(self._note))}")
        if tuned.better and tuned.model.path is not None:
            choose_in_segment(self._viewer, tuned.model.path)
            show_info(f"{tuned.model.path.name} can be chosen in the Segment panel now")

    def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.deleteLater()
        self._show_busy(on=False)

    def _show_busy(self, *, on: bool) -> None:
        self.run_button.setEnabled(not on)
        self.bar.setVisible(on)
        self.close_button.setText("Cancel" if on else "Close")
        if on:
            self.scores.setText("")
            self.say("")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
