"""A whole session in one real window, by mouse and keys: open, segment, correct, undo, export.

What the file should hold in the end is worked out beside it, with numpy, scipy and nibabel alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QLineEdit
from scipy.ndimage import distance_transform_edt

from napari_asmlp.edit import Grow
from napari_asmlp.viewer.commands import open_labels
from napari_asmlp.viewer.edit.panel import EditPanel
from napari_asmlp.viewer.edit.segment_model import LOCK, NAME
from napari_asmlp.viewer.export.dialog import ExportDialog
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.planes import show_planes
from napari_asmlp.viewer.planes.window import main_canvas

SHAPE = (20, 24, 8)
SPACING = (0.75, 0.75, 3.0)
REGION = "3:17,4:20,1:7"
INSIDE = np.s_[3:17, 4:20, 1:7]
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
AXIAL, CORONAL, SAGITTAL = range(3)  # the canvases: the main one, and those beside it


@pytest.fixture
def tilted(tmp_path: Path) -> Path:
    """An oblique scan of 0.75×0.75×3 mm; i to the left, j backwards, k upwards, turned a little."""
    turn = nibabel.eulerangles.euler2mat(0.1, 0.15, 0.2) @ np.diag([-1, -1, 1])
    affine = nibabel.affines.from_matvec(turn @ np.diag(SPACING), [12, 34, -56])
    voxels = np.random.default_rng(0).integers(-500, 1500, SHAPE, np.int16)
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=2)
    path = tmp_path / "tilted.nii.gz"
    nibabel.save(image, path)
    return path


class Session:
    """A window that is driven as a person drives it."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        viewer.window.show()
        self.window = main_canvas(viewer.__wrapped__).window()

    def press(self, key: Qt.Key, modifiers: Qt.KeyboardModifier) -> None:
        """Press a key of the whole window."""
        QTest.keyClick(self.window, key, modifiers)
        QApplication.processEvents()

    def show_planes(self) -> None:
        self.planes = planes = show_planes(self.viewer)
        self.views = (planes._main, *planes.views)
        for view, notes in zip(self.views, planes._notes, strict=True):

            def is_laid_out(view: Any = view, notes: Any = notes) -> bool:
                return tuple(view.canvas.size) == (notes.height(), notes.width())

            self.qtbot.waitUntil(is_laid_out)
        self.qtbot.wait(200)  # drawn
        self.viewer.reset_view()
        self.qtbot.wait(100)  # and laid out

    def stroke(self, number: int, voxels: list[tuple[int, int, int]]) -> None:
        """Draw with the left button in a canvas, from voxel to voxel of the file."""
        canvas = self.views[number].canvas.native
        pixels = [self._pixel(number, voxel) for voxel in voxels]
        middle = (pixels[0] + pixels[-1]) / 2
        kind = QEvent.Type
        _send(canvas, kind.MouseButtonPress, pixels[0], LEFT, LEFT)
        for pixel in (middle, *pixels[1:]):
            _send(canvas, kind.MouseMove, pixel, NONE, LEFT)
        _send(canvas, kind.MouseButtonRelease, pixels[-1], LEFT, NONE)

    def _pixel(self, number: int, voxel: tuple[int, int, int]) -> QPoint:
        """Turn all planes to a voxel, and return where the crosshair is then drawn."""
        image = self.viewer.layers[0]
        self.planes.cursor.move(image.data_to_world(upright_index(voxel, image_affine(image))))
        return self.planes._notes[number]._pixel().toPoint()


def _send(canvas: Any, kind: Any, pixel: QPoint, button: Any, held: Any) -> None:
    where = QPointF(pixel)
    everywhere = QPointF(canvas.mapToGlobal(pixel))
    none = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(canvas, QMouseEvent(kind, where, everywhere, button, held, none))
    QApplication.processEvents()


def image_affine(layer: Any) -> Any:
    return nibabel.load(layer.metadata["napari_asmlp"].path).affine


def upright(array: Any, affine: Any) -> Any:
    """Return an array of the file with the axes superior, anterior, right, as nibabel turns it."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt("SAR"))
    return nibabel.orientations.apply_orientation(array, turn)


def upright_index(voxel: tuple[int, int, int], affine: Any) -> tuple[int, ...]:
    mark = np.zeros(SHAPE, bool)
    mark[voxel] = True
    return tuple(np.argwhere(upright(mark, affine))[0].tolist())


def grown(labels: Any, value: int, mm: float) -> Any:
    """Return labels of which one has taken the background within a distance."""
    near = distance_transform_edt(labels != value, sampling=SPACING) <= mm
    return np.where(near & (labels == 0), value, labels).astype(labels.dtype)


@pytest.fixture
def session(window: Any, qtbot: Any) -> Iterator[Session]:
    session = Session(window, qtbot)
    yield session
    vars(session).clear()  # pytest keeps it until the window's leaks have been counted


def click(widget: Any, pos: QPoint | None = None) -> None:
    QTest.mouseClick(widget, LEFT, pos=pos or QPoint())
    QApplication.processEvents()


def retype(field: QLineEdit, text: str) -> None:
    """Put other text into a field, by keys."""
    QTest.keyClick(field, Qt.Key.Key_A, CONTROL)
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)
    QApplication.processEvents()


def segment(session: Session, qtbot: Any) -> Any:
    """Run the model within a region typed in the panel; returns the layer of the result."""
    _, panel = session.viewer.window.add_plugin_dock_widget("napari-asmlp", "Segment")
    retype(panel.region.field, REGION)
    click(panel.run_button)
    qtbot.waitUntil(lambda: panel._run is None, timeout=30_000)
    return session.viewer.layers.selection.active


def add_label(edit: EditPanel, name: str) -> int:
    """Add a label, name it with F2, and lock label 1; returns the new label's value."""
    table, model = edit.segments.table, edit.segments.model
    click(edit.segments.add_button)
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_F2)
    retype(table.findChild(QLineEdit), name)
    click(table.viewport(), table.visualRect(model.index(0, LOCK)).center())
    row = model.rowCount() - 1
    assert model.index(row, NAME).data() == name
    return model.values[row]


def apply_tool(edit: EditPanel, qtbot: Any) -> tuple[str, str]:
    """Preview, look, apply; returns what the panel said of either."""
    said = []
    for button in (edit.tools.preview_button, edit.tools.apply_button):
        click(button)
        qtbot.waitUntil(lambda: not edit.tools.is_busy, timeout=30_000)
        qtbot.waitUntil(lambda: not edits_of(edit._watched).busy, timeout=30_000)
        said.append(edit.tools.status.text())
    return said[0], said[1]


def export(session: Session, path: Path, qtbot: Any) -> None:
    """Export with Ctrl+S under a name that is typed, with the corrected voxels as a second file."""
    session.press(Qt.Key.Key_S, CONTROL)
    dialogs = lambda: [w for w in QApplication.topLevelWidgets() if isinstance(w, ExportDialog)]  # noqa: E731
    qtbot.waitUntil(lambda: bool(dialogs()) and dialogs()[0]._counts is not None, timeout=30_000)
    (dialog,) = dialogs()
    QTest.keyClick(dialog.file, Qt.Key.Key_A, CONTROL)
    QTest.keyClicks(dialog.file, str(path))
    QTest.keyClick(dialog.corrected, Qt.Key.Key_Space)
    assert dialog.corrected.isChecked()
    with qtbot.waitSignal(dialog.finished, timeout=30_000):
        click(dialog.buttons.button(QDialogButtonBox.StandardButton.Save))


def expected_states() -> list[Any]:
    """Return the labels (i, j, k) after the run and after each of four edits."""
    states = [np.zeros(SHAPE, np.uint8)]
    states[0][INSIDE] = [2, 1, 2, 1, 2, 1]  # of k = 1 to 6
    for line in (np.s_[1:13, 8, 3], np.s_[9, 10, 0:8], np.s_[11, 6:16, 5]):
        after = states[-1].copy()
        after[line][after[line] != 1] = 3  # label 1 is locked
        states.append(after)
    return [*states, grown(states[-1], 3, 1.6)]


def test_a_whole_session(
    session: Session, tilted: Path, pipeline: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer, affine = session.viewer, nibabel.load(tilted).affine
    states = expected_states()
    viewer.open(str(tilted), plugin="napari-asmlp")
    layer = segment(session, qtbot)

    def check(number: int) -> None:
        qtbot.waitUntil(lambda: not edits_of(layer).busy, timeout=30_000)
        np.testing.assert_array_equal(layer.data, upright(states[number], affine))

    check(0)
    _, edit = viewer.window.add_plugin_dock_widget("napari-asmlp", "Edit labels")
    qtbot.waitUntil(lambda: edit.segments._scanned, timeout=30_000)
    assert add_label(edit, "lesion") == 3
    session.show_planes()
    layer.brush_size = 1
    session.stroke(AXIAL, [(1, 8, 3), (12, 8, 3)])
    check(1)
    session.stroke(CORONAL, [(9, 10, 0), (9, 10, 7)])
    check(2)
    session.stroke(SAGITTAL, [(11, 6, 5), (11, 15, 5)])
    check(3)
    edit.tools.tool.value = Grow
    edit.tools.settings.set(mm=1.6)
    more = np.count_nonzero(states[4] != states[3])
    assert apply_tool(edit, qtbot) == (
        f"{more} voxels would change: +{more} lesion",
        f"{more} voxels changed: +{more} lesion",
    )
    check(4)
    for number in (3, 2, 1, 0):
        session.press(Qt.Key.Key_Z, CONTROL)
        check(number)
    for number in (1, 2, 3, 4):
        session.press(Qt.Key.Key_Z, CONTROL | SHIFT)
        check(number)
    out = tmp_path / "out.nii.gz"
    export(session, out, qtbot)
    check_file(out, tilted, states[4])
    check_file(tmp_path / "out_corrected.nii.gz", tilted, states[4] != states[0])
    again = open_labels(viewer, out)
    np.testing.assert_array_equal(again.data, upright(states[4], affine))


def check_file(path: Path, scan: Path, expected: Any) -> None:
    """Compare a file with what it should hold, and its grid with that of the scan."""
    ours, theirs = nibabel.load(path), nibabel.load(scan)
    np.testing.assert_array_equal(np.asanyarray(ours.dataobj), expected)
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    for each in ("qform_code", "sform_code", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(ours.header[each], theirs.header[each])
    np.testing.assert_allclose(ours.get_qform(), theirs.get_qform())
