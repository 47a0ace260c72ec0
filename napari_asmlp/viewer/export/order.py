"""An export that can be carried out: what it writes where, in words and in files."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError
from napari_asmlp.grid import Grid, Orientation
from napari_asmlp.io import NamedLabel, NameFormat, labels_dtype, write_labels, write_names
from napari_asmlp.io.formats import files_of
from napari_asmlp.io.names import NameTable
from napari_asmlp.measure import voxel_mm3
from napari_asmlp.viewer.edit.table import class_names, title_of
from napari_asmlp.viewer.files import labels_volume, rgb_of
from napari_asmlp.viewer.history.edits import Edits, edits_of
from napari_asmlp.viewer.layers import METADATA_KEY
from napari_asmlp.viewer.tasks import Job
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.layers import Labels


@dataclass(frozen=True)
class Order:
    """An export that can be carried out.

    Parameters
    ----------
    path, names_path, corrected_path
        The files to write; None for those not wished for.
    source, grid
        Where the labels lie in the layer's volume, and in the file.
    turn
        From the one to the other.
    table
        The value written for each label of the layer that is exported.
    counts
        Voxels of each of these.
    left_out
        How many labels of the layer become background.
    names
        For which program the names are.
    overwrite
        Whether files that exist may be replaced.
    """

    layer: Labels
    path: Path
    source: Volume
    grid: Grid
    turn: Orientation
    table: Mapping[int, int]
    counts: Mapping[int, int]
    left_out: int
    names: NameFormat | None
    names_path: Path | None
    corrected_path: Path | None
    overwrite: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are written."""
        others = [path for path in (self.names_path, self.corrected_path) if path]
        return (*files_of(self.path), *others)

    @property
    def replaced(self) -> tuple[Path, ...]:
        """Those of them that exist."""
        return tuple(file for file in self.files if file.exists())

    def job(self) -> Job:
        """Return the work, for a task; it returns the path of the labels."""
        # in this thread: it may hang the history onto the layer
        edits = edits_of(self.layer) if self.corrected_path else None
        return Job(f"export of {self.layer.name}", lambda: self._steps(edits))

    def _steps(self, edits: Edits | None) -> Generator[str, None, Path]:
        yield f"Reading {self.layer.name}"
        # the layer may change meanwhile: the files show one state of it
        source = labels_volume(self.layer)
        if not source.grid.same_as(self.source.grid):
            raise GridError(f"labels {self.layer.name!r} moved meanwhile: export them again")
        labels = _relabelled(np.array(source.array(), order="K"), self.table)
        rows = _named(self.layer, self.table)
        yield f"Writing {self.path.name}"
        self._write(labels, self.path, rows)
        if self.names and self.names_path:
            yield f"Writing {self.names_path.name}"
            write_names(rows, self.names_path, self.names, overwrite=self.overwrite)
        if edits and self.corrected_path:
            yield f"Writing {self.corrected_path.name}"
            self._write(edits.corrected(), self.corrected_path)
        return self.path

    def _write(self, array: NDArray[Any], path: Path, rows: Sequence[NamedLabel] = ()) -> None:
        table = NameTable(tuple(rows))
        labels = self.source.with_labels(array, table.names, table.colours)
        # without its path, so that labels may go back into the file they came from
        turned = replace(labels, data=self.turn.apply(labels.array()), grid=self.grid, path=None)
        write_labels(turned, path, overwrite=self.overwrite)


def describe(order: Order) -> str:
    """Return in a few lines what will be written where."""
    folder = order.path.parent
    lines = [f"{order.path.name}: {_labels_text(order)}.", f"Grid: {_grid_text(order)}."]
    if order.names_path:
        lines.append(f"{order.names_path.name}: names and colours, for {order.names}.")
    if order.corrected_path:
        lines.append(f"{order.corrected_path.name}: 1 where a voxel was corrected by hand, else 0.")
    replaced = ", ".join(file.name for file in order.replaced)
    lines.append(f"Folder: {folder}." + (f" Replaces {replaced}." if replaced else ""))
    return "\n".join(lines)


def amount(voxels: int, grid: Grid) -> str:
    """Return a number of voxels and their volume: ``1,234 voxels, 1.23 ml``."""
    count = "1 voxel" if voxels == 1 else f"{voxels:,} voxels"
    ml = voxels * voxel_mm3(grid.affine) / 1000
    return f"{count}, {ml:,.{2 if ml >= 1 else 3}f} ml"


def _relabelled(array: NDArray[Any], table: Mapping[int, int]) -> NDArray[Any]:
    """Return the array with its values exchanged; those that are not in the table become 0."""
    values = np.array(sorted({0, *table}))
    written = np.array([table.get(value, 0) for value in values.tolist()])
    out = np.zeros_like(array, np.min_scalar_type(int(written.max())))
    for k in range(array.shape[2]):
        plane = array[..., k]
        at = np.searchsorted(values, plane).clip(max=len(values) - 1)
        out[..., k] = np.where(values[at] == plane, written[at], 0)
    return out


def _named(layer: Labels, table: Mapping[int, int]) -> list[NamedLabel]:
    names = class_names(layer)
    return [
        NamedLabel(written, title_of(value, names), rgb_of(layer, value))
        for value, written in table.items()
    ]


def _labels_text(order: Order) -> str:
    dtype = labels_dtype(max(order.table.values(), default=0), order.path)
    total = sum(order.counts.values())
    if not total:
        return f"{dtype}, background only: no voxel is labelled"
    labels = "1 label" if len(order.table) == 1 else f"{len(order.table)} labels"
    text = f"{dtype}, {labels}, {amount(total, order.grid)}"
    if any(value != written for value, written in order.table.items()):
        text += f", renumbered 1–{len(order.table)}"
    if order.left_out:
        text += f"; {order.left_out} left out (background)"
    return text


def _grid_text(order: Order) -> str:
    ours = isinstance(order.layer.metadata.get(METADATA_KEY), Volume)
    whose = f"as in {order.source.name}" if ours else "from the layer's scale and translate"
    if order.grid is not order.source.grid:
        whose += ", axes turned as displayed"
    return f"{order.grid.describe()}, {whose}"
