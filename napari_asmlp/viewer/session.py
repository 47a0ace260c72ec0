"""What a viewer is given once, by what of the plugin is used first: reader, command or panel."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.history.journal import follow
from napari_asmlp.viewer.history.recover import offer
from napari_asmlp.viewer.shortcuts import bind_keys, bind_window_keys
from napari_asmlp.viewer.tilt import watch
from napari_asmlp.viewer.view.overlay import use_remembered_opacity

if TYPE_CHECKING:
    from napari.components import ViewerModel

_attended: WeakSet[ViewerModel] = WeakSet()


def attend(viewer: ViewerModel) -> None:
    """Prepare a viewer for work on volumes; a second call does nothing."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # panels are given a proxy of it
    bind_window_keys()
    if viewer in _attended:
        return
    _attended.add(viewer)
    bind_keys(viewer)
    follow(viewer)
    watch(viewer)
    current_of(viewer)
    use_remembered_opacity(viewer)
    from napari_asmlp.viewer.planes.show import annotate  # which imports this

    annotate(viewer)
    offer(viewer)
