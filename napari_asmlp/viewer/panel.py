"""What all panels share: the viewer, its layers as choices, and being closed and opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.layers import is_labels
from napari_asmlp.viewer.session import attend

if TYPE_CHECKING:
    from napari.components import ViewerModel


class Panel(QWidget):
    """A panel of ours in a dock.

    Parameters
    ----------
    napari_viewer
        Given by napari, which goes by this name.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = napari_viewer
        attend(napari_viewer)

    def opened(self) -> None:
        """Follow the viewer, from now on or again; called when the panel is put into a dock."""

    def closed(self) -> None:
        """Let go of the viewer and of what runs; called when the dock is closed."""

    def cancel(self) -> None:
        """Stop what runs, if the panel has anything to run."""

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802  # Qt's name
        """Notice the dock: napari closes one by taking the panel out of it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            (self.closed if self.parent() is None else self.opened)()

    def _images(self, _combo: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Image)]

    def _labels(self, _combo: Any = None) -> list[tuple[str, Labels]]:
        return [(layer.name, layer) for layer in self._viewer.layers if is_labels(layer)]
