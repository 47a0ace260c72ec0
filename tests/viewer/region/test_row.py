"""The region's row in the Segment panel, and the mouse in the canvas of a real window."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_asmlp.grid import Region
from napari_asmlp.viewer import commands
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.region import current_region, region_box
from napari_asmlp.viewer.segment.panel import SegmentPanel
from tests.viewer.conftest import without_dock


@pytest.fixture
def row(panel):
    return panel.region


def type_in(row, text):
    row.field.setText(text)
    row.field.editingFinished.emit()


def drag(canvas, *positions):
    """Press the left button, move over positions on the canvas, and let go."""
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    press, move, release = (
        QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease,
    )  # fmt: skip
    steps = [(press, positions[0], left, left)]
    steps += [(move, position, none, left) for position in positions[1:]]
    steps += [(release, positions[-1], left, none)]
    for kind, position, button, held in steps:
        where = QPointF(*position)
        event = QMouseEvent(kind, where, where, button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(canvas, event)
        QApplication.processEvents()


def test_a_region_is_typed_and_its_size_is_shown(viewer, row):
    assert row.size_label.text().split() == ["6×7×8", "voxels", "·", "6×14×24", "mm"]
    type_in(row, "0:2,:,1:3")
    assert row.size_label.text().split() == ["2×7×2", "voxels", "·", "2×14×6", "mm"]
    assert current_region(viewer) == Region((0, 0, 1), (2, 7, 3))
    assert row.text == "0:2,0:7,1:3"
    assert "i to left, j to superior, k to posterior" in row.field.toolTip()


def test_wrong_text_stays_to_be_put_right(viewer, row, notes):
    type_in(row, "0:2,:,1:3")
    type_in(row, "0:99,:,1:3")
    assert row.text == "0:99,:,1:3"
    assert current_region(viewer) is None
    assert any("0:99" in note for note in notes)


@pytest.mark.parametrize("way", ["button", "field", "layer"])
def test_the_whole_volume_is_meant_again(viewer, row, way):
    type_in(row, "0:2,:,1:3")
    if way == "layer":
        viewer.layers.remove(viewer.layers["region of scan"])
    else:
        (row.whole_button.click if way == "button" else row.field.clear)()
    assert current_region(viewer) is None
    assert row.text == ""
    assert [layer.name for layer in viewer.layers] == ["scan"]


def test_around_the_selected_label_or_all_of_them(viewer, row, notes, qtbot):
    row.put_around_labels(all_labels=True)
    assert "there are no labels of image 'scan'" in notes[-1]
    layer = commands.new_labels(viewer)
    row.put_around_labels(all_labels=True)
    qtbot.waitUntil(lambda: "hold no label: select" in notes[-1])
    source_view(layer)[2, 3, 4] = 1
    source_view(layer)[5, 3, 4] = 2
    row.margin.setValue(2)
    row.put_around_labels(all_labels=False)  # 2 mm are 2, 1 and 1 voxels
    qtbot.waitUntil(lambda: row.text == "0:5,2:5,3:6")
    row.put_around_labels(all_labels=True)
    qtbot.waitUntil(lambda: row.text == "0:6,2:5,3:6")
    layer.selected_label = 3
    row.put_around_labels(all_labels=False)
    qtbot.waitUntil(lambda: "hold no voxel of label 3" in notes[-1])
    assert row.text == "0:6,2:5,3:6"


def test_an_image_deleted_while_labels_are_looked_for_gets_no_region(viewer, row, qtbot):
    layer = commands.new_labels(viewer)
    source_view(layer)[2, 3, 4] = 1
    row.put_around_labels(all_labels=True)
    with qtbot.waitSignal(row._search.ended, timeout=30_000):
        del viewer.layers["scan"]
    assert current_region(viewer) is None


def test_labels_of_another_grid_are_refused(viewer, row, notes):
    viewer.add_labels(np.ones((2, 2, 2), int), name="elsewhere")
    row.put_around_labels(all_labels=True)
    assert "labels 'elsewhere'" in notes[-1]
    assert "'scan'" in notes[-1]
    assert current_region(viewer) is None


def test_two_panels_show_one_region(viewer, panel, qtbot):
    other = without_dock(SegmentPanel(viewer), qtbot)
    type_in(panel.region, "0:2,:,1:3")
    assert other.region.text == "0:2,0:7,1:3"
    viewer.add_image(np.zeros((4, 4, 4)), name="small")
    other.reset_choices()
    other.image.value = viewer.layers["small"]  # the region does not fit it
    assert panel.region.text == ""


def test_deleting_the_image_takes_the_region_along(viewer, row):
    type_in(row, "0:2,:,1:3")
    del viewer.layers["scan"]
    assert current_region(viewer) is None
    assert not viewer.layers
    assert row.size_label.text() == ""


def test_a_closed_panel_leaves_region_and_mouse(window, docked, qtbot):
    panel = docked
    type_in(panel.region, "0:2,:,1:3")
    before = [len(window.mouse_drag_callbacks)]
    panel.region.draw_button.setChecked(True)
    window.window.remove_dock_widget(panel)
    assert [len(window.mouse_drag_callbacks)] == before
    assert current_region(window) is not None
    region_box(window).clear()
    assert panel.region.text  # it does not follow any more
    with qtbot.waitSignal(panel.destroyed, timeout=30_000):
        panel.deleteLater()


def test_in_3d_the_draw_button_says_what_to_do(viewer, row, notes):
    viewer.dims.ndisplay = 3
    row.draw_button.setChecked(True)
    assert not row.draw_button.isChecked()
    assert any("switch the viewer to 2D" in note for note in notes)


def test_the_mouse_draws_in_the_canvas_and_the_view_stays(window, docked):
    row = docked.region
    canvas = window.window._qt_viewer.canvas.native
    window.window._qt_window.show()  # else the canvas has no size yet
    QApplication.processEvents()
    row.draw_button.setChecked(True)
    camera = window.scene.camera
    image = window.layers["scan"]  # 24 mm from top to bottom, and 6 mm wide
    camera.center, camera.zoom = image.extent.world.mean(axis=0), 10
    seen = camera.center[1:]  # of the shown axes
    x, y = canvas.width() / 2, canvas.height() / 2
    drag(canvas, (x - 12, y - 70), (x, y), (x + 12, y + 40))
    assert current_region(window).shape == (4, 7, 5)
    # i: 2.5 ± 1.2 voxels; j: all of the depth; k: from 3.5 - 7/3 to 3.5 + 4/3
    assert camera.center[1:] == seen
    drag(canvas, (x - 20, y - 20), (x - 100, y - 20))  # the left edge, to that of the image
    assert current_region(window).shape == (5, 7, 5)
    row.draw_button.setChecked(False)
    drawn = current_region(window)
    drag(canvas, (x, y), (x + 20, y), (x + 40, y))
    assert current_region(window) == drawn
    assert camera.center[1:] != seen
