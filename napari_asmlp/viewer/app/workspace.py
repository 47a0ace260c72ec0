"""The workspace: the current image and labels, a bar of tools, and one page at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QDockWidget,
    QHBoxLayout,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_asmlp.viewer.app.pages import PAGES, Page
from napari_asmlp.viewer.icons import checked_style, icon
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.shortcuts import hint
from napari_asmlp.viewer.widgets import Scrolled, form_layout, show_choice

if TYPE_CHECKING:
    from napari.components import ViewerModel

_ICON_SIDE, _MARGIN = 22, 9  # pixels
_LEFT_DOCKS = ("layer controls", "layer list")  # as napari names them


class Workspace(Panel):
    """All tools in one dock, never taller than the screen.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._pages: dict[str, Panel] = {}
        self._is_left = False
        self._hidden: list[QDockWidget] = []  # docks of napari, while the canvas has the focus
        self.image = self._chooser(self._images, "The image to look at, segment and measure")
        self.labels = self._chooser(self._labels, "The labels to edit, measure and export")
        self.stack = QStackedWidget()
        self.buttons = {page.name: self._page_button(page) for page in PAGES}
        self.focus = _tool_button("Focus", hint("Hide the list of layers", "toggle_focus"))
        self.focus.toggled.connect(self._show_docks)
        self._group = QButtonGroup(self)
        for button in self.buttons.values():
            self._group.addButton(button)
        row = QHBoxLayout(self)
        row.setContentsMargins(2, _MARGIN, 2, 2)
        row.setSpacing(2)
        row.addLayout(self._bar())
        column = QVBoxLayout()
        column.addLayout(self._header())
        column.addWidget(self.stack)
        row.addLayout(column)
        self._draw_icons()
        self.follow_current()

    @property
    def page(self) -> str:
        """Name of the page that is shown; empty before the first."""
        shown = self.stack.currentWidget()
        return next((name for name, page in self._pages.items() if _area(page) is shown), "")

    def show_page(self, name: str) -> Panel:
        """Show a page, which is made when it is shown for the first time, and return its panel."""
        if name not in self._pages:
            page = next(page for page in PAGES if page.name == name)
            self._pages[name] = page.make(self._viewer)
            self._pages[name].hide_choices()
            self.stack.addWidget(Scrolled(self._pages[name]))
        panel = self._pages[name]
        self.stack.setCurrentWidget(_area(panel))
        self.buttons[name].setChecked(True)
        return panel

    def follow_current(self) -> None:
        """Show which layers are current."""
        show_choice(self.image, self.current.image)
        show_choice(self.labels, self.current.labels)

    def reset_choices(self, event: Any = None) -> None:
        """Follow the viewer's layers, in all pages."""
        super().reset_choices(event)
        for panel in self._pages.values():
            panel.reset_choices(event)

    def toggle_focus(self) -> bool:
        """Press the button *Focus*."""
        self.focus.toggle()
        return True

    def opened(self) -> None:
        """Show a first page, or let all pages follow the viewer again."""
        if self._is_left:
            for panel in self._pages.values():
                panel.attach()
        self._is_left = False
        self._viewer.events.theme.connect(self._draw_icons)
        self._draw_icons()
        self.follow_current()
        if not self._pages:
            self.show_page("open" if self.current.image is None else "segment")

    def closed(self) -> None:
        """Let all pages go, and bring napari's docks back."""
        self.focus.setChecked(False)
        self._viewer.events.theme.disconnect(self._draw_icons)
        for panel in self._pages.values():
            panel.detach()
        self._is_left = True

    def _page_button(self, page: Page) -> QToolButton:
        button = _tool_button(page.title, page.tip)
        button.clicked.connect(partial(self.show_page, page.name))
        return button

    def _bar(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(1)
        for button in self.buttons.values():
            column.addWidget(button)
        column.addStretch()
        column.addWidget(self.focus)
        return column

    def _header(self) -> Any:
        form = form_layout()
        for title, combo in (("Image", self.image), ("Labels", self.labels)):
            form.addRow(title, combo.native)
        return form

    def _draw_icons(self, _event: Any = None) -> None:
        theme = self._viewer.theme
        self.setStyleSheet(checked_style(theme))
        for name, button in (*self.buttons.items(), ("focus", self.focus)):
            button.setIcon(icon(name, theme))

    def _show_docks(self, hide: bool) -> None:  # of a button's signal
        """Hide napari's docks to the left of the canvas, or show again those that were hidden."""
        if not hide:
            for dock in self._hidden:
                dock.show()
            self._hidden = []
            return
        docks = self.window().findChildren(QDockWidget)
        self._hidden = [d for d in docks if d.objectName() in _LEFT_DOCKS and d.isVisible()]
        for dock in self._hidden:
            dock.hide()


def _area(panel: Panel) -> QWidget:
    """Return the scrolled area that a page lies in."""
    area = panel.parent().parent()
    if not isinstance(area, Scrolled):
        raise TypeError(f"{panel} lies in no scrolled area")
    return area


def _tool_button(title: str, tip: str) -> QToolButton:
    button = QToolButton(text=title, toolTip=tip, checkable=True, autoRaise=True)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
    button.setIconSize(QSize(_ICON_SIDE, _ICON_SIDE))
    button.setSizePolicy(QSizePolicy.Policy.MinimumExpanding, QSizePolicy.Policy.Minimum)
    return button
