"""What the table of measurements shows: columns with units, and a record a row; no window.

Further columns of a layer's features, such as the class of an object, join the rows of their label
by the column ``index``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_asmlp.io.tables import Cell
from napari_asmlp.measure import Measurement, columns, record
from napari_asmlp.viewer.edit.table import class_names, title_of

if TYPE_CHECKING:
    from napari.layers import Labels

TITLES = {
    "label": "Label",
    "object": "Object",
    "name": "Name",
    "voxels": "Voxels",
    "volume_mm3": "Volume\n(mm³)",
    "volume_ml": "Volume\n(ml)",
    "surface_mm2": "Surface\n(mm²)",
    "centroid_x_mm": "Centroid\nR (mm)",
    "centroid_y_mm": "Centroid\nA (mm)",
    "centroid_z_mm": "Centroid\nS (mm)",
    "longest_diameter_mm": "Longest\n(mm)",
    "elongation": "Elon-\ngation",
    "mean": "Mean",
    "sd": "SD",
    "p5": "5 %",
    "p50": "Median",
    "p95": "95 %",
    "box": "Box\n(voxels i, j, k)",
    "dice": "Dice",
    "hd95_mm": "HD95\n(mm)",
    "assd_mm": "ASSD\n(mm)",
}
TIPS = {
    "object": "Number among the connected objects of the label, 1 the largest",
    "surface_mm2": "By Crofton's formula",
    "centroid_x_mm": "In the world: mm to the right",
    "centroid_y_mm": "In the world: mm to anterior",
    "centroid_z_mm": "In the world: mm to superior",
    "longest_diameter_mm": "Largest distance between the centres of two voxels",
    "elongation": "Square root of the ratio of the two largest principal moments: 1 for a ball",
    "sd": "Standard deviation of the intensity",
    "hd95_mm": "Hausdorff distance, 95th percentile",
    "assd_mm": "Average symmetric surface distance",
}
_OVERLAP = ("label", "name", "dice", "hd95_mm", "assd_mm")
_INTENSITIES = ("mean", "sd", "p5", "p50", "p95")
_PREFIX = "feature:"  # a feature may be called as a measure is


@dataclass(frozen=True)
class Table:
    """Records under columns, by the names of `TITLES`; others are called as in the features.

    Attributes
    ----------
    columns : that are shown, in order
    records : one a row
    saved : the columns of the CSV file, in order
    """

    columns: tuple[str, ...] = ()
    records: Sequence[Mapping[str, Cell]] = field(default_factory=list)
    saved: tuple[str, ...] = ()


def measured_table(
    rows: Iterable[Measurement], layer: Labels, *, objects: bool, intensities: bool
) -> Table:
    """Return measurements of a layer, with the names and features that it has now."""
    names, (added, features) = class_names(layer), _features(layer)
    records = []
    for row in rows:
        values = record(row)
        values["name"] = title_of(row.label, names)
        values["volume_ml"] = row.shape.volume_mm3 / 1000
        records.append({**values, **features.get(row.label, {})})
    saved = (*columns(objects=objects), *added)
    return Table(_shown(added, objects=objects, intensities=intensities), records, saved)


def overlap_table(
    case: Mapping[str, Mapping[str, float | None]], names: Mapping[int, str]
) -> Table:
    """Return the scores of two labels layers, a row a label."""
    records: list[Mapping[str, Cell]] = [
        {**scores, "label": int(label), "name": title_of(int(label), names)}
        for label, scores in case.items()
    ]
    return Table(_OVERLAP, records, _OVERLAP)


def title(column: str) -> str:
    """Return the header of a column, with its unit."""
    return TITLES.get(column, column.removeprefix(_PREFIX))


def _shown(added: Sequence[str], *, objects: bool, intensities: bool) -> tuple[str, ...]:
    measures = [
        key
        for key in TITLES
        if key in (*columns(), "volume_ml", *(("object",) if objects else ()))
        and (intensities or key not in _INTENSITIES)
    ]
    place = measures.index("name") + 1
    return (*measures[:place], *added, *measures[place:])


def _features(layer: Labels) -> tuple[list[str], dict[int, dict[str, Cell]]]:
    """Return the names of further columns of a layer's features, and their cells by label."""
    table = layer.features
    added = [name for name in table.columns if name not in ("index", "name")]
    if "index" not in table.columns or not added:
        return [], {}
    keys = [name if name not in TITLES else _PREFIX + name for name in map(str, added)]
    known = table.astype(object).where(table.notna(), None)
    cells = [[_cell(value) for value in known[name]] for name in added]
    values = [int(value) for value in table["index"]]
    rows = (dict(zip(keys, row, strict=True)) for row in zip(*cells, strict=True))
    return keys, dict(zip(values, rows, strict=True))


def _cell(value: Any) -> Cell:
    """Return a value of a data frame as what a table shows."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if isinstance(value, float | np.floating) else str(value)
