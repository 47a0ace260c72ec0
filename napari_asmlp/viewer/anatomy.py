"""Which way anatomy lies in a view: planes, the letters at its edges, the camera's orientation.

The words: `order` is napari's ``dims.order``, the axes of the world, of which a 2D view slices all
but the last two; of these the first runs vertically, the second horizontally. The last three axes
of an anatomical world are `AXIS_LABELS`, (S, A, R). The camera's orientation says where growing
coordinates lead: (depth, vertical, horizontal).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from napari_asmlp.viewer.layers import AXIS_LABELS

Convention = Literal["radiological", "neurological"]
Order = tuple[int, ...]
CameraOrientation = tuple[str, str, str]

_OPPOSITE = {"S": "I", "A": "P", "R": "L"}
_SPATIAL = len(AXIS_LABELS)


@dataclass(frozen=True)
class Plane:
    """A way to cut a volume.

    Attributes
    ----------
    name
        In anatomy.
    axes
        Of volumes without anatomy: those that it shows, of z, y, x.
    sliced
        The axis it is perpendicular to, of (S, A, R).
    colour
        Of its line in the other two planes.
    """

    name: str
    axes: str
    sliced: int
    colour: str


AXIAL = Plane("Axial", "XY", 0, "#f0776c")
CORONAL = Plane("Coronal", "XZ", 1, "#7fc97f")
SAGITTAL = Plane("Sagittal", "YZ", 2, "#f2d64b")
PLANES = (AXIAL, CORONAL, SAGITTAL)


class Edges(NamedTuple):
    """The letters at the four edges of a view; empty where an axis is no anatomical one."""

    left: str
    right: str
    top: str
    bottom: str


def order_of(plane: Plane, ndim: int) -> Order:
    """Return the order of the world's axes that shows a plane; axes before the last three lead.

    A world of fewer axes has no planes and keeps its order.
    """
    if ndim < _SPATIAL:
        return tuple(range(ndim))
    first = ndim - _SPATIAL
    shown = [axis for axis in range(_SPATIAL) if axis != plane.sliced]
    return (*range(first), *(first + axis for axis in (plane.sliced, *shown)))


def plane_shown(order: Order) -> Plane | None:
    """Return the plane that a 2D view of this order shows, transposed or not, if it is one."""
    first = len(order) - _SPATIAL
    if first < 0:
        return None
    shown = {axis - first for axis in order[-2:]}
    return next((plane for plane in PLANES if shown == {0, 1, 2} - {plane.sliced}), None)


def other_planes(order: Order) -> tuple[Plane, Plane]:
    """Return the two planes that a view of this order does not show; beside none, not the axial."""
    main = plane_shown(order) or AXIAL
    first, second = (plane for plane in PLANES if plane is not main)
    return first, second


def camera_orientation(order: Order, convention: Convention) -> CameraOrientation:
    """Return how the camera must look at an anatomical world.

    Superior and anterior go up, and anterior left where it cannot; the patient's right is on the
    left of the screen (radiological) or on its right (neurological). The depth is chosen so that
    3D is never mirrored: (S, A, R) is a left-handed set of axes, and so is each even permutation.
    """
    last = tuple(axis - (len(order) - _SPATIAL) for axis in order[-_SPATIAL:])
    mirrored = convention == "neurological" and last[-1:] == (2,)
    even = last in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    return (
        "away" if even != mirrored else "towards",
        "up",
        "right" if mirrored else "left",
    )


def edge_letters(order: Order, orientation: CameraOrientation) -> Edges:
    """Return the anatomical letters at the edges of a 2D view."""
    vertical, horizontal = (_ends(axis, len(order)) for axis in order[-2:])
    left, right = horizontal if orientation[2] == "right" else horizontal[::-1]
    bottom, top = vertical if orientation[1] == "up" else vertical[::-1]
    return Edges(left, right, top, bottom)


def _ends(axis: int, ndim: int) -> tuple[str, str]:
    """Return the letters at the low and the high end of an axis."""
    spatial = axis - (ndim - _SPATIAL)
    if spatial < 0 or ndim < _SPATIAL:
        return "", ""
    letter = AXIS_LABELS[spatial]
    return _OPPOSITE[letter], letter
