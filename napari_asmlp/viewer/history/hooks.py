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
_RESET = "_reset_history"
_MASKED_PARAMETERS = 5  # the layer, data, mask, value and box


def wrap(layer: Labels, name: str, before: Callable[..., tuple[Any, ...]]) -> None:
    """Call `before` ahead of a method of one layer; it returns the arguments to go on with."""
    method = getattr(type(layer), name)
    owner = ref(layer)  # the layer must not hold on to itself

    @wraps(method)
    def wrapped(*arguments: Any, **settings: Any) -> Any:
        return method(owner(), *before(*arguments), **settings)

    setattr(layer, name, wrapped)


def keep_no_history(layer: Labels) -> None:
    """Let a layer keep nothing of what is painted in it, but tell of each stroke.

    napari resets its history, too, when a layer can no longer be edited: what has been painted of a
    stroke then is a stroke.
    """
    layer._history_limit = 0
    call(layer, _RESET)
    owner = ref(layer)

    def ended() -> tuple[Any, ...]:
        itself = owner()
        if itself is not None:
            end_stroke(itself)
        return ()

    if hasattr(type(layer), _RESET):
        wrap(layer, _RESET, ended)


def end_stroke(layer: Labels) -> None:
    """Let a layer tell what has been painted of a stroke that is under way."""
    call(layer, "_commit_staged_history")


def drop_stroke(layer: Labels) -> None:
    """Forget a stroke that is under way; what it painted stays."""
    if getattr(layer, "_staged_history", None):
        layer._staged_history = []


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
