"""The threshold brush: painting only where the image is in a range, and never on locked labels."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.edit.table import class_names, locked_values, title_of
from napari_asmlp.viewer.layers import check_same_grid

if TYPE_CHECKING:
    from napari.components import Dims

Limits = tuple[float, float]

_PERCENTILES = (5.0, 95.0)  # of a label: its border often holds voxels of its surroundings
_ERASING = "erase"
_NO_UNIT = "voxels"


def paintable(
    labels: NDArray[Any],
    locked: Collection[int],
    image: NDArray[Any] | None = None,
    limits: Limits | None = None,
) -> NDArray[np.bool_]:
    """Tell which voxels a brush may change.

    Parameters
    ----------
    labels : integer array of any shape
        As they are before the stroke.
    locked
        Label values that keep their voxels.
    image : array of the same shape
        Its unit is that of the limits.
    limits
        The lowest and the highest value painted on, both included; NaN never is.

    Returns
    -------
    bool array of the same shape
    """
    may = ~np.isin(labels, list(locked))
    if image is not None and limits is not None:
        may &= (image >= limits[0]) & (image <= limits[1])
    return may


def percentiles_within(
    image: NDArray[Any], labels: NDArray[Any], value: int
) -> Generator[None, None, Limits]:
    """Find the 5th and the 95th percentile of an image within a label, plane by plane.

    Raises
    ------
    SettingsError
        If no voxel has the label, or the image is not finite in any.
    """
    found = []
    for plane, own in zip(image, labels, strict=True):
        inside = np.asarray(plane[own == value])
        found.append(inside[np.isfinite(inside)])
        yield
    everything = np.concatenate(found)
    if not everything.size:
        raise SettingsError(f"label {value} is empty: paint some of it, or choose another label")
    precise = np.result_type(everything.dtype, np.float32)  # bool and float16 have no percentiles
    low, high = np.percentile(everything.astype(precise), _PERCENTILES)
    return float(low), float(high)


class PaintGuard:
    """What strokes, fills and polygons in a layer may touch: `Edits.guard`.

    Parameters
    ----------
    layer
        Whose locks hold; it is not kept alive.
    image, limits
        To which range of which image the brush is bound; None where it is not.
    """

    def __init__(
        self, layer: Labels, image: Image | None = None, limits: Limits | None = None
    ) -> None:
        self._layer = ref(layer)
        self.image = image
        self.limits = limits

    @classmethod
    def of(cls, layer: Labels, image: Image | None, limits: Limits | None) -> PaintGuard:
        """Return the guard for a layer.

        Raises
        ------
        AsmlpError
            If painting is bound to an image, and there is none on the layer's grid.
        """
        if limits is None:
            return cls(layer)
        if image is None:
            raise SettingsError("there is no image to paint by: open or choose one")
        check_same_grid(layer, image)
        return cls(layer, image, limits)

    def __call__(self, key: tuple[slice, ...], labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which voxels of a part of the layer's data may be painted on.

        Parameters
        ----------
        key
            Where the part lies.
        labels : integer array
            The part, before the stroke.
        """
        layer = self._layer()
        locked = frozenset() if layer is None else locked_values(layer)
        if layer is not None and layer.selected_label in locked and str(layer.mode) != _ERASING:
            return np.zeros(labels.shape, bool)  # a locked label gains nothing either
        image = None if self.image is None else np.asarray(self.image.data[key])
        return paintable(labels, locked, image, self.limits)


def brush_text(layer: Labels, dims: Dims) -> str:
    """Return the size of a layer's brush as it is on screen, in mm where voxels have a size."""
    step, unit = brush_step(layer, dims)
    size = f"{layer.brush_size} voxels"
    if unit != _NO_UNIT:
        size = f"{layer.brush_size * step:.3g} {unit} ({size})"
    is_ball = len(_painted(layer, dims)) == layer.ndim
    return f"Brush {size}, {'a ball' if is_ball else 'in the slice'}"


def brush_step(layer: Labels, dims: Dims) -> tuple[float, str]:
    """Return how far across a brush of one voxel is on screen, and in which unit.

    The brush is as many voxels across along the axis with the finest of them.
    """
    finest = min(_painted(layer, dims), key=lambda axis: abs(layer.scale[axis]), default=-1)
    unit = layer.units[finest]
    named = _NO_UNIT if str(unit) == "pixel" else f"{unit:~}"
    return float(abs(layer.scale[finest])), named


def _painted(layer: Labels, dims: Dims) -> list[int]:
    """Return the axes of a layer that its brush extends along, counted from the end."""
    painted = [axis - dims.ndim for axis in dims.order[-layer.n_edit_dimensions :]]
    return [axis for axis in painted if axis >= -layer.ndim]


def lock_text(layer: Labels) -> str:
    """Return why nothing can be painted, if the selected label is locked; else nothing."""
    value = int(layer.selected_label)
    if value not in locked_values(layer):
        return ""
    return f"{title_of(value, class_names(layer))} is locked: unlock it to paint it"
