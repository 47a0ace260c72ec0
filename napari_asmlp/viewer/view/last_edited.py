"""Which labels of a viewer were edited last, so that undo finds them whatever is selected."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari_asmlp.viewer.history.edits import edits_of, is_editable
from napari_asmlp.viewer.layers import is_labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

_last: WeakKeyDictionary[ViewerModel, ReferenceType[Labels]] = WeakKeyDictionary()


def follow_edits(viewer: ViewerModel) -> None:
    """Note from now on which labels of a viewer are edited."""
    for layer in viewer.layers:
        _watch(ref(viewer), layer)
    viewer.layers.events.inserted.connect(partial(_inserted, ref(viewer)))


def last_edited(viewer: ViewerModel) -> Labels | None:
    """Return the labels of a viewer that were edited, undone or redone last."""
    known = _last.get(viewer)
    layer = None if known is None else known()
    return layer if layer is not None and layer in viewer.layers else None


def _inserted(viewer: ReferenceType[ViewerModel], event: Any) -> None:
    _watch(viewer, event.value)


def _watch(viewer: ReferenceType[ViewerModel], layer: Any) -> None:
    if is_labels(layer) and is_editable(layer):
        edits_of(layer).changed.connect(partial(_note, viewer, ref(layer)))


def _note(viewer: ReferenceType[ViewerModel], layer: ReferenceType[Labels]) -> None:
    owner = viewer()
    if owner is not None:
        _last[owner] = layer
