"""Whether labels are of a structure at one place, or of what may lie anywhere.

A model that learnt from fields of view around one structure finds it everywhere in a much larger
volume. One that learnt from crops of something larger (cells, membranes, any texture) belongs on
the larger volume. The rule looks at the labels of up to 20 training cases. They may lie anywhere
if one of these holds:

1. *Many objects*: the median case has at least 5 objects. An object is a connected component of a
   label that is at least a tenth as large as the largest one of that label; a case has as many as
   the median of its labels.
2. *Cut off*: in the median case the labels reach at least 5 of the 6 faces of the volume.
3. *Wandering*: along the median axis, the centre of the labels varies from case to case by a
   standard deviation of at least 0.15 of the volume's extent. Centres drawn at random vary by 0.29.
   This takes at least 3 cases.

Else they lie at a fixed place. A recipe can say which (``place``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from napari_asmlp.card import Place
from napari_asmlp.training.samples import Sample

_MOST_CASES = 20
_MOST_VOXELS = 1 << 24  # of a case; of larger ones each second, third, ... voxel is looked at
_SIZEABLE = 0.1  # of the largest object of a label
_MANY_OBJECTS = 5
_FACES_REACHED = 5
_WANDERING = 0.15
_FEWEST_CASES = 3  # whose deviation says something


@dataclass(frozen=True)
class Layout:
    """How the labels of a case lie in its volume.

    Attributes
    ----------
    objects : of the median label
    faces : of the volume that labels reach, 0 to 6
    centre : of all labelled voxels along (X, Y, Z), from 0 to 1
    """

    objects: float
    faces: int
    centre: tuple[float, float, float]


def layout_of(classes: NDArray[np.uint8], count: int) -> Layout | None:
    """Return how the classes 1 to `count` of a case (X, Y, Z) lie; None if there are none."""
    step = 1
    while classes.size > _MOST_VOXELS * step**3:
        step += 1
    classes = np.asarray(classes[::step, ::step, ::step])
    labelled = (classes > 0) & (classes <= count)
    if not labelled.any():
        return None
    objects = [_count_objects(classes == value) for value in np.unique(classes[labelled])]
    profiles = [labelled.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    faces = sum(int(profile[0] > 0) + int(profile[-1] > 0) for profile in profiles)
    x, y, z = (
        float(np.average((np.arange(len(profile)) + 0.5) / len(profile), weights=profile))
        for profile in profiles
    )
    return Layout(float(np.median(objects)), faces, (x, y, z))


def place_of(samples: Sequence[Sample], count: int) -> tuple[Place, str]:
    """Return where the labels of cases lie, and why that is so, in a few words.

    Parameters
    ----------
    samples : cases that are learnt from
    count : of labels; classes above it are not looked at
    """
    some = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _MOST_CASES)).astype(int))
    found = [layout_of(samples[int(n)].classes, count) for n in some]
    layouts = [layout for layout in found if layout is not None]
    if not layouts:
        return "fixed", "no case has a label"
    objects = float(np.median([layout.objects for layout in layouts]))
    faces = float(np.median([layout.faces for layout in layouts]))
    spread = float(np.median(np.std([layout.centre for layout in layouts], axis=0)))
    if objects >= _MANY_OBJECTS:
        return "anywhere", f"the median case has {objects:g} objects"
    if faces >= _FACES_REACHED:
        return "anywhere", f"labels reach {faces:g} of the 6 faces of the median case"
    if spread >= _WANDERING and len(layouts) >= _FEWEST_CASES:
        return "anywhere", f"their centre varies by {spread:.2f} of the field of view"
    return "fixed", (
        f"the median case has {objects:g} objects and labels at {faces:g} of its 6 faces, and"
        f" their centre varies by {spread:.2f} of the field of view"
    )


def _count_objects(mask: NDArray[np.bool_]) -> int:
    pieces = cc3d.connected_components(np.ascontiguousarray(mask).view(np.uint8), connectivity=26)
    sizes = np.bincount(pieces.ravel())[1:]
    return int(np.count_nonzero(sizes >= _SIZEABLE * sizes.max()))
