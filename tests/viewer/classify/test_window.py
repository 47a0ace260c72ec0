"""The Mixer panel in napari's window: real clicks and keys, and what stands in its way."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_asmlp.viewer.classify.looks import classes_in
from napari_asmlp.viewer.measure.panel import MeasurePanel
from napari_asmlp.viewer.planes import hide_planes, show_planes
from napari_asmlp.viewer.planes.window import main_canvas
from tests.viewer.classify.cells import cells, scan

PATIENCE = 30_000


@pytest.fixture
def docked(window, classifiers, quick):
    """The panel in a window with the scan and the cells."""
    window.add_layer(scan())
    window.add_layer(cells())
    _, panel = window.window.add_plugin_dock_widget("napari-asmlp", "Mixer")
    return panel


def settle(panel, qtbot):
    qtbot.waitUntil(lambda: not panel.running.is_busy, timeout=PATIENCE)


def click(view, place):
    """Press and release the button of the mouse over a place of the world."""
    canvas, model = view.canvas, view.viewer
    shown = [place[axis] for axis in model.dims.displayed]
    transform = canvas.view.transform * canvas.view.scene.transform
    x, y = transform.map([shown[1], shown[0]])[:2]
    ratio = canvas.native.devicePixelRatioF()
    at = QPoint(round(x / ratio), round(y / ratio))
    QTest.mouseMove(canvas.native, at)
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), at)


def place_of(layer, value):
    """The world position in the middle of an object."""
    return tuple(layer.data_to_world(np.median(np.argwhere(layer.data == value), axis=0)))


def go_to(model, layer, value):
    model.dims.point = place_of(layer, value)


def test_click_name_train_correct_train_save(docked, window, tmp_path, monkeypatch, qtbot):
    panel, layer = docked, docked.picked.layer
    canvas = main_canvas(panel._viewer)
    qtbot.waitExposed(canvas)
    window.reset_view()
    panel.tabs.setCurrentWidget(panel.teach)
    for name in ("round", "long"):
        QTest.keyClicks(panel.teach.new_class, name)
        QTest.keyClick(panel.teach.new_class, Qt.Key.Key_Return)
    QTest.mouseClick(panel.sources.pick_button, Qt.MouseButton.LeftButton)
    for value, key in ((1, Qt.Key.Key_1), (2, Qt.Key.Key_2), (3, Qt.Key.Key_1)):
        go_to(window, layer, value)
        click(canvas, place_of(layer, value))
        QTest.keyClick(canvas.canvas.native, key)
    assert dict(panel.teach.lesson.examples) == {1: "round", 2: "long", 3: "round"}
    QTest.mouseClick(panel.teach.train_button, Qt.MouseButton.LeftButton)
    settle(panel, qtbot)
    assert set(classes_in(layer)) == {1, 2, 3, 4, 5, 6}

    go_to(window, layer, 5)
    click(canvas, place_of(layer, 5))
    assert panel.results.bars.title.text().startswith("Object 5 · ")
    QTest.keyClick(canvas.canvas.native, Qt.Key.Key_2)
    assert classes_in(layer)[5] == "long"
    QTest.mouseClick(panel.teach.train_button, Qt.MouseButton.LeftButton)
    settle(panel, qtbot)
    path = str(tmp_path / "mine.safetensors")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path, ""))
    QTest.mouseClick(panel.teach.save_button, Qt.MouseButton.LeftButton)
    assert str(panel.by_model.model.path) == path
    assert layer.mode == "pan_zoom"


def test_objects_are_picked_in_every_plane(docked, window, qtbot):
    panel, layer = docked, docked.picked.layer
    planes = show_planes(panel._viewer)
    panel.sources.pick_button.click()
    for value, view in zip((2, 4), planes.views, strict=True):
        planes.cursor.move(place_of(layer, value))
        qtbot.wait(50)
        view.viewer.reset_view()
        click(view, place_of(layer, value))
        assert panel.picked.value == value
    hide_planes(panel._viewer)


def test_the_classes_stand_in_the_table_of_measurements(docked, window, qtbot):
    panel, layer = docked, docked.picked.layer
    panel.teach.new_class.setText("round")
    panel.teach.add_button.click()
    panel.picked.go_to(3, ())
    panel.teach.named.emit("round")
    panel.results.measure_button.click()
    (measures,) = (w for w in QApplication.allWidgets() if isinstance(w, MeasurePanel))
    qtbot.waitUntil(lambda: len(measures.table.rows.shown) == 6, timeout=PATIENCE)
    assert measures.layer.value is layer
    assert [row.get("class") for row in measures.table.rows.shown][2] == "round"


def test_the_window_may_be_closed_while_it_works(docked, window, held, qtbot):
    docked.by_model.what.value = "each object"
    docked.classify()
    qtbot.waitUntil(lambda: len(docked.running._items) == 2, timeout=PATIENCE)
    window.close()
    held.go.set()
    assert held.closed.wait(30)
