"""From what the export dialog says to files that can be written: no window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_asmlp.errors import OutputError, SettingsError, VolumeError
from napari_asmlp.io import (
    NameFormat,
    base_name,
    check_names,
    check_output,
    labels_dtype,
    names_path,
)
from napari_asmlp.io.files import check_distinct, check_file
from napari_asmlp.io.formats import suffix_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.export.order import Order
from napari_asmlp.viewer.files import DEFAULT_SUFFIX, labels_volume, open_images
from napari_asmlp.viewer.history.edits import is_editable
from napari_asmlp.viewer.layers import METADATA_KEY
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.layers import Labels

GridChoice = Literal["source", "displayed"]
Counts = Mapping[int, int]  # voxels by label value

_UPRIGHT = "RAS"  # of files that are turned as the volume is on screen
_MOST_COUNTED = 65_536  # values up to here are counted by the quick way


class ExistsError(OutputError):
    """Files would be replaced, and nobody has agreed to that."""


@dataclass(frozen=True)
class Wish:
    """The state of the dialog.

    Parameters
    ----------
    layer
        None where nothing is chosen.
    path
        As typed; what is no whole path lies beside the suggested one.
    counts
        Voxels of the layer by value; None while they are being counted.
    values
        The labels to write, others become background; None for all.
    renumber
        Whether the labels become 1, 2, 3 … in their order.
    grid
        That of the source file, or the same voxels in the axis order of the screen.
    names
        For which program the label names are written beside the labels; None for none.
    corrected
        Whether a second file says which voxels were corrected by hand.
    replace
        Whether existing files may be replaced.
    """

    layer: Labels | None
    path: str = ""
    counts: Counts | None = None
    values: frozenset[int] | None = None
    renumber: bool = False
    grid: GridChoice = "source"
    names: NameFormat | None = None
    corrected: bool = False
    replace: bool = False


def resolve(wish: Wish) -> Order:
    """Return the export that is wished for.

    Raises
    ------
    AsmlpError
        Saying why nothing can be written so, and what to change.
    """
    layer = wish.layer
    if layer is None:
        raise SettingsError("choose the labels to export")
    source = labels_volume(layer)
    if wish.counts is None:
        raise SettingsError("the voxels are being counted: wait a moment")
    table = _table(layer, wish.counts, wish)
    if wish.corrected and not is_editable(layer):
        raise SettingsError(f"no history is kept of {layer.name!r}: do without corrected voxels")
    path = full_path(layer, wish.path)
    check_output(path, overwrite=True, inputs=open_images(layer))
    check_names(path, wish.names, overwrite=True, inputs=open_images(layer))
    labels_dtype(max(table.values(), default=0), path)
    turn = source.grid.orientation(_UPRIGHT if wish.grid == "displayed" else source.grid.axis_codes)
    order = Order(
        layer=layer,
        path=path,
        source=source,
        grid=source.grid if turn.is_identity else source.grid.reoriented(turn),
        turn=turn,
        table=table,
        counts={value: wish.counts.get(value, 0) for value in table},
        left_out=len({v for v, n in wish.counts.items() if v and n} - table.keys()),
        names=wish.names,
        names_path=names_path(path, wish.names) if wish.names else None,
        corrected_path=_corrected_path(path) if wish.corrected else None,
        overwrite=wish.replace,
    )
    _check_files(order, open_images(layer), replace=wish.replace)
    return order


def listed_values(layer: Labels, counts: Counts) -> list[int]:
    """Return the labels that can be chosen: those with voxels, and those with a name."""
    return sorted(({value for value, n in counts.items() if n} | set(class_names(layer))) - {0})


def suggested_path(layer: Labels, suffix: str = DEFAULT_SUFFIX) -> Path:
    """Return the name that labels are exported to unless the user says otherwise.

    It is ``<image>_labels`` with the suffix, beside the image, or the file that the labels came
    from.
    """
    source = layer.metadata.get(METADATA_KEY)
    if not isinstance(source, Volume) or source.path is None:
        return Path.home() / f"{layer.name}{suffix}".replace("/", "_")
    if source.kind == "labels":
        return source.path
    return source.path.with_name(f"{base_name(source.path)}_labels{suffix}")


def full_path(layer: Labels, typed: str) -> Path:
    """Return the file that is meant by a text.

    Raises
    ------
    OutputError
        If the text is empty.
    """
    if not typed.strip():
        raise OutputError("give the file a name")
    return suggested_path(layer).parent / Path(typed.strip()).expanduser()


def count_voxels(layer: Labels) -> Generator[None, None, Counts]:
    """Count the voxels of each value, plane by plane; 0 and what is no label are counted too.

    Raises
    ------
    AsmlpError
        If the layer is no volume, or has been moved off its grid.
    """
    labels_volume(layer)
    array = layer.data
    found: Counter[int] = Counter()
    quick = np.zeros(_MOST_COUNTED, np.int64)
    for lazy in array:
        plane = np.asarray(lazy).ravel()
        yield
        if plane.min() >= 0 and plane.max() < _MOST_COUNTED:
            counts = np.bincount(plane)
            quick[: counts.size] += counts
        else:
            values, numbers = np.unique(plane, return_counts=True)
            found.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
    found.update({value: int(quick[value]) for value in np.flatnonzero(quick).tolist()})
    return dict(sorted(found.items()))


def _table(layer: Labels, counts: Counts, wish: Wish) -> dict[int, int]:
    """Return the value to write for each label that is chosen."""
    listed = listed_values(layer, counts)
    if listed and listed[0] < 0:
        raise VolumeError(
            f"{listed[0]} is no label: labels are whole numbers from 0 up; relabel"
            f" {counts[listed[0]]:,} voxels"
        )
    chosen = [value for value in listed if wish.values is None or value in wish.values]
    written = range(1, len(chosen) + 1) if wish.renumber else chosen
    return dict(zip(chosen, written, strict=True))


def _check_files(order: Order, inputs: list[Path], *, replace: bool) -> None:
    """Refuse files that must not be written."""
    check_distinct(order.files)
    for file in order.files:
        check_file(file, overwrite=True, inputs=inputs)
    if order.replaced and not replace:
        names = ", ".join(file.name for file in order.replaced)
        exist = "exists" if len(order.replaced) == 1 else "exist"
        raise ExistsError(
            f"{names} {exist} in {order.path.parent}: tick Replace existing files, or give another"
            " name"
        )


def _corrected_path(path: Path) -> Path:
    return path.with_name(f"{base_name(path)}_corrected{suffix_of(path)}")
