"""What a viewer is given once, by what of the plugin is used first: reader, command or panel."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from napari_asmlp.viewer.shortcuts import take_save_shortcut

if TYPE_CHECKING:
    from napari.components import ViewerModel

_attended: WeakSet[ViewerModel] = WeakSet()


def attend(viewer: ViewerModel) -> None:
    """Prepare a viewer for work on volumes; a second call does nothing."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # panels are given a proxy of it
    take_save_shortcut()
    if viewer in _attended:
        return
    _attended.add(viewer)
