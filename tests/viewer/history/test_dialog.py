from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from napari_asmlp.viewer.history import journal, recover
from napari_asmlp.viewer.history.dialog import RecoverDialog


@pytest.fixture
def dialog(window, monkeypatch, qtbot):
    """Two layers that a crash left behind."""
    lost = ViewerModel()
    journal.follow(lost)
    for name in ("first", "second"):
        lost.add_layer(Labels(np.zeros((3, 4, 5), np.uint8), name=name)).paint((1, 1, 1), 2)
    lost.layers.clear()
    journal.flush()
    dialog = RecoverDialog(window, recover.found().sound)
    qtbot.addWidget(dialog)
    yield dialog
    journal.close_all()


def names(dialog):
    return {dialog.table.item(row, 0).text() for row in range(dialog.table.rowCount())}


def test_it_lists_and_restores_what_is_selected(dialog, window, qtbot):
    assert names(dialog) == {"first", "second"}
    kept = dialog.table.item(1, 0).text()
    dialog.table.selectRow(0)
    qtbot.mouseClick(dialog.restore_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(window.layers) == 1)
    assert (window.layers[0].data == 2).any()
    assert names(dialog) == {kept}


def test_a_long_name_has_the_room_that_others_leave(window, dialog, qtbot):
    name = "vertebrae of the thoracic spine"
    held = dialog._journals[0]
    header = held.header.model_copy(update={"name": name, "path": f"/{'x' * 90}.nii"})
    wide = RecoverDialog(window, [replace(held, header=header)])
    qtbot.addWidget(wide)
    wide.show()
    table = wide.table
    assert table.columnWidth(0) >= table.sizeHintForColumn(0)
    assert table.columnWidth(0) > table.columnWidth(1)
    assert not table.horizontalScrollBar().isVisible()
    assert table.item(0, 0).toolTip() == name
    assert table.item(0, 1).toolTip() == header.path


def test_nothing_selected_nothing_to_do(dialog):
    dialog.table.clearSelection()
    assert not dialog.restore_button.isEnabled()
    assert not dialog.discard_button.isEnabled()


def test_discarding_asks_first(dialog, qtbot):
    dialog.table.selectRow(0)
    qtbot.mouseClick(dialog.discard_button, Qt.MouseButton.LeftButton)
    (question,) = dialog.findChildren(QMessageBox)
    assert len(recover.found().sound) == 2
    question.button(QMessageBox.StandardButton.Discard).click()
    assert len(recover.found().sound) == 1
    assert dialog.table.rowCount() == 1


def test_later_keeps_all(dialog, qtbot):
    qtbot.mouseClick(dialog.later_button, Qt.MouseButton.LeftButton)
    assert len(recover.found().sound) == 2


def test_the_first_window_is_offered_what_was_left(window, dialog, monkeypatch, qtbot):
    shown = []
    monkeypatch.setattr(recover, "_offered", False)
    monkeypatch.setattr(recover, "_show_found", lambda *_, asked: shown.append(asked))
    recover.offer(window)
    recover.offer(window)
    qtbot.waitUntil(lambda: len(shown) == 1)
    recover.offer(ViewerModel())  # without a window nobody is asked
    assert len(shown) == 1
