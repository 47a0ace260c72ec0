"""Picking objects with the mouse and naming their class with the keys 1 to 9."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.key_bindings import coerce_keybinding

from napari_asmlp.viewer.region.mouse import canvas_mouse

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    Position = tuple[float, ...]

KEYS = tuple(str(number) for number in range(1, 10))
_AXES = 3


class Picker:
    """While it is on, a click on an object in any plane picks it, and keys 1 to 9 name its class.

    Drags stay napari's. Whatever else takes the mouse (a region that is drawn, say) ends the
    clicks, not the keys. A key that napari knows for the layer comes back when it is off.

    Parameters
    ----------
    viewer
        Whose canvas, and linked planes, are listened to.
    layer
        Returns the labels whose objects are meant.
    picked
        Called with the value under the mouse, 0 for background, and where in the world that is.
    pressed
        Called with the number of a key, from 1.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layer: Callable[[], Labels | None],
        picked: Callable[[int, Position], None],
        pressed: Callable[[int], None],
    ) -> None:
        self._viewer, self._layer = viewer, layer
        self._picked, self._pressed = picked, pressed
        self._bound: list[tuple[dict[Any, Any], dict[Any, Any]]] = []

    def start(self) -> None:
        """Listen to the mouse and the keys."""
        canvas_mouse(self._viewer).lend(self._follow)
        self._bind()

    def stop(self) -> None:
        """Leave both to napari."""
        canvas_mouse(self._viewer).take_back(self._follow)
        self._unbind()

    def follow_layer(self) -> None:
        """Take the keys to the layer that is meant now, if it is on."""
        if self._bound:
            self._unbind()
            self._bind()

    def _bind(self) -> None:
        layer = self._layer()
        # a layer's keys come before those of the viewer, which serve while another is selected
        for keymap in (self._viewer.keymap, *(() if layer is None else (layer.keymap,))):
            keys = {coerce_keybinding(key): int(key) for key in KEYS}
            former = {key: keymap[key] for key in keys if key in keymap}
            self._bound.append((keymap, {key: former.get(key) for key in keys}))
            keymap.update({key: self._press(number) for key, number in keys.items()})

    def _unbind(self) -> None:
        for keymap, former in self._bound:
            for key, before in former.items():
                keymap.pop(key, None)
                if before is not None:
                    keymap[key] = before
        self._bound.clear()

    def _press(self, number: int) -> Callable[[Any], None]:
        def press(_where: Any) -> None:  # no `partial`: napari asks for the name
            self._pressed(number)

        return press

    def _follow(self, event: Any) -> Generator[None, None, None]:
        """Follow one press of the button."""
        yield
        layer = self._layer()
        if event.type == "mouse_release" and layer is not None:  # else it is a drag
            self._picked(value_under(layer, event), tuple(event.position))


def value_under(layer: Labels, event: Any) -> int:
    """Return the label under the mouse, in the canvas of the layer or in a linked plane of it.

    In a slice the voxels are looked up, not what the layer shows: in a linked plane a twin of it is
    cut. In 3D it is the first label that the line of sight meets.

    Returns
    -------
    int
        0 for background, and beside the layer.
    """
    displayed = list(event.dims_displayed)
    if len(displayed) == _AXES:
        found = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=displayed,
            world=True,
        )
        return 0 if found is None else int(found)
    place = np.rint(layer.world_to_data(np.asarray(event.position)[-layer.ndim :])).astype(int)
    inside = all(0 <= at < size for at, size in zip(place, layer.data.shape, strict=True))
    return int(layer.data[tuple(place)]) if inside else 0
