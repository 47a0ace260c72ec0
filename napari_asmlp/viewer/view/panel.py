"""The View panel: planes, window and level of the image, overlay of the labels, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout

from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.view.contrast_box import ContrastBox
from napari_asmlp.viewer.view.keys import KeyList
from napari_asmlp.viewer.view.overlay_box import OverlayBox
from napari_asmlp.viewer.view.planes_box import PlanesBox

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ViewPanel(Panel):
    """How the current image and labels look, and in which planes.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self.planes = PlanesBox(self._viewer)
        self.contrast = ContrastBox(self._viewer)
        self.overlay = OverlayBox()
        self.keys_button = QPushButton("Keyboard shortcuts…")
        self.keys_button.setToolTip("List the keys of this plugin")
        self.keys_button.clicked.connect(self.show_keys)
        column = QVBoxLayout(self)
        for widget in (self.planes, self.contrast, self.overlay, self.keys_button):
            column.addWidget(widget)
        column.addStretch()
        self._keys: KeyList | None = None

    def show_keys(self) -> None:
        """Open the list of keys beside the window, or bring it to the front."""
        if self._keys is None:
            self._keys = KeyList(self)
        self._keys.show()
        self._keys.raise_()

    def opened(self) -> None:
        """Follow the current layers."""
        self.planes.refresh()
        self.follow_current()

    def closed(self) -> None:
        """Let go of the layers, and of the mouse."""
        self.contrast.follow(None)
        self.overlay.follow(None)

    def follow_current(self) -> None:
        """Show how the current image and labels look; a colour picture has no window."""
        image = self.current.image
        self.contrast.follow(None if image is None or image.rgb else image)
        self.overlay.follow(self.current.labels)
