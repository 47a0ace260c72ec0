"""The label table of a layer: the names of its labels, and which are locked; no window.

Names stand in ``layer.features`` (columns ``index`` and ``name``), where napari's status bar finds
them; locks and the names of deleted labels in ``layer.metadata``; colours in its colormap, see
`napari_asmlp.viewer.colours`.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.change import LARGEST_VALUE
from napari_asmlp.errors import SettingsError

if TYPE_CHECKING:
    from napari.layers import Labels

LOCKED_KEY = "napari_asmlp_locked"  # in a layer's metadata: the values that nothing may touch
DELETED_KEY = "napari_asmlp_deleted"  # the names of deleted labels, for when they are undone


def class_names(layer: Labels) -> dict[int, str]:
    """Return the class names that a layer knows, background left out."""
    table = layer.features
    if not {"index", "name"} <= set(table.columns):
        return {}
    named = table[table["name"].notna()]
    pairs = zip(named["index"], named["name"], strict=True)
    return {int(value): str(name) for value, name in pairs if int(value) > 0 and str(name)}


def title_of(value: int, names: Mapping[int, str]) -> str:
    """Return how a label is called: its class name, or ``label 3``."""
    return names.get(value) or f"label {value}"


def rename(layer: Labels, value: int, name: str) -> None:
    """Give a label a class name.

    Raises
    ------
    SettingsError
        If the name is empty, or another label has it.
    """
    name, names = " ".join(name.split()), class_names(layer)
    if not name:
        raise SettingsError(f"{title_of(value, names)!r} needs a name: type one")
    for other, taken in names.items():
        if other != value and taken.casefold() == name.casefold():
            raise SettingsError(f"label {other} is called {taken!r} already: type another name")
    if names.get(value) != name:
        _write(layer, {**names, value: name})


def forget(layer: Labels, value: int) -> None:
    """Take a deleted label out of the table; `remember` gives its name back."""
    names = class_names(layer)
    lock(layer, value, on=False)
    if value in names:
        deleted = layer.metadata.get(DELETED_KEY, {})
        layer.metadata[DELETED_KEY] = {**deleted, value: names.pop(value)}
        _write(layer, names)


def remember(layer: Labels, values: Iterable[int]) -> None:
    """Give deleted labels their names back, once an undo has brought back their voxels."""
    names, deleted = class_names(layer), dict(layer.metadata.get(DELETED_KEY, {}))
    back = {value: deleted.pop(value) for value in values if value in deleted}
    if not back:
        return
    layer.metadata[DELETED_KEY] = deleted
    free = {value: name for value, name in back.items() if name not in names.values()}
    _write(layer, {**free, **names})


def next_value(layer: Labels, used: Collection[int]) -> int:
    """Return the value of a new label: one above all others, or the lowest that is free.

    Raises
    ------
    SettingsError
        If every value that the layer can hold is taken.
    """
    largest = min(LARGEST_VALUE, int(np.iinfo(layer.dtype).max))
    highest = max(used, default=0)
    if highest < largest:
        return highest + 1
    free = next((value for value in range(1, largest + 1) if value not in used), None)
    if free is None:
        raise SettingsError(
            f"labels {layer.name!r} ({layer.dtype}) hold {largest:,} at most: merge or delete some"
        )
    return free


def locked_values(layer: Labels) -> frozenset[int]:
    """Return the label values of a layer that are locked."""
    return frozenset(layer.metadata.get(LOCKED_KEY, ()))


def lock(layer: Labels, value: int, *, on: bool) -> None:
    """Lock or unlock a label value of a layer."""
    locked = locked_values(layer)
    layer.metadata[LOCKED_KEY] = locked | {value} if on else locked - {value}


def values_in(array: NDArray[Any]) -> Generator[None, None, tuple[int, ...]]:
    """Find the label values of an array, plane by plane; returns them sorted, 0 left out."""
    found = np.zeros(LARGEST_VALUE + 1, bool)
    for plane in array:
        if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
            found[plane] = True
        else:  # what is no label value is refused when it comes to editing
            found[plane[(plane > 0) & (plane <= LARGEST_VALUE)]] = True
        yield
    return tuple(value for value in np.flatnonzero(found).tolist() if value)


def _write(layer: Labels, names: Mapping[int, str]) -> None:
    """Put class names into the layer's features; other columns (measures) keep their rows."""
    old = layer.features
    indexed = "index" in old.columns
    rows = {int(value): row for row, value in enumerate(old["index"])} if indexed else {}
    others = old.columns.difference(["index", "name"], sort=False)
    kept_rows = rows if len(others) else {}
    table: dict[str, list[Any]] = {"index": sorted({0, *names, *kept_rows})}
    table["name"] = [names.get(value) for value in table["index"]]
    table["name"][0] = "background"
    for column in others:
        known = old[column].astype(object)  # napari would write nan as a word among words
        kept = list(known.where(known.notna(), None)) if indexed else []
        table[column] = [kept[rows[v]] if v in rows and kept else None for v in table["index"]]
    layer.features = table
