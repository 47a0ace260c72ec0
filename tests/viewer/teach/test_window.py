"""The Teach panel in napari's window, by mouse and keys: paint, teach, correct, teach, undo.

What the panel's labels should be is asked of `iter_teach`, with annotations put together by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_asmlp.model import read_card
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import read_annotation
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.planes import hide_planes, show_planes
from napari_asmlp.viewer.planes.window import main_canvas
from napari_asmlp.viewer.teach.class_box import NAME
from napari_asmlp.viewer.teach.classes import BACKGROUND
from napari_asmlp.volume import Volume
from tests.viewer.teach.scans import image_volume, paint_slice, scan

PATIENCE = 60_000
# so short that a round ends with its first answer, whatever the machine
QUICK = TeachSettings(seconds=0.01, light=LightSettings(first=5, trees=10))
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton


@pytest.fixture
def docked(window, monkeypatch):
    """The panel in a window with a ball, whose rounds are short."""
    monkeypatch.setattr(encoder, "is_there", lambda: False)
    window.add_layer(scan())
    _, panel = window.window.add_plugin_dock_widget("napari-asmlp", "Teach")
    panel.course.rounds._settings = QUICK
    monkeypatch.setattr(panel.running.seconds, "value", lambda: QUICK.seconds)
    return panel


def pixel(view: Any, world: Any) -> QPoint:
    canvas, model = view.canvas, view.viewer
    vertical, horizontal = (world[axis] for axis in model.dims.displayed)
    transform = canvas.view.transform * canvas.view.scene.transform
    x, y = transform.map([horizontal, vertical])[:2]
    ratio = canvas.native.devicePixelRatioF()
    return QPoint(round(x / ratio), round(y / ratio))


def drag(view: Any, layer: Any, start: Any, stop: Any) -> None:
    """Draw with the left button from voxel to voxel of the layer."""
    canvas = view.canvas.native
    ends = [pixel(view, layer.data_to_world(voxel)) for voxel in (start, stop)]
    kind, none = QEvent.Type, Qt.KeyboardModifier.NoModifier
    for what, where, button, held in (
        (kind.MouseButtonPress, ends[0], LEFT, LEFT),
        (kind.MouseMove, (ends[0] + ends[1]) / 2, NONE, LEFT),
        (kind.MouseMove, ends[1], NONE, LEFT),
        (kind.MouseButtonRelease, ends[1], LEFT, NONE),
    ):
        everywhere = QPointF(canvas.mapToGlobal(where))
        event = QMouseEvent(what, QPointF(where), everywhere, button, held, none)
        QApplication.sendEvent(canvas, event)
        QApplication.processEvents()


def click_class(panel: Any, row: int) -> None:
    table = panel.classes.table
    place = table.visualItemRect(table.item(row, NAME)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=place)


def teach(panel: Any, qtbot: Any) -> Any:
    """Press Teach; returns the labels that the round has come to."""
    QTest.mouseClick(panel.running.teach_button, LEFT)
    course = panel.course
    qtbot.waitUntil(
        lambda: not course.rounds.is_busy and not course.labels.is_busy, timeout=PATIENCE
    )
    assert panel.running.status.text().startswith("Done: first answer")
    return source_view(panel.pair.taught)


def expected(annotations: Any) -> Any:
    """Return what teaching without a window gives for annotations (i, j, k)."""
    image = image_volume()
    labels = Volume(annotations, image.grid, "labels")
    work = iter_teach(image, read_annotation(image, labels, 0, BACKGROUND), QUICK)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value.answer.labels.array()


def paint(panel: Any, window: Any, qtbot: Any) -> Any:
    """Paint strokes in two planes; returns the layer."""
    QTest.mouseClick(panel.sources.new_button, LEFT)
    layer = panel.pair.annotations
    layer.brush_size = 2
    planes = show_planes(panel._viewer)
    qtbot.wait(200)
    window.reset_view()
    qtbot.wait(100)
    main = main_canvas(panel._viewer)
    middle = np.array(layer.data.shape) // 2
    planes.cursor.move(layer.data_to_world(middle))
    drag(main, layer, middle, middle + np.array((0, 2, 2)))
    click_class(panel, 0)
    drag(main, layer, (middle[0], 1, 2), (middle[0], 15, 2))
    coronal = planes.views[0]
    drag(coronal, layer, (1, middle[1], 12), (18, middle[1], 14))
    click_class(panel, 1)
    drag(coronal, layer, middle - np.array((2, 0, 1)), middle + np.array((2, 0, -1)))
    assert np.count_nonzero(layer.data == 1) > 10
    assert np.count_nonzero(layer.data == BACKGROUND) > 20
    return layer


def test_two_rounds_with_corrections_between_them(docked, window, tmp_path, monkeypatch, qtbot):
    panel, layer = docked, paint(docked, window, qtbot)
    annotations = source_view(layer).astype(np.uint16)
    first = teach(panel, qtbot).copy()
    np.testing.assert_array_equal(first, expected(annotations))
    said = annotations != 0
    np.testing.assert_array_equal(first[said], annotations[said] == 1)

    taught = panel.pair.taught
    window.layers.selection.active = taught
    click_class(panel, 0)
    taught.brush_size = 3
    middle = np.array(layer.data.shape) // 2
    drag(
        main_canvas(panel._viewer),
        taught,
        middle - np.array((0, 3, 2)),
        middle - np.array((0, 3, -2)),
    )
    corrected = edits_of(taught).corrected()
    view = source_view(taught)
    assert corrected.any()
    assert not view[corrected].any()
    before = view.copy()
    annotations[corrected] = BACKGROUND
    second = teach(panel, qtbot)
    np.testing.assert_array_equal(second, expected(annotations))
    assert not second[corrected].any()
    assert not np.array_equal(second, before)

    QTest.keyClick(
        main_canvas(panel._viewer).window(), Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier
    )
    qtbot.waitUntil(lambda: not edits_of(taught).busy, timeout=PATIENCE)
    np.testing.assert_array_equal(view, before)

    path = tmp_path / "ball.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    QTest.mouseClick(panel.use.save_button, LEFT)
    assert [entry.name for entry in read_card(path).labels] == ["class 1"]
    _, segment = window.window.add_plugin_dock_widget("napari-asmlp", "Segment")
    assert segment.model.path == path
    hide_planes(panel._viewer)


def test_the_window_may_be_closed_in_the_middle_of_a_round(docked, window, teacher, qtbot):
    docked.course.rounds.begin_anew()
    teacher.hold_at = 0
    docked.new_annotations()
    paint_slice(docked.pair.annotations, 7)
    docked.teach()
    qtbot.waitUntil(lambda: teacher.rounds == 1, timeout=PATIENCE)
    window.close()
    teacher.go.set()
    assert teacher.closed.wait(30)
