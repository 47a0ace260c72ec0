"""What of napari's Labels layer the history touches, and napari does not promise to keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from napari.layers import Labels

MASKED_PAINTER = "_apply_mask_to_data"  # brush, fill and polygon all pass through it
_MASKED_PARAMETERS = 5  # the layer, data, mask, value and box


def wrap(layer: Labels, name: str, before: Callable[..., tuple[Any, ...]]) -> None:
    """Call `before` ahead of a method of one layer; it returns the arguments to go on with."""
    method = getattr(type(layer), name)
    owner = ref(layer)  # the layer must not hold on to itself

    @wraps(method)
    def wrapped(*arguments: Any, **settings: Any) -> Any:
        return method(owner(), *before(*arguments), **settings)

    setattr(layer, name, wrapped)


def can_guard(layer: Labels) -> bool:
    """Tell whether this napari paints as the one that this was written for (0.9)."""
    method = getattr(type(layer), MASKED_PAINTER, None)
    return method is not None and len(signature(method).parameters) == _MASKED_PARAMETERS


def call(layer: Labels, name: str) -> None:
    """Call a method that napari does not promise to keep."""
    method = getattr(layer, name, None)
    if method is not None:
        method()


def place_shown(layer: Labels) -> object:
    """Return what tells one slice of a layer from another, None where napari does not say."""
    return getattr(layer, "_slice_input", None)
