"""The export dialog: which labels become which file; what will be written is said before it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.errors import AsmlpError
from napari_asmlp.io import NAME_SUFFIXES, NameFormat, base_name
from napari_asmlp.io.formats import FORMATS, format_of
from napari_asmlp.viewer import settings
from napari_asmlp.viewer.export.labels import LabelChoice
from napari_asmlp.viewer.export.order import Order, describe
from napari_asmlp.viewer.export.request import (
    Counts,
    ExistsError,
    GridChoice,
    Wish,
    count_voxels,
    full_path,
    resolve,
    suggested_path,
)
from napari_asmlp.viewer.files import DEFAULT_SUFFIX
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.history.edits import is_editable
from napari_asmlp.viewer.layers import is_labels
from napari_asmlp.viewer.tasks import Job, Task
from napari_asmlp.viewer.widgets import breakable, form_layout, text_label

if TYPE_CHECKING:
    from napari.components import ViewerModel

_FORMAT_TITLES = {
    ".nii.gz": "NIfTI, compressed (.nii.gz)",
    ".nii": "NIfTI (.nii)",
    ".hdr": "NIfTI in two files (.hdr, .img)",
    ".mgz": "FreeSurfer, compressed (.mgz)",
    ".mgh": "FreeSurfer (.mgh)",
}
_GRID_TITLES: dict[GridChoice, str] = {
    "source": "Of the source file",
    "displayed": "As displayed (upright, RAS)",
}
_NO_NAMES = "No table (NIfTI holds them inside)"
_NAMES: NameFormat = "ITK-SNAP"  # unless the user has chosen
_WIDTH = 560  # pixels


class ExportDialog(QDialog):
    """Asks how labels are written, and writes them.

    Parameters
    ----------
    viewer
        Whose labels can be chosen.
    layer
        The labels that are chosen first.
    """

    def __init__(self, viewer: ViewerModel, layer: Labels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export labels")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._choices = [other for other in viewer.layers if is_labels(other)]
        self._counts: Counts | None = None
        self._count: Task | None = None
        self._export: Task | None = None
        self._order: Order | None = None
        self._make_fields()
        self._lay_out()
        self.resize(_WIDTH, self.minimumSizeHint().height())
        self.layer_box.setCurrentIndex(self._choices.index(layer))
        self._follow_layer()
        self._connect()

    @property
    def layer(self) -> Labels:
        """The labels that are chosen."""
        return self._choices[self.layer_box.currentIndex()]

    def wish(self) -> Wish:
        """Return what the dialog says."""
        return Wish(
            layer=self.layer,
            path=self.file.text(),
            counts=self._counts,
            values=self.labels.chosen(),
            renumber=self.renumber.isChecked(),
            grid=self.grid.currentData(),
            names=self.names.currentData(),
            corrected=self.corrected.isChecked(),
            replace=self.replace.isChecked(),
        )

    def accept(self) -> None:
        """Write the files, in another thread; the dialog closes when they are there."""
        order = self._order
        if order is None or self._export is not None:
            return
        self._remember(order)
        self.form.setEnabled(False)
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(False)
        self.progress.show()
        changes = journal.changes_of(order.layer)
        self._export = Task(order.job(), self)
        self._export.stepped.connect(self.progress.setFormat)
        self._export.returned.connect(lambda path: self._written(path, order, changes))
        self._export.ended.connect(self._ended)
        self._export.start()

    def reject(self) -> None:
        """Close; a running export is stopped before the next file, and then closes."""
        if self._export is None:
            super().reject()
        else:
            self._export.cancel()
            self.progress.setFormat("Stopping after this file")

    def done(self, result: int) -> None:
        """Let go of what still counts voxels."""
        self._stop_counting()
        super().done(result)

    def _make_fields(self) -> None:
        self.layer_box = QComboBox()
        self.layer_box.addItems([layer.name for layer in self._choices])
        self.file = QLineEdit(toolTip="The file to write; its ending is the format")
        self.browse = QPushButton("Browse…", toolTip="Choose folder and name")
        self.format = _combo(_FORMAT_TITLES, "How the labels are stored; changes the file's ending")
        self.labels = LabelChoice()
        self.renumber = QCheckBox("Renumber 1, 2, 3 …")
        self.renumber.setToolTip("Write the ticked labels as 1, 2, 3 …, in their order")
        self.grid = _combo(
            _GRID_TITLES,
            "Of the source file: axis order, affine and header of the file that was opened. As"
            " displayed: the same voxels with their axes reordered and mirrored to right, anterior,"
            " superior; a tilt stays in the affine, and nothing is resampled",
        )
        self.names = QComboBox(
            toolTip="A text file beside the labels with their names and colours, for this program"
        )
        self.names.addItem(_NO_NAMES, None)
        for program, suffix in NAME_SUFFIXES.items():
            self.names.addItem(f"For {program} ({suffix})", program)
        self.corrected = QCheckBox("Voxels corrected by hand, as a second file")
        self.corrected.setToolTip(
            "1 where a voxel was edited after a model wrote it, else 0: for teaching a model"
        )
        self.replace = QCheckBox("Replace existing files")
        self.replace.setToolTip("Replace the existing files; an image that is open never is")
        self.text = text_label()
        self.progress = QProgressBar(minimum=0, maximum=0, visible=False)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setText("Export")

    def _lay_out(self) -> None:
        for box in (self.layer_box, self.format, self.grid, self.names):
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(10)
        self.form = QWidget()
        form = form_layout()
        form.addRow("Layer", self.layer_box)
        form.addRow("File", _row(self.file, self.browse))
        form.addRow("Format", self.format)
        form.addRow("Grid", self.grid)
        self.labels.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.MinimumExpanding)
        form.addRow("Labels", self.labels)
        form.addRow("", self.renumber)
        form.addRow("Names", self.names)
        form.addRow("", self.corrected)
        self.form.setLayout(form)
        column = QVBoxLayout(self)
        column.addWidget(self.form, 1)
        column.addWidget(self.text)
        column.addWidget(self.progress)
        column.addLayout(_row(self.replace, self.buttons))

    def _connect(self) -> None:
        self.layer_box.currentIndexChanged.connect(self._follow_layer)
        self.file.textChanged.connect(self._follow_name)
        self.browse.clicked.connect(self._browse)
        self.format.activated.connect(self._set_suffix)
        self.labels.changed.connect(self._update)
        for box in (self.grid, self.names):
            box.currentIndexChanged.connect(self._update)
        for tick in (self.renumber, self.corrected, self.replace):
            tick.toggled.connect(self._update)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)

    def _follow_layer(self) -> None:
        """Suggest a file for the layer, and count its voxels."""
        layer, editable = self.layer, is_editable(self.layer)
        self.corrected.setEnabled(editable)
        self.corrected.setChecked(editable and settings.recall("export.corrected", False))
        self.names.setCurrentIndex(
            max(0, self.names.findData(settings.recall("export.names", _NAMES)))
        )
        suffix = settings.recall("export.suffix", DEFAULT_SUFFIX)
        self.file.setText(str(suggested_path(layer, suffix)))
        self._counts = None
        self.labels.show_labels(layer, {})
        self._stop_counting()
        self._count = Task(Job(f"counting {layer.name}", lambda: count_voxels(layer)), self)
        self._count.returned.connect(self._counted)
        self._count.start()
        self._follow_name()

    def _counted(self, counts: Counts) -> None:
        self._counts = counts
        self.labels.show_labels(self.layer, counts)
        self._update()

    def _stop_counting(self) -> None:
        if self._count is not None:
            self._count.abandon()
            self._count = None

    def _follow_name(self) -> None:
        """Show the format that the file's name stands for; to replace is agreed to by name."""
        format_ = format_of(self.file.text().strip())
        suffix = ".hdr" if format_ and format_.is_pair else format_ and format_.suffix
        self.format.setCurrentIndex(self.format.findData(suffix))
        self.replace.setChecked(False)
        self._update()

    def _set_suffix(self) -> None:
        path = Path(self.file.text().strip())
        self.file.setText(str(path.with_name(base_name(path) + self.format.currentData())))

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Export labels",
            str(full_path(self.layer, self.file.text() or "labels.nii.gz")),
            f"Volumes ({' '.join('*' + f.suffix for f in FORMATS)});;All files (*)",
            options=QFileDialog.Option.DontConfirmOverwrite,  # the tick for it asks
        )
        if chosen:
            suffix = "" if format_of(chosen) else self.format.currentData() or DEFAULT_SUFFIX
            self.file.setText(chosen + suffix)

    def _update(self) -> None:
        """Say what will be written, or why nothing can be."""
        self._order, exists = None, False
        try:
            self._order = resolve(self.wish())
            text = describe(self._order)
            exists = bool(self._order.replaced)
        except AsmlpError as error:
            text = f"Not yet: {error}."
            exists = isinstance(error, ExistsError)
        self.replace.setEnabled(exists)
        self.text.setText(breakable(text))
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(
            self._order is not None
        )
        needed = self.layout().totalHeightForWidth(self.width())
        self.resize(self.width(), max(self.height(), needed))

    def _remember(self, order: Order) -> None:
        """Keep habits; which labels and which grid are a matter of each file."""
        settings.remember("export.suffix", self.format.currentData())
        settings.remember("export.names", order.names or "")
        if self.corrected.isEnabled():
            settings.remember("export.corrected", self.corrected.isChecked())

    def _written(self, path: Path, order: Order, changes: int) -> None:
        if not order.left_out:  # else the file does not hold all that the user may want back
            journal.saved(order.layer, changes)
        super().accept()
        show_info(f"Labels written to {path}")

    def _ended(self) -> None:
        """Close if it was stopped; after an error, which has been shown, all can be tried again."""
        task, self._export = self._export, None
        self.progress.hide()
        self.form.setEnabled(True)
        if task is not None and task.is_cancelled:
            super().reject()
        elif self.isVisible():
            self._update()


def _combo(titles: dict[Any, str], tip: str) -> QComboBox:
    box = QComboBox(toolTip=tip)
    for value, title in titles.items():
        box.addItem(title, value)
    return box


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return row
