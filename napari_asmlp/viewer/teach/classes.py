"""The classes of an annotation layer: a value, a name and a colour each; no window.

Names and colours stand in the layer, as those of all labels do (`viewer.edit.table`). 0 is not
annotated; which value means background rides in the layer's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp.edit.change import LARGEST_VALUE, difference
from napari_asmlp.errors import SettingsError
from napari_asmlp.model import LabelEntry
from napari_asmlp.viewer.colours import colour_of, fresh_colour, recolour
from napari_asmlp.viewer.edit import table
from napari_asmlp.viewer.edit.table import class_names, title_of
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import labels_on, source_view, volume_of

if TYPE_CHECKING:
    from napari.layers import Image, Labels

BACKGROUND_KEY = "napari_asmlp_background"  # in a layer's metadata: the value that means it
BACKGROUND = 255  # the largest of the smallest type of labels: out of the way of other classes
_BACKGROUND_NAME, _UNANNOTATED_NAME = "background", "not annotated"
_BACKGROUND_COLOUR = "#8d99ae"
_FIRST_COLOURS = ("#e69f00", "#56b4e9")
_BRUSH = 6  # voxels across


@dataclass(frozen=True)
class ClassEntry:
    """A class.

    Attributes
    ----------
    value : of its voxels among the annotations
    colour : red, green, blue; 0 to 1
    is_background : whether it is written as 0
    """

    value: int
    name: str
    colour: tuple[float, float, float]
    is_background: bool = False

    @property
    def label(self) -> LabelEntry:
        """The line of a model's label table."""
        return LabelEntry(self.value, self.name, to_hex(self.colour))


def new_annotations(image: Image, name: str = "annotations") -> Labels:
    """Return an empty layer on an image's grid: a background and a first class, ready to paint.

    Raises
    ------
    SettingsError
        If the image layer is no volume.
    """
    entries = (
        LabelEntry(1, "class 1", _FIRST_COLOURS[0]),
        background_entry(),
    )
    layer = labels_on(image, np.zeros(volume_of(image).grid.shape, np.uint8), entries, name)
    set_background(layer, BACKGROUND)
    name_unannotated(layer)
    layer.brush_size, layer.selected_label = _BRUSH, 1
    return layer


def background_entry(value: int = BACKGROUND) -> LabelEntry:
    """Return name and colour of background among annotations."""
    return LabelEntry(value, _BACKGROUND_NAME, _BACKGROUND_COLOUR)


def background_of(layer: Labels) -> int | None:
    """Return the value that means background among annotations; None if none does."""
    known = layer.metadata.get(BACKGROUND_KEY)
    if known is None and BACKGROUND_KEY not in layer.metadata:  # painted elsewhere: by its name
        names = class_names(layer)
        return next((v for v, name in names.items() if name == _BACKGROUND_NAME), None)
    return None if known is None else int(known)


def set_background(layer: Labels, value: int | None) -> None:
    """Say which value means background."""
    layer.metadata[BACKGROUND_KEY] = value


def classes_of(layer: Labels, found: Iterable[int] = ()) -> tuple[ClassEntry, ...]:
    """Return the classes of a layer, background first: those with a name, and those painted."""
    names, background = class_names(layer), background_of(layer)
    values = {*names, *found} - {0}
    if background is not None:
        values.add(background)
    ordered = sorted(values, key=lambda value: (value != background, value))
    return tuple(
        ClassEntry(value, title_of(value, names), colour_of(layer, value)[:3], value == background)
        for value in ordered
    )


def add_class(layer: Labels, found: Iterable[int] = ()) -> int:
    """Add a class, with the lowest value and the first colour that are free; returns its value.

    Raises
    ------
    SettingsError
        If the layer can hold no further value.
    """
    used = [entry.value for entry in classes_of(layer, found)]
    value = next(value for value in count(1) if value not in used)
    largest = min(LARGEST_VALUE, int(np.iinfo(layer.data.dtype).max))
    if value > largest:
        raise SettingsError(f"annotations {layer.name!r} hold {largest} classes at most")
    recolour(layer, value, fresh_colour(layer, used))
    names = set(class_names(layer).values())
    name = next(name for n in count(value) if (name := f"class {n}") not in names)
    rename(layer, value, name)
    return value


def rename(layer: Labels, value: int, name: str) -> None:
    """Give a class another name; raises `SettingsError` if it is empty or taken."""
    table.rename(layer, value, name)
    name_unannotated(layer)


def remove_class(layer: Labels, value: int) -> None:
    """Take a class out, and what is painted of it, which undo brings back."""
    array = source_view(layer)
    gone = array == value
    if gone.any():
        box = (slice(0, gone.shape[0]), slice(0, gone.shape[1]), slice(0, gone.shape[2]))
        change = difference(box, array, np.zeros_like(array), gone)
        edits_of(layer).commit(change, f"remove {title_of(value, class_names(layer))}")
    table.forget(layer, value)
    if background_of(layer) == value:
        set_background(layer, None)
    name_unannotated(layer)
    left = [entry.value for entry in classes_of(layer)]
    layer.selected_label = min(left, key=lambda other: abs(other - value), default=1)


def name_unannotated(layer: Labels) -> None:
    """Let the status bar call 0 what it is among annotations."""
    features = layer.features
    if {"index", "name"} <= set(features.columns):
        changed = features.copy()
        changed.loc[changed["index"] == 0, "name"] = _UNANNOTATED_NAME
        layer.features = changed


def to_hex(colour: tuple[float, float, float]) -> str:
    """Return a colour such as ``#e69f00``."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
