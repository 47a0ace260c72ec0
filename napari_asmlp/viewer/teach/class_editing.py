"""What the list of classes does to the annotations of the image that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.viewer.colours import recolour
from napari_asmlp.viewer.teach import classes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_asmlp.viewer.teach.class_box import ClassBox
    from napari_asmlp.viewer.teach.course import Course
    from napari_asmlp.viewer.teach.pairs import Pair


class ClassEditing(QObject):
    """Picks, adds, names, colours and removes classes.

    Parameters
    ----------
    pair
        Returns the image that is looked at, and what belongs to it.

    Signals
    -------
    changed() : there are other classes, or one has another meaning
    refused(message) : something cannot be done
    """

    changed = Signal()
    refused = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        box: ClassBox,
        course: Course,
        pair: Callable[[], Pair | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._course, self._pair = viewer, course, pair
        box.picked.connect(self.pick)
        box.renamed.connect(self._rename)
        box.recoloured.connect(self._recolour)
        box.added.connect(self._add)
        box.removed.connect(self._remove)
        box.background_set.connect(self._set_background)

    def pick(self, value: int) -> None:
        """Paint a class from now on, in whichever of the two layers is selected."""
        pair = self._pair()
        if pair is None or pair.annotations is None:
            return
        pair.annotations.selected_label = value
        active = pair.annotations
        if pair.taught is not None:
            is_background = value == classes.background_of(pair.annotations)
            pair.taught.selected_label = 0 if is_background else value
            if self._viewer.layers.selection.active is pair.taught:
                active = pair.taught
        take_brush(self._viewer, active)

    def _rename(self, value: int, name: str) -> None:
        with self._annotations() as layer:
            classes.rename(layer, value, name)

    def _recolour(self, value: int, colour: tuple[float, float, float]) -> None:
        with self._annotations() as layer:
            recolour(layer, value, (*colour, 1.0))

    def _add(self) -> None:
        with self._annotations() as layer:
            pair = self._pair()
            found = None if pair is None else self._course.tallies.get(pair.key)
            self.pick(classes.add_class(layer, [] if found is None else found.counts))

    def _remove(self, value: int) -> None:
        with self._annotations() as layer:
            classes.remove_class(layer, value)

    def _set_background(self, value: int, on: bool) -> None:
        with self._annotations() as layer:
            classes.set_background(layer, value if on else None)

    @contextmanager
    def _annotations(self) -> Iterator[Labels]:
        """Give the layer to be changed; what cannot be done is told."""
        try:
            pair = self._pair()
            if pair is None or pair.annotations is None:
                raise SettingsError("there are no annotations: press New, and paint")
            yield pair.annotations
        except AsmlpError as error:
            self.refused.emit(str(error))
        else:
            self.changed.emit()


def take_brush(viewer: ViewerModel, layer: Labels) -> None:
    """Select a layer, ready to paint."""
    viewer.layers.selection.active = layer
    layer.mode = "paint"
