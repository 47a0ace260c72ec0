"""A volume: voxels, the grid they lie on, and whether they are an image or labels.

Voxels keep the axis order of their file, (i, j, k), with channels last where there are several.
They may still be on disk: `Volume.data` promises only a shape, a dtype, and to be indexable;
`Volume.array` loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import VolumeError
from napari_asmlp.grid import Grid

Kind = Literal["image", "labels"]
RGB = tuple[int, int, int]  # red, green and blue, 0 to 255
Labels = NDArray[np.unsignedinteger[Any]]

_UNSIGNED = (np.uint8, np.uint16, np.uint32)


class Voxels(Protocol):
    """What `Volume.data` can do: a numpy array, or one that reads its file when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (i, j, k), and channels along the fourth axis where there is one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what indexing and `np.asarray` return."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a part, by whole numbers, slices and ellipsis."""

    def __array__(self, dtype: Any = None, /) -> NDArray[Any]:
        """Return all of it."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a grid.

    Parameters
    ----------
    data
        (i, j, k), or (i, j, k, c) for an image of c channels; in memory or still on disk.
    grid
        Of the axes (i, j, k).
    kind
        ``"labels"`` if each voxel is the value of a label, with 0 for background.
    path
        The file it came from. It is never written to.
    header
        The header of that file; only `napari_asmlp.io` looks into it, to restore it on writing.
    label_names
        Class names by label value, where they are known.
    title
        What messages call a volume that came from no file.
    label_colours
        Colours by label value, where they are known.
    notes
        What the user should hear about how the file was read, a sentence each.
    channel_paths
        The files of an image that has one for each channel; the first of them is `path`.

    Raises
    ------
    VolumeError
        If data and grid disagree on the shape, or labels are not 3D whole numbers.
    """

    data: Voxels
    grid: Grid
    kind: Kind = "image"
    path: Path | None = None
    header: Any = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    title: str = "volume"
    label_colours: Mapping[int, RGB] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    channel_paths: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.data.shape)
        if len(shape) not in (3, 4) or shape[:3] != self.grid.shape:
            raise VolumeError(f"{self.name}: voxels {shape} do not fit a grid of {self.grid.shape}")
        if self.kind == "labels" and (len(shape) != 3 or self.data.dtype.kind not in "iu"):
            raise VolumeError(
                f"{self.name}: labels are 3D whole numbers, not {shape} of {self.data.dtype}"
            )

    @property
    def channels(self) -> int:
        """Number of channels; a 3D volume has one."""
        return self.data.shape[3] if len(self.data.shape) == 4 else 1

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it came from, if it came from any."""
        return () if self.path is None else self.channel_paths or (self.path,)

    @property
    def name(self) -> str:
        """Name of the file, or the title."""
        return self.path.name if self.path else self.title

    def array(self) -> NDArray[Any]:
        """Load all voxels, (i, j, k) or (i, j, k, c), in the byte order of this machine.

        Raises
        ------
        VolumeError
            If the file behind it turns out to be damaged, or holds no finite number at all.
        """
        array = np.asarray(self.data)
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def with_labels(
        self,
        array: NDArray[Any],
        label_names: Mapping[int, str] | None = None,
        label_colours: Mapping[int, RGB] | None = None,
    ) -> Volume:
        """Return labels on this volume's grid, which are written with this volume's header.

        Parameters
        ----------
        array
            (i, j, k), whole numbers of any dtype; kept in the smallest unsigned one.
        label_names, label_colours
            Class names and colours by label value.

        Raises
        ------
        VolumeError
            If the shape is not the grid's, or a value cannot be a label.
        """
        labels = as_labels(array, f"labels of {self.name}")
        return replace(
            self,
            data=labels,
            kind="labels",
            label_names=label_names or {},
            label_colours=label_colours or {},
            notes=(),
        )


def smallest_unsigned(array_or_max: NDArray[Any] | int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the smallest of uint8, uint16 and uint32 that holds an array or a largest value.

    Raises
    ------
    VolumeError
        If none does: a negative value, or one over 4294967295.
    """
    values = np.asarray(array_or_max)
    lowest, highest = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if lowest < 0:
        raise VolumeError(f"label {lowest} is negative: labels are whole numbers from 0 up")
    for dtype in _UNSIGNED:
        if highest <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise VolumeError(f"label {highest} is too large: labels go up to {np.iinfo(np.uint32).max}")


def as_labels(array: NDArray[Any], name: str) -> Labels:
    """Return `array` as labels, in the smallest unsigned dtype and this machine's byte order.

    Files often hold labels as floating-point numbers; they are labels all the same if each of
    them is whole. `name` says in errors whose labels they are.

    Raises
    ------
    VolumeError
        If a value is fractional, not finite, negative or too large, or is no real number.
    """
    array = np.asarray(array)  # which loads one of dask, too
    if array.dtype.kind not in "biuf":
        raise VolumeError(f"{name}: voxels of type {array.dtype} are no labels: use whole numbers")
    if array.dtype.kind == "f":
        fractional = array != np.rint(array)  # true of NaN as well
        fractional |= np.isinf(array)
        if fractional.any():
            wrong = exact_text(float(array[fractional][0]))
            raise VolumeError(f"{name}: {wrong} is no label: labels are whole numbers from 0 up")
    try:
        return array.astype(smallest_unsigned(array), copy=False)
    except VolumeError as error:
        raise VolumeError(f"{name}: {error}") from None


def exact_text(value: float) -> str:
    """Return a number with six digits, or as many more as show that it is not whole.

    >>> exact_text(0.5), exact_text(1034.998046875), exact_text(1.0000000001)
    ('0.5', '1034.998', '1.0000000001')
    """
    texts = (f"{value:.{digits}g}" for digits in range(6, 18))
    return next((text for text in texts if not float(text).is_integer()), f"{value:g}")
