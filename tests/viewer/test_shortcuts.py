"""The keyboard: the table, the keys of the canvas, and those of the whole window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from napari.utils.key_bindings import KeymapHandler, coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit, QMainWindow, QWidget

from napari_asmlp.viewer import commands
from napari_asmlp.viewer.session import attend
from napari_asmlp.viewer.shortcuts import (
    SHORTCUTS,
    WindowShortcuts,
    bind_window_keys,
    hint,
    key_of,
    table_markdown,
)
from napari_asmlp.viewer.view import actions

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
NAPARI_S = {str(key) for keys in default_shortcuts.values() for key in keys}


# The table


def test_keys_are_single_and_none_is_napari_s():
    keys = [str(coerce_keybinding(shortcut.key)) for shortcut in SHORTCUTS]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & NAPARI_S
    for kind in (ViewerModel, Image, Labels, Points, Shapes):
        bound = {str(key) for base in kind.__mro__ for key in getattr(base, "class_keymap", ())}
        # napari binds undo and redo of Labels to the canvas alone; ours do the same everywhere
        assert set(keys) & bound <= {"Ctrl+Z", "Ctrl+Shift+Z"}


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.action)
def test_each_key_does_something(shortcut):
    assert callable(getattr(actions, shortcut.action))
    assert shortcut.text


def test_a_tooltip_names_the_key():
    assert hint("Lock it", "toggle_lock") == "Lock it (K)"
    with pytest.raises(StopIteration):
        key_of("nothing")


def test_the_table_as_text():
    lines = table_markdown().splitlines()
    assert lines[:2] == ["| key | does | when |", "|---|---|---|"]
    assert "| `G` | Labels filled, as contours, hidden | in the image |" in lines
    assert len(lines) == 2 + len(SHORTCUTS)


def test_the_readme_lists_them():
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    assert table_markdown() in readme


# Keys of the canvas


class Keys(KeymapHandler):
    """What napari's canvas does with keys, without a canvas."""

    def __init__(self, viewer):
        super().__init__()
        active = viewer.layers.selection.active
        self.keymap_providers = [*([active] if active else []), viewer]


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 5)), contrast_limits=(0, 1))
    labels = viewer.add_labels(np.zeros((3, 4, 5), np.uint8), name="labels")
    labels.features = {"index": [1, 4, 7], "name": ["liver", "spleen", "kidney"]}
    attend(viewer)
    return viewer


def test_g_cycles_the_overlay(viewer):
    keys = Keys(viewer)
    assert keys.press_key("G")
    assert viewer.layers["labels"].contour == 1
    keys.press_key("G")
    assert not viewer.layers["labels"].visible
    keys.press_key("G")
    assert (viewer.layers["labels"].visible, viewer.layers["labels"].contour) == (True, 0)


def test_h_hides_labels_while_it_is_down(viewer):
    keys = Keys(viewer)
    keys.press_key("H")
    assert not viewer.layers["labels"].visible
    keys.release_key("H")
    assert viewer.layers["labels"].visible


def test_w_takes_the_mouse_while_it_is_down(viewer):
    keys, before = Keys(viewer), list(viewer.mouse_drag_callbacks)
    keys.press_key("W")
    assert len(viewer.mouse_drag_callbacks) == len(before) + 1
    keys.release_key("W")
    assert viewer.mouse_drag_callbacks == before


@pytest.mark.parametrize(
    ("presses", "selected"),
    [
        ("..", 7),
        ("...", 1),
        (",", 7),
        (".,", 1),
        (",,", 5),  # it is in the slice, though it has no name
    ],
)
def test_labels_are_selected_in_turn(viewer, presses, selected):
    layer = viewer.layers["labels"]
    layer.data[1, 0, 0] = 5 if selected == 5 else 0
    viewer.dims.point = (1, 0, 0)
    keys = Keys(viewer)
    for key in presses:
        keys.press_key(key)
    assert layer.selected_label == selected


def test_k_locks_and_unlocks(viewer):
    keys, layer = Keys(viewer), viewer.layers["labels"]
    layer.selected_label = 4
    heard = []
    layer.events.features.connect(lambda _: heard.append("features"))
    keys.press_key("K")
    assert actions.locked_values(layer) == {4}
    assert viewer.status == "spleen is locked"
    keys.press_key("K")
    assert actions.locked_values(layer) == set()
    assert heard == ["features", "features"]


def test_keys_of_others_stay_theirs():
    viewer, pressed = ViewerModel(), []
    viewer.bind_key("G", lambda _: pressed.append("other"))
    attend(viewer)
    Keys(viewer).press_key("G")
    assert pressed == ["other"]


def test_without_labels_a_key_says_so(notes):
    viewer = ViewerModel()
    attend(viewer)
    Keys(viewer).press_key("G")
    assert notes == ["there are no labels: open, paint or segment some first"]


# Edits by keys


def test_undo_is_of_the_labels_that_were_selected_last(viewer):
    first = viewer.layers["labels"]
    second = viewer.add_labels(np.zeros((3, 4, 5), np.uint8), name="second")
    viewer.layers.selection.active = first
    one, other = (np.array([[0], [0], [n]]) for n in range(2))
    first.data_setitem(tuple(one), 1)
    second.data_setitem(tuple(one), 2)
    first.data_setitem(tuple(other), 3)
    viewer.layers.selection.active = viewer.layers[0]  # the image
    actions.undo(viewer)
    assert first.data[0, 0].tolist() == [1, 0, 0, 0, 0]
    assert viewer.status.startswith("labels: undone")
    actions.redo(viewer)
    assert first.data[0, 0].tolist() == [1, 3, 0, 0, 0]
    viewer.layers.selection.active = second  # what is selected comes first
    actions.undo(viewer)
    assert second.data[0, 0, 0] == 0
    actions.undo(viewer)
    assert viewer.status == "second: no edit"
    viewer.layers.remove(second)
    viewer.layers.selection.active = viewer.layers[0]
    actions.undo(viewer)  # the last selected ones have gone
    assert first.data[0, 0].tolist() == [1, 0, 0, 0, 0]


def settle(viewer, qtbot):
    qtbot.waitUntil(lambda: viewer not in actions._edits)


def test_n_copies_the_label_and_goes_along(viewer, qtbot):
    layer = viewer.layers["labels"]
    layer.data[0, :2] = 4
    layer.data[0, 3] = 1
    layer.selected_label = 4
    viewer.dims.point = (0, 0, 0)
    keys = Keys(viewer)
    keys.press_key("N")
    settle(viewer, qtbot)
    assert viewer.dims.point[0] == 1
    expected = np.zeros((4, 5), int)
    expected[:2] = 4
    np.testing.assert_array_equal(layer.data[1], expected)
    layer.undo()
    assert not layer.data[1:].any()


def test_shift_n_stops_at_the_first_slice(viewer, qtbot, notes):
    layer = viewer.layers["labels"]
    layer.data[0, :2] = 1
    viewer.dims.point = (0, 0, 0)
    Keys(viewer).press_key("Shift+N")
    settle(viewer, qtbot)
    assert len(notes) == 1
    assert "slice -1" in notes[0]
    assert viewer.dims.point[0] == 0


def test_shift_i_fills_what_lies_between(viewer, qtbot):
    layer = viewer.layers["labels"]
    layer.data[0], layer.data[2] = 1, 1
    layer.selected_label = 1
    Keys(viewer).press_key("Shift+I")
    settle(viewer, qtbot)
    assert (layer.data[1] == 1).all()


# Keys of the window


@pytest.fixture
def calls(monkeypatch):
    """What keys called, in place of what they do."""
    called = []
    for shortcut in SHORTCUTS:
        if shortcut.is_window_wide:
            name = shortcut.action
            monkeypatch.setattr(actions, name, lambda _viewer, name=name: called.append(name))
    return called


def main_windows():
    return [window for window in QApplication.topLevelWidgets() if isinstance(window, QMainWindow)]


def press(key=Qt.Key.Key_S):
    """Ask the main window, as Qt does before it looks for shortcuts, who wants a key."""
    event = QKeyEvent(QEvent.Type.ShortcutOverride, key, CONTROL)
    event.ignore()
    (window,) = main_windows()
    QApplication.sendEvent(window, event)
    QApplication.processEvents()
    return event.isAccepted()


def test_labels_of_ours_are_exported(window, scan, calls):
    window.open(scan, plugin="napari-asmlp")
    commands.new_labels(window)
    assert press()
    assert calls == ["export"]
    assert not press(Qt.Key.Key_J)
    assert calls == ["export"]


def test_other_layers_are_napari_s(window, scan, calls):
    window.open(scan, plugin="napari-asmlp")
    assert not press()  # the image is selected
    window.add_labels(np.zeros((2, 2, 2), int))
    assert not press()
    assert calls == []


def test_they_are_taken_once(window):
    attend(window)
    bind_window_keys()
    assert [len(main.findChildren(WindowShortcuts)) for main in main_windows()] == [1]


def test_keys_of_the_window_work_wherever_the_focus_is(
    make_napari_viewer_proxy, plugin, calls, qtbot
):
    viewer = make_napari_viewer_proxy(show=True)
    attend(viewer)
    viewer.add_labels(np.zeros((3, 4, 5), np.uint8))
    (main,) = main_windows()
    text = QLineEdit(main)
    text.show()
    main.activateWindow()
    qtbot.waitUntil(main.isActiveWindow)
    for name in ("CanvasBackendDesktop", "QtLayerList"):
        focused = next(each for each in main.findChildren(QWidget) if type(each).__name__ == name)
        focused.setFocus()
        qtbot.waitUntil(focused.hasFocus)
        QTest.keyClick(focused, Qt.Key.Key_Z, CONTROL)
        QTest.keyClick(focused, Qt.Key.Key_Z, CONTROL | SHIFT)
        QTest.keyClick(focused, Qt.Key.Key_Return, CONTROL)
        QTest.keyClick(focused, Qt.Key.Key_Period, CONTROL)
        assert calls == ["undo", "redo", "run", "cancel"]  # each once
        calls.clear()
    text.setFocus()
    qtbot.waitUntil(text.hasFocus)
    QTest.keyClicks(text, "gh")
    QTest.keyClick(text, Qt.Key.Key_Z, CONTROL)
    assert calls == []  # the text took it
    assert text.text() == ""
