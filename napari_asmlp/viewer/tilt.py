"""Volumes that look misaligned since one lies at a tilt to the other: a warning, and a way out.

A layer shows its volume upright, so a tilt is lost on screen (see `layers`). Volumes of one tilt
lie right relative to each other all the same; of two different ones, one is drawn aside. Resampled
onto the grid of the other, it lies right.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from napari.layers import Image
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
)
from numpy.typing import NDArray

from napari_asmlp.grid import Grid
from napari_asmlp.viewer.layers import METADATA_KEY
from napari_asmlp.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

_LEAST_ANGLE = 1.0  # degrees

_warned: WeakKeyDictionary[ViewerModel, set[frozenset[Grid]]] = WeakKeyDictionary()


def angle_between(one: Grid, other: Grid) -> float:
    """Return the angle in degrees by which two grids, each turned upright, differ."""
    turn = np.linalg.solve(_tilt(one), _tilt(other))
    return float(np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def apart_mm(one: Grid, other: Grid) -> float:
    """Return how far apart one place in the world is drawn by layers of two grids, at the most.

    Looked at are the corners of both fields of view.
    """
    back = np.linalg.inv(_tilt(one)) - np.linalg.inv(_tilt(other))
    corners = np.concatenate([_corners(one), _corners(other)])
    return float(np.linalg.norm(corners @ back.T, axis=1).max())


def is_misaligned(one: Grid, other: Grid) -> bool:
    """Tell whether volumes on two grids look misaligned: by over 1 degree, or half a voxel.

    Half of the largest voxel counts, below which it is hardly seen.
    """
    half = max(*one.spacing, *other.spacing) / 2
    return angle_between(one, other) > _LEAST_ANGLE or apart_mm(one, other) > half


def watch(viewer: ViewerModel) -> None:
    """Warn once of each pair of volumes that look misaligned, those to come and those there."""
    _warned.setdefault(viewer, set())
    shown = ref(viewer)

    def inserted(event: Any) -> None:
        model = shown()
        if model is not None:
            _look_at(model, event.value)

    viewer.layers.events.inserted.connect(inserted)
    for layer in viewer.layers:
        _look_at(viewer, layer)


def _look_at(viewer: ViewerModel, layer: Any) -> None:
    """Warn if an image of ours looks misaligned with one that was there before."""
    grid = _grid_of(layer)
    if grid is None:
        return
    for other in viewer.layers:
        if other is layer:
            return
        theirs = _grid_of(other)
        if theirs is None or not is_misaligned(theirs, grid):
            continue
        pair = frozenset({theirs, grid})
        if pair not in _warned[viewer]:
            _warned[viewer].add(pair)
            _warn(viewer, (layer, grid), (other, theirs))
        return


def _grid_of(layer: Any) -> Grid | None:
    """Return the grid of an image of ours."""
    source = layer.metadata.get(METADATA_KEY) if isinstance(layer, Image) else None
    return source.grid if isinstance(source, Volume) else None


def _warn(viewer: ViewerModel, second: tuple[Image, Grid], first: tuple[Image, Grid]) -> None:
    (layer, ours), (other, theirs) = second, first
    text = (
        f"{layer.name!r} is tilted by {angle_between(theirs, ours):.1f}° against {other.name!r} and"
        f" shown up to {apart_mm(theirs, ours):.2g} mm off: resample it"
    )
    shown, moving = ref(viewer), ref(layer)

    def resample() -> None:
        from napari_asmlp.viewer.resampling import open_resampling  # needs Qt; to warn does not

        model, image = shown(), moving()
        if model is not None and image in model.layers and len(model.layers) > 1:
            open_resampling(model, image)

    actions = (("Resample…", resample),)  # room for a word
    notification_manager.dispatch(Notification(text, NotificationSeverity.WARNING, actions))


def _tilt(grid: Grid) -> NDArray[np.float64]:
    """Return where the axes of the upright view point in the world, (3, 3)."""
    return grid.reoriented(grid.orientation()).directions


def _corners(grid: Grid) -> NDArray[np.float64]:
    """Return the world positions of the corner voxels, (8, 3)."""
    ends = np.array(list(product(*((0, n - 1) for n in grid.shape))))
    corners: NDArray[np.float64] = ends @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return corners
