"""What all panels share: the viewer, its current layers, and being closed and opened again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import is_labels
from napari_asmlp.viewer.session import attend
from napari_asmlp.viewer.widgets import shorten

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
        # not napari's proxy of it, whose layers are other objects at each look
        self._viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        attend(self._viewer)
        self.current = current_of(self._viewer)

    def follow_current(self) -> None:
        """Turn to the current image and labels of the viewer; called when they change."""

    def reset_choices(self, _event: Any = None) -> None:
        """Follow the viewer's layers; napari calls this when they change."""
        self.follow_current()

    def opened(self) -> None:
        """Follow the viewer, from now on or again; called when the panel is put into a dock."""

    def closed(self) -> None:
        """Let go of the viewer and of what runs; called when the dock is closed."""

    def cancel(self) -> None:
        """Stop what runs, if the panel has anything to run."""

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802  # Qt's name
        """Notice the dock: napari closes one by taking the panel out of it."""
        super().changeEvent(event)
        if event.type() != QEvent.Type.ParentChange:
            return
        if self.parent() is None:
            self.current.changed.disconnect(self.follow_current, missing_ok=True)
            self.closed()
        else:
            self.current.changed.connect(self.follow_current, unique=True)
            self.opened()

    def _chooser(self, choices: Callable[[Any], list[tuple[str, Any]]], tip: str) -> ComboBox:
        """Return a choice of layers; the one that a user chooses becomes current."""
        combo = ComboBox(choices=choices, tooltip=tip)
        shorten(combo)
        combo.changed.connect(self._choose)
        return combo

    def _choose(self, chosen: Any) -> None:
        if isinstance(chosen, Image | Labels):
            self.current.choose(chosen)

    def _images(self, _combo: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Image)]

    def _labels(self, _combo: Any = None) -> list[tuple[str, Labels]]:
        return [(layer.name, layer) for layer in self._viewer.layers if is_labels(layer)]
