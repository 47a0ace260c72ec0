"""Measurements as records of a table, under the names that its columns have in a CSV file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_asmlp.measure.objects import Measurement

_INTENSITIES = ("mean", "sd", "p5", "p50", "p95")
_COLUMNS = (
    "label",
    "name",
    "voxels",
    "volume_mm3",
    "surface_mm2",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "longest_diameter_mm",
    "elongation",
    *_INTENSITIES,
    "box",
)


def columns(*, objects: bool = False) -> tuple[str, ...]:
    """Return the names of the columns, in order; ``object`` is there for connected objects only."""
    return (*_COLUMNS, "object") if objects else _COLUMNS


def record(row: Measurement) -> dict[str, str | int | float | None]:
    """Return a row by names of columns; what has no value is None.

    The box is written as ``--region`` takes it: ``10:50,3:8,20:31``.
    """
    found = {name: getattr(row.intensities, name, None) for name in _INTENSITIES}
    x, y, z = row.centroid_mm
    return {
        "label": row.label,
        "name": row.name,
        "voxels": row.shape.voxels,
        "volume_mm3": row.shape.volume_mm3,
        "surface_mm2": row.shape.surface_mm2,
        "centroid_x_mm": x,
        "centroid_y_mm": y,
        "centroid_z_mm": z,
        "longest_diameter_mm": row.shape.longest_diameter_mm,
        "elongation": row.shape.elongation,
        **found,
        "box": str(row.box),
        "object": row.object,
    }
