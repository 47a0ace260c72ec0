"""Measures of labels: size, place, shape and intensities of each, and how two of them overlap."""

from napari_asmlp.measure.objects import (
    Intensities,
    Measurement,
    MeasureProgress,
    boxes_of,
    iter_measure,
    measure,
)
from napari_asmlp.measure.overlap import (
    ADDED,
    RELABELLED,
    REMOVED,
    SurfaceDistances,
    average_surface_distance,
    changes,
    dice,
    hausdorff95,
    surface_distances,
)
from napari_asmlp.measure.shape import Ruler, Shape, volume_mm3, voxel_mm3
from napari_asmlp.measure.table import columns, record

__all__ = [
    "ADDED",
    "RELABELLED",
    "REMOVED",
    "Intensities",
    "MeasureProgress",
    "Measurement",
    "Ruler",
    "Shape",
    "SurfaceDistances",
    "average_surface_distance",
    "boxes_of",
    "changes",
    "columns",
    "dice",
    "hausdorff95",
    "iter_measure",
    "measure",
    "record",
    "surface_distances",
    "volume_mm3",
    "voxel_mm3",
]
