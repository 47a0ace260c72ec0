"""Ctrl+S exports labels of ours, and is napari's for all other layers."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_asmlp.viewer import commands
from napari_asmlp.viewer.shortcuts import SaveShortcut, take_save_shortcut


@pytest.fixture
def exports(monkeypatch):
    calls = []
    monkeypatch.setattr(commands, "export_labels_command", lambda: calls.append("export"))
    return calls


def main_windows():
    return [window for window in QApplication.topLevelWidgets() if isinstance(window, QMainWindow)]


def press(key=Qt.Key.Key_S):
    """Ask the main window, as Qt does before it looks for shortcuts, who wants a key."""
    event = QKeyEvent(QEvent.Type.ShortcutOverride, key, Qt.KeyboardModifier.ControlModifier)
    event.ignore()
    (window,) = main_windows()
    QApplication.sendEvent(window, event)
    QApplication.processEvents()
    return event.isAccepted()


def test_labels_of_ours_are_exported(window, scan, exports):
    window.open(scan, plugin="napari-asmlp")
    commands.new_labels(window)
    assert press()
    assert exports == ["export"]
    assert not press(Qt.Key.Key_J)
    assert exports == ["export"]


def test_other_layers_are_napari_s(window, scan, exports):
    window.open(scan, plugin="napari-asmlp")
    assert not press()  # the image is selected
    window.add_labels(np.zeros((2, 2, 2), int))
    assert not press()
    assert exports == []


def test_it_is_taken_once(window, exports):
    take_save_shortcut()
    take_save_shortcut()
    assert [len(main.findChildren(SaveShortcut)) for main in main_windows()] == [1]
