"""The one image and the one labels layer of a viewer that all panels, commands and keys work on.

They follow napari's selection:

- Selected labels are the current labels. Their image is the one that was chosen for them in a
  panel, else the one that they were drawn on, else the current one if they lie on its grid, else
  the first image whose grid they lie on; if there is none, the current image stays.
- A selected image is the current image. The current labels stay if they lie on its grid and were
  not drawn on another image, else the topmost labels that were drawn on it are current, else the
  topmost that lie on its grid; if there are none, the current labels stay.
- Nothing, several layers, or a layer of another kind selected: both stay.
- What is deleted is followed by the layer that fits the other one, else by the topmost.

Labels that are being painted are selected, so they are always the current ones. What a user chooses
in a panel is selected in napari (`Current.choose`), so that a panel cannot disagree with the list
of layers, or with another panel. Outlines of an edit and the box of a region are no labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari.layers import Image, Labels
from psygnal import Signal

from napari_asmlp.viewer.layers import is_drawn_on, is_labels, lies_on

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_known: WeakKeyDictionary[ViewerModel, Current] = WeakKeyDictionary()


class Meant(NamedTuple):
    """The layers that are meant; None where there is none of the kind."""

    image: Image | None = None
    labels: Labels | None = None


def current_of(viewer: ViewerModel) -> Current:
    """Return the current layers of a viewer; each viewer has one such object."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # panels are given a proxy of it
    if viewer not in _known:
        _known[viewer] = Current(viewer)
    return _known[viewer]


class Current:
    """The current layers of one viewer; made by `current_of`.

    Signals
    -------
    changed() : another image is current, or other labels, or the brush was taken up in these
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = ref(viewer)
        self._image: ReferenceType[Image] | None = None
        self._labels: ReferenceType[Labels] | None = None
        self._chosen: WeakKeyDictionary[Labels, ReferenceType[Image]] = WeakKeyDictionary()
        self._is_held = False
        for event in (
            viewer.layers.selection.events.active,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
        ):
            event.connect(self._follow)
        self._follow()

    @property
    def image(self) -> Image | None:
        """The image to look at."""
        return None if self._image is None else self._image()

    @property
    def labels(self) -> Labels | None:
        """The labels to edit, measure and export."""
        return None if self._labels is None else self._labels()

    def choose(self, layer: Image | Labels) -> None:
        """Make a layer the current one, and select it.

        Selected labels that lie on a chosen image stay selected, so that the brush stays in hand.
        """
        viewer = self._viewer()
        layer = getattr(layer, "__wrapped__", layer)
        if viewer is None or layer not in viewer.layers:
            return
        selection, labels = viewer.layers.selection, self.labels
        if isinstance(layer, Image) and labels is not None and lies_on(labels, layer):
            self._chosen[labels] = ref(layer)
            if selection.active is labels:
                self._follow()
                return
        selection.active = layer
        self._follow()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let layers be added meanwhile without becoming current; what was selected is again."""
        viewer = self._viewer()
        active = None if viewer is None else viewer.layers.selection.active
        was_held, self._is_held = self._is_held, True
        try:
            yield
            if viewer is not None and active is not None and active in viewer.layers:
                viewer.layers.selection.active = active
        finally:
            self._is_held = was_held
        self._follow()

    def _follow(self, _event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is not None and not self._is_held:
            active = viewer.layers.selection.active
            before = Meant(self.image, self.labels)
            chosen = self._chosen.get(active) if isinstance(active, Labels) else None
            self._take(meant(viewer.layers, active, before, None if chosen is None else chosen()))

    def _take(self, new: Meant) -> None:
        before = Meant(self.image, self.labels)
        if new.image is before.image and new.labels is before.labels:
            return
        if new.labels is not before.labels:
            for layer, on in ((before.labels, False), (new.labels, True)):
                if layer is not None:
                    mode = layer.events.mode
                    (mode.connect if on else mode.disconnect)(self._take_up_brush)
        self._image = None if new.image is None else ref(new.image)
        self._labels = None if new.labels is None else ref(new.labels)
        self.changed.emit()

    def _take_up_brush(self, _event: Any = None) -> None:
        if has_brush(self.labels):
            self.changed.emit()


def meant(
    layers: Sequence[Layer], active: Layer | None, before: Meant, chosen: Image | None = None
) -> Meant:
    """Return the layers that are meant, by the rules above.

    Parameters
    ----------
    layers
        Of the viewer, the topmost last.
    active
        The selected layer, if there is just one.
    before
        What was meant before; layers that are gone are passed over.
    chosen
        The image that was chosen in a panel for the selected labels.
    """
    images = [layer for layer in layers if isinstance(layer, Image)]
    labels = [layer for layer in reversed(layers) if is_labels(layer)]
    image = before.image if before.image in images else None
    drawn = before.labels if before.labels in labels else None
    if is_labels(active) and active in labels:
        if chosen in images and lies_on(active, chosen):
            return Meant(chosen, active)
        return Meant(_image_of(active, image, images), active)
    if isinstance(active, Image) and active in images:
        return Meant(active, _labels_of(active, drawn, labels, images))
    if image is not None:
        return Meant(image, drawn or _labels_of(image, None, labels, images))
    drawn = drawn or next(iter(labels), None)
    return Meant(_image_of(drawn, None, images), drawn)


def has_brush(layer: Labels | None) -> bool:
    """Tell whether a layer is being painted in: brush, eraser, fill or polygon are in hand."""
    return layer is not None and str(layer.mode) in ("paint", "erase", "fill", "polygon")


def _image_of(labels: Labels | None, now: Image | None, images: Sequence[Image]) -> Image | None:
    """Return the image of labels."""
    last = next((image for image in reversed(images) if not image.rgb), None)
    if labels is None:
        return now or last
    fitting = [image for image in images if lies_on(labels, image)]
    # of equal ones the first: maps of a result are added on top
    fitting.sort(
        key=lambda image: (not is_drawn_on(labels, image), image is not now, not image.visible)
    )
    return next(iter(fitting), now or last)


def _labels_of(
    image: Image, now: Labels | None, labels: Sequence[Labels], images: Sequence[Image]
) -> Labels | None:
    """Return the labels of an image."""

    def rank(layer: Labels) -> tuple[bool, bool]:
        is_own = is_drawn_on(layer, image)
        is_anothers = not is_own and any(is_drawn_on(layer, each) for each in images)
        return layer is not now or is_anothers, not is_own

    fitting = sorted((layer for layer in labels if lies_on(layer, image)), key=rank)
    return next(iter(fitting), now or next(iter(labels), None))
