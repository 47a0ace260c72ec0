"""Window and level: which intensities are shown from black to white.

Radiology's two numbers for it, in the units of the image: the window is how wide the shown range
is, the level is its middle.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.preprocess.fills import cleaner_of

_PERCENTILES = (0.5, 99.8)  # a few bright voxels must not turn the rest black
_SAMPLE = 1e6  # voxels are enough
_AIR_OR_LUNG = -500  # HU; no other modality stores values as low, but phase maps and the like
_PIXELS = 256  # on screen: a drag so far changes the window and the level by one window
_ROUNDING = 1e-7  # relative, of float32, in which images are drawn
_NARROWEST = 1e-3  # of the window that a drag began with


class Window(NamedTuple):
    """Width and centre of the shown range, in units of the image."""

    width: float
    level: float

    @property
    def limits(self) -> tuple[float, float]:
        """The intensities shown black and white."""
        return self.level - self.width / 2, self.level + self.width / 2

    @classmethod
    def of(cls, limits: Sequence[float]) -> Window:
        """Return the window between what is shown black and what is shown white."""
        low, high = limits
        return cls(high - low, (low + high) / 2)

    def dragged(self, right: float, down: float) -> Window:
        """Return the window after a drag of the mouse, which began with this one.

        Parameters
        ----------
        right, down
            Pixels on screen. To the right widens the window, which lowers the contrast; down
            raises the level, which darkens the image (as in OHIF and Cornerstone).
        """
        width = max(self.width * (1 + right / _PIXELS), self.width * _NARROWEST)
        return Window(width, self.level + self.width * down / _PIXELS)


@dataclass(frozen=True)
class Preset:
    """A window for CT in Hounsfield units."""

    name: str
    window: Window
    shows: str


# Radiopaedia, article "Windowing (CT)": chest lungs; spine bone; abdomen soft tissues; head brain.
CT_PRESETS = (
    Preset("Bone", Window(1800, 400), "bone"),
    Preset("Lung", Window(1500, -600), "lungs and airways"),
    Preset("Soft tissue", Window(400, 50), "organs of the abdomen, muscle"),
    Preset("Brain", Window(80, 40), "brain"),
)


def automatic(array: Any) -> Window:
    """Return the window of nearly all intensities of an array of any number of axes.

    Fill values (`preprocess.fills`) do not count: they would leave no contrast to the others.
    """
    values = sample(array)
    if values.size:
        cleaner = cleaner_of(values, _PERCENTILES)
        values = values[(values >= cleaner.low) & (values <= cleaner.high)]
    low, high = map(float, np.percentile(values, _PERCENTILES)) if values.size else (0.0, 1.0)
    if high - low <= abs(low) * _ROUNDING:
        low, high = _around(low)
    return Window.of((low, high))


def _around(value: float) -> tuple[float, float]:
    """Return limits for an image of one value, far enough apart to differ in float32."""
    step = abs(value) * _NARROWEST
    if step <= 1:
        return value, value + 1
    return (value - step, value) if value > 0 else (value, value + step)  # beyond may be infinite


def sample(array: Any) -> NDArray[np.float64]:
    """Return about a million of the finite intensities of an array, evenly spread."""
    step = max(1, round((array.size / _SAMPLE) ** (1 / max(1, array.ndim))))
    values = np.asarray(array[(slice(None, None, step),) * array.ndim]).astype(np.float64)
    return values[np.isfinite(values)]


def looks_like_hu(lowest: float) -> bool:
    """Tell from the lowest intensity whether an image seems to be CT in Hounsfield units."""
    return lowest <= _AIR_OR_LUNG


def full_range(array: Any) -> Generator[None, None, tuple[float, float] | None]:
    """Find the lowest and the highest finite intensity, one plane along axis 0 between two yields.

    Returns
    -------
    (lowest, highest) or None
        None where no intensity is finite.
    """
    lowest, highest = np.inf, -np.inf
    for plane in array:
        values = np.asarray(plane)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size:
            lowest, highest = min(lowest, values.min()), max(highest, values.max())
        yield
    return (float(lowest), float(highest)) if lowest <= highest else None


class _Sliced(Protocol):
    """The part of napari's Dims that is needed here."""

    ndim: int
    displayed: tuple[int, ...]
    point: tuple[float, ...]


def shown_part(layer: Any, dims: _Sliced) -> NDArray[Any]:
    """Return the voxels of a layer that the viewer shows: a slice, or in 3D the volume.

    A slider beyond the layer counts as at its border.
    """
    further = dims.ndim - layer.ndim  # axes of other layers come first
    place = layer.world_to_data(np.asarray(dims.point)[further:])
    shown = {axis - further for axis in dims.displayed}
    index = tuple(
        slice(None) if axis in shown else int(np.clip(np.rint(at), 0, size - 1))
        for axis, (at, size) in enumerate(zip(place, layer.data.shape, strict=True))
    )
    return np.asarray(layer.data[index])
