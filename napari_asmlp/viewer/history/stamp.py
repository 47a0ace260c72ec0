"""Whether labels are still what they were: known at once, without looking at the voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from napari_asmlp.viewer.history.hooks import place_shown

if TYPE_CHECKING:
    from napari.layers import Labels


class Stamp(NamedTuple):
    """A state of labels; equal stamps mean equal labels.

    Attributes
    ----------
    edits
        How often they have been edited, by whatever goes through `Edits`.
    refreshes
        How often somebody else may have written into them.
    """

    edits: int
    refreshes: int


class Clock:
    """Counts what happens to the labels of a layer.

    Who writes into ``layer.data`` by other means says so by ``layer.refresh()``. A layer that only
    shows another slice has not been written into; a hidden one may have been at any time, since
    napari does not say when it is refreshed.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = ref(layer)
        self._edits = self._refreshes = 0
        self._place = place_shown(layer)
        layer.events.set_data.connect(self._refreshed)

    def edited(self, _event: Any = None) -> None:
        """Note that the labels are being edited, or have been."""
        self._edits += 1

    def now(self) -> Stamp:
        """Return the state that the labels are in."""
        layer = self._layer()
        if layer is None or not layer.visible:
            self._refreshes += 1
        return Stamp(self._edits, self._refreshes)

    def _refreshed(self, _event: Any = None) -> None:
        layer = self._layer()
        before, self._place = self._place, None if layer is None else place_shown(layer)
        if before == self._place:
            self._refreshes += 1
