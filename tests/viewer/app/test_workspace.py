"""The workspace in a window: its pages, what is current, and its place on a small screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication, QDockWidget

from napari_asmlp.viewer import commands
from napari_asmlp.viewer.app import commands as menus
from napari_asmlp.viewer.app.open_page import OpenPage
from napari_asmlp.viewer.app.pages import PAGES
from napari_asmlp.viewer.app.workspace import Workspace
from napari_asmlp.viewer.panel import Panel, _dock_of, open_page
from napari_asmlp.viewer.view.actions import open_panels, toggle_focus
from tests.viewer.conftest import close_dock, without_dock

NAMES = [page.name for page in PAGES]


@pytest.fixture
def workspace(viewer: ViewerModel, qtbot: Any) -> Workspace:
    """A workspace of a viewer without a window, with nothing open."""
    found: Workspace = without_dock(Workspace(viewer), qtbot)
    return found


@pytest.fixture
def space(window: Any, scan: Path) -> Workspace:
    """The workspace in a window, with the scan open."""
    window.open(str(scan), plugin="napari-asmlp")
    _, found = window.window.add_plugin_dock_widget("napari-asmlp", "AS-MLP")
    return found


def test_each_page_has_a_name_an_icon_and_words(workspace: Workspace) -> None:
    assert len(set(NAMES)) == len(PAGES)
    for page in PAGES:
        button = workspace.buttons[page.name]
        assert (button.text(), button.toolTip()) == (page.title, page.tip)
        assert not button.icon().isNull()
    assert not workspace.focus.icon().isNull()


def test_pages_are_made_when_they_are_first_shown_and_kept(workspace: Workspace) -> None:
    assert workspace.page == "open"  # as nothing is open
    assert workspace.stack.count() == 1
    for count, name in enumerate(NAMES, start=1):
        panel = workspace.show_page(name)
        assert isinstance(panel, Panel)
        assert (workspace.page, workspace.stack.count()) == (name, count)
        assert [n for n in NAMES if workspace.buttons[n].isChecked()] == [name]
        assert workspace.show_page(name) is panel


def test_the_open_page_says_what_comes_next(workspace: Workspace, scan: Path) -> None:
    page = workspace.show_page("open")
    assert isinstance(page, OpenPage)
    assert "Nothing is open" in page.next_step.text()
    assert not page.new_button.isEnabled()
    workspace._viewer.open(str(scan), plugin="napari-asmlp")
    assert "Segment" in page.next_step.text()
    page.new_button.click()
    assert workspace._viewer.layers[-1].name == "scan labels"
    assert "Export" in page.next_step.text() and "<" not in page.next_step.text()  # plain text


def test_nothing_is_exported_where_there_is_nothing(workspace: Workspace, scan: Path) -> None:
    page: Any = workspace.show_page("export")
    assert "no labels to export" in page.text.text() and not page.button.isEnabled()
    workspace._viewer.open(str(scan), plugin="napari-asmlp")
    commands.new_labels(workspace._viewer)
    assert "scan" in page.text.text() and page.button.isEnabled()


def test_the_header_follows_the_selection_and_selects(workspace: Workspace) -> None:
    viewer = workspace._viewer
    first, second = (viewer.add_image(np.zeros((4, 5, 6)), name=name) for name in ("a", "b"))
    labels = viewer.add_labels(np.zeros((4, 5, 6), np.uint8), name="l")
    assert (workspace.image.value, workspace.labels.value) == (second, labels)
    viewer.layers.selection.active = first
    assert workspace.image.value is first
    workspace.image.value = second
    assert viewer.layers.selection.active is second
    viewer.layers.clear()
    assert (workspace.image.value, workspace.labels.value) == (None, None)


def test_pages_choose_no_layers_of_their_own(workspace: Workspace) -> None:
    for name in ("segment", "edit", "measure"):
        page: Any = workspace.show_page(name)
        assert page.image.native.isHidden()


def test_pages_let_go_with_the_workspace_and_follow_again(
    workspace: Workspace, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, page = workspace._viewer, workspace.show_page("segment")
    heard: list[str] = []
    monkeypatch.setattr(page, "closed", lambda: heard.append("closed"))
    monkeypatch.setattr(page, "opened", lambda: heard.append("opened"))
    close_dock(workspace)
    assert heard == ["closed"]
    viewer.open(str(scan), plugin="napari-asmlp")
    workspace.setParent(workspace.place)
    assert heard == ["closed", "opened"]
    assert workspace.image.value is viewer.layers[0]


@pytest.mark.parametrize("size", [(1366, 768), (1280, 720), (1024, 768)])
def test_no_page_is_taller_than_the_screen(space: Workspace, window: Any, size: Any) -> None:
    main = space.window()
    for name in NAMES:
        open_page(window, name)
        main.resize(*size)
        assert main.minimumSizeHint().height() <= 700
        assert main.height() <= size[1]


def test_there_is_one_workspace_that_menus_and_pages_turn_over(
    space: Workspace, window: Any
) -> None:
    for name in ("view", "segment", "teach", "edit", "classify", "measure"):
        getattr(menus, f"show_{name}")()
        assert space.page == name
    edit = space.show_page("segment")
    layer = commands.new_labels(window)
    edit._result = layer
    edit.correct()
    assert space.page == "edit" and layer.mode == "paint"
    assert list(open_panels(space._viewer, Workspace)) == [space]


def test_focus_hides_the_docks_of_napari_and_brings_them_back(
    space: Workspace, window: Any
) -> None:
    main = space.window()
    main.show()

    def shown() -> set[str]:
        return {dock.objectName() for dock in main.findChildren(QDockWidget) if dock.isVisible()}

    before = shown()
    assert {"layer list", "layer controls"} <= before
    toggle_focus(space._viewer)
    assert shown() == before - {"layer list", "layer controls"}
    toggle_focus(space._viewer)
    assert shown() == before
    toggle_focus(space._viewer)
    window.window.remove_dock_widget(space)
    assert {"layer list", "layer controls"} <= shown()
    space.deleteLater()


def test_two_windows_have_a_workspace_each(make_napari_viewer_proxy: Any, plugin: Any) -> None:
    viewers = [make_napari_viewer_proxy() for _ in range(2)]
    spaces = [
        viewer.window.add_plugin_dock_widget("napari-asmlp", "AS-MLP")[1] for viewer in viewers
    ]
    assert spaces[0] is not spaces[1]
    viewers[0].add_image(np.zeros((4, 5, 6)), name="a")
    assert spaces[0].image.value.name == "a" and spaces[1].image.value is None
    assert napari.current_viewer() is not None


def test_panels_of_their_own_lie_behind_tabs(space: Workspace, window: Any, qtbot: Any) -> None:
    main = space.window()
    main.show()
    for name in ("Segment", "View", "Edit labels", "Measure"):
        window.window.add_plugin_dock_widget("napari-asmlp", name)
        QApplication.processEvents()
    docks = [_dock_of(panel) for panel in main.findChildren(Panel)]
    docks = [dock for dock in docks if dock is not None]
    assert len(docks) == 5
    qtbot.waitUntil(lambda: len(main.tabifiedDockWidgets(docks[0])) == 4)
    main.resize(1366, 768)
    assert main.minimumSizeHint().height() <= 740
