"""The View panel: planes, window and level of the image, overlay of the labels, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton, QVBoxLayout

from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.view.contrast_box import ContrastBox
from napari_asmlp.viewer.view.keys import KeyList
from napari_asmlp.viewer.view.overlay import meant_image, meant_labels
from napari_asmlp.viewer.view.overlay_box import OverlayBox
from napari_asmlp.viewer.view.planes_box import PlanesBox

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ViewPanel(Panel):
    """How the selected image and labels look, and in which planes.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        # not napari's proxy of it, whose layers are other objects at each look
        napari_viewer = self._viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.planes = PlanesBox(napari_viewer)
        self.contrast = ContrastBox(napari_viewer)
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
        """Follow the selected layer."""
        self._viewer.layers.selection.events.active.connect(self._follow)
        self._viewer.layers.events.inserted.connect(self._follow)
        self._viewer.layers.events.removed.connect(self._follow)
        self.planes.refresh()
        self._follow()

    def closed(self) -> None:
        """Let go of the layers, and of the mouse."""
        self._viewer.layers.selection.events.active.disconnect(self._follow)
        self._viewer.layers.events.inserted.disconnect(self._follow)
        self._viewer.layers.events.removed.disconnect(self._follow)
        self.contrast.follow(None)
        self.overlay.follow(None)

    def _follow(self, _event: Any = None) -> None:
        self.contrast.follow(meant_image(self._viewer))
        self.overlay.follow(meant_labels(self._viewer))
