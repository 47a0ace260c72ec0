"""What is known of the objects of several layers, and how it is written into these; no window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from napari_asmlp.viewer.classify.looks import (
    Looks,
    colour_as_before,
    colour_by_class,
    is_by_class,
    write_answers,
)
from napari_asmlp.viewer.classify.record import Record

if TYPE_CHECKING:
    from napari.layers import Labels


class Book:
    """A record for each layer.

    Attributes
    ----------
    coloured : whether classes are written as colours too
    """

    def __init__(self, *, coloured: bool) -> None:
        self.coloured = coloured
        self._records: dict[Labels, Record] = {}

    def of(self, layer: Labels | None) -> Record:
        """Return what is known of a layer."""
        return Record() if layer is None else self._records.get(layer, Record())

    def change(self, layer: Labels, **changes: Any) -> None:
        """Change what is known, by the names of `Record`, and show it in the layer."""
        before = self.of(layer)
        record = self._records[layer] = before.after(Looks.of(layer), **changes)
        if record.answers != before.answers:
            write_answers(layer, record.answers)
            self.show_colours(layer)

    def back(self, layer: Labels) -> bool:
        """Take the last change back, in the layer too; returns whether there was one."""
        before = self.of(layer).before
        if before is None:
            return False
        self._records[layer], looks = before
        looks.put_back(layer)
        return True

    def show_colours(self, layer: Labels) -> None:
        """Colour a layer by class, or as before."""
        if self.coloured and self.of(layer).answers:
            colour_by_class(layer, self.of(layer).colours)
        else:
            colour_as_before(layer)

    def is_coloured(self, layer: Labels | None) -> bool:
        """Tell whether a layer is coloured by class, or would be if it had classes."""
        if layer is None or not self.of(layer).answers:
            return self.coloured
        return is_by_class(layer)

    def forget_all_but(self, layers: Iterable[Labels]) -> None:
        """Let go of layers that have been deleted."""
        kept = set(layers)
        self._records = {layer: r for layer, r in self._records.items() if layer in kept}
