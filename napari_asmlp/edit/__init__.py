"""Edits of label arrays: pure functions that compute what would change, and change nothing.

A tool is a frozen value, its fields are the settings. Called with labels (i, j, k), a `Target` and
a spacing it returns a `Change`: only the voxels that differ, to be counted, shown, applied and
undone. Nothing here knows a window; distances are in mm, anisotropic voxels are seen as such.

>>> change = Grow(mm=2)(labels, Target(value=1, plane=None), spacing)
>>> change.count
318
>>> change.apply(labels)

With ``Target(value=None)`` a tool edits every label that is not locked, and with a `plane` it
sees and edits only that slice, which is then a 2D image.
"""

from __future__ import annotations

from napari_asmlp.edit.change import Change, Target
from napari_asmlp.edit.islands import KeepLargestIsland, RemoveSmallIslands, SplitByWatershed
from napari_asmlp.edit.shape import FillHoles, Grow, Hollow, Shrink, Smooth
from napari_asmlp.edit.slices import CopySlice, InterpolateSlices
from napari_asmlp.edit.tool import Tool
from napari_asmlp.edit.values import ClipToRegion, GrowFromSeeds, Merge, Relabel, Threshold

TOOLS: tuple[type[Tool], ...] = (
    KeepLargestIsland,
    RemoveSmallIslands,
    FillHoles,
    Smooth,
    Grow,
    Shrink,
    Hollow,
    InterpolateSlices,
    Threshold,
    GrowFromSeeds,
    SplitByWatershed,
    Merge,
    Relabel,
    ClipToRegion,
    CopySlice,
)

__all__ = [
    "TOOLS",
    "Change",
    "ClipToRegion",
    "CopySlice",
    "FillHoles",
    "Grow",
    "GrowFromSeeds",
    "Hollow",
    "InterpolateSlices",
    "KeepLargestIsland",
    "Merge",
    "Relabel",
    "RemoveSmallIslands",
    "Shrink",
    "Smooth",
    "SplitByWatershed",
    "Target",
    "Threshold",
    "Tool",
]
