"""Layers shown in several views at once: each view has twins of the viewer's volumes.

A twin shows the same array and is kept in step with its layer in both directions: whatever is
changed in one view, by mouse or in the layer controls, is changed in all. Strokes go into the one
history of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from napari.layers import Image, Labels, Layer

from napari_asmlp.viewer.history.edits import edits_of, is_editable
from napari_asmlp.viewer.layers import PREVIEW_KEY, is_labels
from napari_asmlp.viewer.planes.connections import Connections

if TYPE_CHECKING:
    from napari.components import ViewerModel

# in the order in which they are copied: an invisible layer takes no mode
_IN_STEP: dict[type[Layer], tuple[str, ...]] = {
    Layer: ("scale", "translate", "opacity", "blending", "visible", "editable"),
    Image: ("colormap", "contrast_limits_range", "contrast_limits", "gamma", "interpolation2d"),
    Labels: (
        "colormap",
        "features",
        "contour",
        "selected_label",
        "show_selected_label",
        "brush_size",
        "contiguous",
        "n_edit_dimensions",
        "preserve_labels",
        "mode",
    ),
}
_BOX = ("visible", "points", "line_color", "line_thickness")


class Pair:
    """A layer and one of its twins, kept in step.

    Parameters
    ----------
    layer
        In the viewer.
    drawn
        Called with whichever of the two was just painted in, after each movement of the brush.
    """

    def __init__(self, layer: Image | Labels, drawn: Callable[[Layer], None]) -> None:
        self.layer = layer
        self.twin = twin_of(layer)
        self._events = Connections()
        self._copying = False
        for name in _names(layer):
            self._copy(name, layer, self.twin)
            self._both_ways(name)
        self._events.connect(layer.events.name, partial(self._copy, "name", layer, self.twin))
        if isinstance(layer, Labels):
            for member in (layer, self.twin):
                self._events.connect(member.events.labels_update, partial(_call, drawn, member))

    def close(self) -> None:
        """Let the two go their ways."""
        self._events.close()

    def _both_ways(self, name: str) -> None:
        for source, target in ((self.layer, self.twin), (self.twin, self.layer)):
            signal = getattr(source.events, name)
            self._events.connect(signal, partial(self._copy, name, source, target))

    def _copy(self, name: str, source: Layer, target: Layer, _event: Any = None) -> None:
        if self._copying:
            return
        self._copying = True
        try:
            setattr(target, name, getattr(source, name))
            if name in ("visible", "editable"):  # which take the mode away, and never give it back
                target.mode = str(source.mode)
        finally:
            self._copying = False


class Twins:
    """The layers of a viewer, again in other views: which there are, their order, the active one.

    Only images and labels have twins. Outlines of what an edit would change, and tints of a range,
    have none: adding and removing theirs would take seconds, and they come and go.

    Parameters
    ----------
    viewer
        Whose layers they are.
    views
        Which get the twins; nothing else may be in them.
    stale
        Called when voxels have changed, so that `redraw` is due.
    """

    def __init__(
        self, viewer: ViewerModel, views: Sequence[ViewerModel], stale: Callable[[], None]
    ) -> None:
        self._viewer = viewer
        self._views = tuple(views)
        self._due = stale
        self._pairs: dict[Layer, tuple[Pair, ...]] = {}
        self._shown: dict[Layer, object] = {}  # where each layer was last sliced
        self._stale: set[Layer] = set()
        self._is_busy = False
        self._events = Connections()
        self._layer_events: dict[Layer, Connections] = {}
        layers = viewer.layers
        for signal in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            self._events.connect(signal, self._arrange)
        self._events.connect(layers.selection.events.active, self._activate)
        for view in self._views:
            active = view.layers.selection.events.active
            self._events.connect(active, partial(self._activate_from, view))
        self._arrange()

    def of(self, layer: Layer) -> tuple[Layer, ...]:
        """Return the twins of a layer, one for each view, or none."""
        return tuple(pair.twin for pair in self._pairs.get(layer, ()))

    def redraw(self) -> None:
        """Show changed voxels in all views that do not show them yet."""
        stale, self._stale = self._stale, set()
        with self._busy():
            for layer in stale:
                # only the viewer's own layer list shows thumbnails
                layer.refresh(thumbnail=layer in self._pairs, highlight=False, extent=False)

    def close(self) -> None:
        """Take all twins away."""
        self._events.close()
        for layer in list(self._pairs):
            self._forget(layer)
        self._stale.clear()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Take what happens meanwhile for our own doing."""
        before, self._is_busy = self._is_busy, True
        try:
            yield
        finally:
            self._is_busy = before

    def _arrange(self, _event: Any = None) -> None:
        """Give every view the twins of the layers that there are, in their order."""
        volumes = [layer for layer in self._viewer.layers if _has_twins(layer)]
        with self._busy():
            for layer in set(self._pairs).difference(volumes):
                self._forget(layer)
            for layer in volumes:
                if layer not in self._pairs:
                    self._adopt(layer)
            for number, view in enumerate(self._views):
                for place, layer in enumerate(volumes):
                    index = view.layers.index(self._pairs[layer][number].twin)
                    if index != place:
                        view.layers.move(index, place)
        self._activate()

    def _adopt(self, layer: Image | Labels) -> None:
        pairs = tuple(Pair(layer, self._painted) for _ in self._views)
        self._pairs[layer] = pairs
        for view, pair in zip(self._views, pairs, strict=True):
            view.add_layer(pair.twin)
        if is_labels(layer) and is_editable(layer):
            for pair in pairs:
                edits_of(layer).join(pair.twin)
        events = self._layer_events[layer] = Connections()
        events.connect(layer.events.set_data, partial(_call, self._refreshed, layer))
        # last, and connected after the history, so that that has the new array too
        events.connect(layer.events.data, partial(_call, self._renew, layer), position="last")
        self._shown[layer] = self._place()

    def _forget(self, layer: Layer) -> None:
        if is_labels(layer) and is_editable(layer):
            edits_of(layer).end_strokes()  # one in a twin would go with it
        self._layer_events.pop(layer).close()
        self._shown.pop(layer)
        for view, pair in zip(self._views, self._pairs.pop(layer), strict=True):
            pair.close()
            self._stale.discard(pair.twin)
            view.layers.remove(pair.twin)
        self._stale.discard(layer)

    def _renew(self, layer: Layer) -> None:
        """Give a layer that has another array now other twins."""
        with self._busy():
            self._forget(layer)
        self._arrange()

    def _painted(self, member: Layer) -> None:
        """Note that one layer of a family has new voxels, so all the others are stale."""
        if self._is_busy:
            return
        for layer in self._pairs:
            family = {layer, *self.of(layer)}
            if member in family:
                self._stale |= family - {member}
        self._due()

    def _refreshed(self, layer: Layer) -> None:
        """Note that a layer was sliced: elsewhere, or anew, and then its twins are stale."""
        before, self._shown[layer] = self._shown[layer], self._place()
        if before == self._shown[layer]:
            self._painted(layer)

    def _place(self) -> object:
        dims = self._viewer.dims
        return dims.point, dims.order, dims.ndisplay

    def _activate(self, _event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        twins = self.of(active) or (None,) * len(self._views)
        with self._busy():
            for view, twin in zip(self._views, twins, strict=True):
                view.layers.selection.active = twin

    def _activate_from(self, view: ViewerModel, _event: Any = None) -> None:
        active = view.layers.selection.active
        if self._is_busy or active is None:
            return
        self._viewer.layers.selection.active = next(
            layer for layer in self._pairs if active in self.of(layer)
        )


def twin_of(layer: Image | Labels) -> Image | Labels:
    """Return another layer that shows the same array in the same way."""
    data, attributes, kind = layer.as_layer_data_tuple()
    twin = Layer.create(data, attributes, kind)
    for name in _BOX:
        setattr(twin.bounding_box, name, getattr(layer.bounding_box, name))
    return twin


def _has_twins(layer: Layer) -> TypeGuard[Image | Labels]:
    return isinstance(layer, Image | Labels) and PREVIEW_KEY not in layer.metadata


def _names(layer: Layer) -> Iterator[str]:
    for kind, names in _IN_STEP.items():
        if isinstance(layer, kind):
            yield from names


def _call(function: Callable[[Layer], None], layer: Layer, _event: Any = None) -> None:
    function(layer)
