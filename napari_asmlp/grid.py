"""Where voxels lie: grids, regions of them, and the turns that bring one to canonical axes.

Words
-----
A *grid* is a shape (i, j, k) and an affine, the 4x4 matrix from voxel index to world position in
mm, whose world axes point right, anterior and superior (RAS+). An index is the centre of its
voxel, so the field of view reaches half a voxel beyond the first and the last one.

*Axis codes* name where the three voxel axes point: ``"LPS"`` says that i grows to the left, j to
posterior and k to superior. Of an oblique grid they are those of the closest upright one.

A *region* is a box of voxels; an *orientation* is a permutation of the three axes with flips.
Nothing here touches a file, and no function copies voxels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_asmlp.errors import GridError, SettingsError

Triple = tuple[int, int, int]

_CODES = ("LR", "PA", "IS")  # of each world axis: the letter of its negative and positive end
_SINGULAR = 1e-6  # smallest volume spanned by the three unit columns of a usable affine
_BOUNDS = re.compile(r"(\d*):(\d*)")


@dataclass(frozen=True)
class Region:
    """A box of voxels, from `start` up to but not including `stop`, in the axis order (i, j, k).

    Raises
    ------
    SettingsError
        If the box holds no voxel.
    """

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if any(stop <= start for start, stop in zip(self.start, self.stop, strict=True)):
            raise SettingsError(f"the region {self} holds no voxel: give start < stop on each axis")

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))

    @property
    def shape(self) -> Triple:
        """Number of voxels along each axis."""
        return _triple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index that takes the region out of an array with leading axes (i, j, k)."""
        i, j, k = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return i, j, k

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Region:
        """Return the region that is all of a volume of this shape."""
        return cls((0, 0, 0), _triple(shape))

    @classmethod
    def parse(cls, text: str, shape: Sequence[int]) -> Region:
        """Read a region written as ``i0:i1,j0:j1,k0:k1``; an empty end means the border.

        Parameters
        ----------
        text
            For example ``"10:50,:,20:"``.
        shape
            Of the volume the region is taken from, (i, j, k).

        Raises
        ------
        SettingsError
            If the text has another form, or a bound is negative, reversed or outside.
        """
        wrong = f"region {text!r} is not usable for a volume of {_times(shape)} voxels"
        bounds = [_BOUNDS.fullmatch(part.strip()) for part in text.split(",")]
        if len(bounds) != 3 or not all(bounds):
            raise SettingsError(f"{wrong}: write it as i0:i1,j0:j1,k0:k1 with whole numbers >= 0")
        start, stop = [], []
        for bound, size in zip(bounds, shape, strict=True):
            first, last = cast("re.Match[str]", bound).groups()
            start.append(int(first or 0))
            stop.append(int(last or size))
            if not start[-1] < stop[-1] <= size:
                raise SettingsError(f"{wrong}: {first}:{last} must lie in 0:{size}, start < stop")
        return cls(_triple(start), _triple(stop))

    def clipped(self, shape: Sequence[int]) -> Region:
        """Return the part of the region that lies inside a volume of this shape.

        Raises
        ------
        SettingsError
            If nothing of it does.
        """
        start = _triple(max(0, a) for a in self.start)
        stop = _triple(min(b, size) for b, size in zip(self.stop, shape, strict=True))
        if any(b <= a for a, b in zip(start, stop, strict=True)):
            raise SettingsError(
                f"region {str(self)!r} lies outside the volume of {_times(shape)} voxels"
            )
        return Region(start, stop)


@dataclass(frozen=True)
class Orientation:
    """A turn of the voxel axes: target axis n is source axis `axes[n]`, reversed if `flips[n]`."""

    axes: Triple
    flips: tuple[bool, bool, bool]

    @property
    def is_identity(self) -> bool:
        """Whether the turn leaves every array as it is."""
        return self.axes == (0, 1, 2) and not any(self.flips)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of `array`, (i, j, k, ...), with its first three axes turned."""
        turned = array.transpose(*self.axes, *range(3, array.ndim))
        return turned[self._flip]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of a turned `array` in its source axis order: the inverse of `apply`."""
        source_order = [self.axes.index(axis) for axis in range(3)]
        return array[self._flip].transpose(*source_order, *range(3, array.ndim))

    @property
    def _flip(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else None) for flip in self.flips)


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and affine of a volume; two grids are equal when both are, exactly.

    Parameters
    ----------
    shape
        Voxels along the axes (i, j, k).
    affine
        (4, 4), from voxel index to world mm (RAS+); kept as a read-only float64 copy.

    Raises
    ------
    GridError
        If the shape is not three positive numbers, or the affine is not finite or not invertible.
    """

    shape: Triple
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        affine.flags.writeable = False
        shape = tuple(int(n) for n in self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)
        if len(shape) != 3 or min(shape) < 1:
            raise GridError(f"a grid has three axes of at least one voxel, not {shape}")
        _check_affine(affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, *self.affine.ravel().tolist()))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (i, j, k), in mm."""
        return _floats(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors along (i, j, k) in the world, as the columns of a (3, 3) matrix."""
        directions: NDArray[np.float64] = self.affine[:3, :3] / np.array(self.spacing)
        return directions

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Length of the field of view along (i, j, k), from edge to edge, in mm."""
        return _floats(np.array(self.shape) * self.spacing)

    @property
    def axis_codes(self) -> str:
        """Where the axes (i, j, k) of the closest upright grid point, such as ``"RAS"``."""
        worlds, positive = self._upright()
        return "".join(_CODES[world][positive[world]] for world in np.argsort(worlds))

    @property
    def tilt_degrees(self) -> float:
        """Largest angle between an axis and the world axis that it is named for."""
        worlds, _ = self._upright()
        cosines = [abs(float(self.directions[world, worlds[world]])) for world in range(3)]
        return float(np.degrees(np.arccos(min(1.0, *cosines))))

    def describe(self) -> str:
        """Return the grid in a few words for messages: ``35x51x35, 1x1x1 mm, RAS``."""
        spacing = "x".join(f"{mm:.4g}" for mm in self.spacing)
        return f"{_times(self.shape)}, {spacing} mm, {self.axis_codes}"

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Tell whether both grids have one shape and their corner voxels meet within tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array([(*c, 1) for c in product(*((0, n - 1) for n in self.shape))])
        apart = corners @ (self.affine - other.affine).T
        return bool(np.linalg.norm(apart[:, :3], axis=1).max() <= tolerance_mm)

    def difference(self, other: Grid) -> str:
        """Return in a few words, for messages, how this grid and another one differ.

        The words are those of `describe`; where these are the same for both, as they are where
        the place or a tilt differs, the affines, with as many digits as tell them apart.
        """
        mine, theirs = self.describe(), other.describe()
        for digits in range(4, 18):  # 17 tell any two numbers of 64 bits apart
            if mine != theirs:
                break
            mine, theirs = (_affine_text(grid.affine, digits) for grid in (self, other))
        return f"{mine} against {theirs}"

    def cropped(self, region: Region) -> Grid:
        """Return the grid of a region of this one.

        Raises
        ------
        GridError
            If the region reaches outside.
        """
        inside = all(b <= size for b, size in zip(region.stop, self.shape, strict=True))
        if min(region.start) < 0 or not inside:
            raise GridError(f"region {str(region)!r} lies outside a grid of {self.describe()}")
        return Grid(region.shape, self.affine @ _shift(region.start))

    def orientation(self, codes: str = "RAS") -> Orientation:
        """Return the turn that brings this grid's axes closest to the axes named by `codes`.

        Raises
        ------
        SettingsError
            If `codes` does not name each of the three world axes once.
        """
        sides = [next((w for w, pair in enumerate(_CODES) if c in pair), -1) for c in codes]
        if sorted(sides) != [0, 1, 2]:
            raise SettingsError(f"axis codes {codes!r}: give one each of L/R, P/A and I/S")
        axis_of, positive = self._upright()
        axes = _triple(axis_of[world] for world in sides)
        first, second, third = (
            positive[world] != (_CODES[world][1] == code)
            for world, code in zip(sides, codes, strict=True)
        )
        return Orientation(axes, (first, second, third))

    def reoriented(self, orientation: Orientation) -> Grid:
        """Return the grid of the turned array: each voxel keeps its place in the world."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for target, (source, flip) in enumerate(
            zip(orientation.axes, orientation.flips, strict=True)
        ):
            matrix[source, target] = -1 if flip else 1
            matrix[source, 3] = self.shape[source] - 1 if flip else 0
        return Grid(_triple(self.shape[axis] for axis in orientation.axes), self.affine @ matrix)

    def resampled(self, spacing: Sequence[float]) -> Grid:
        """Return the grid over the same field of view, edge to edge, nearest to a spacing.

        An axis of n voxels of size s becomes ``max(1, round(n * s / spacing))`` voxels, and their
        actual size is the extent over that number.

        Parameters
        ----------
        spacing
            Along (i, j, k), in mm.

        Raises
        ------
        SettingsError
            If a spacing is not a positive number.
        """
        if len(spacing) != 3 or not all(np.isfinite(mm) and mm > 0 for mm in spacing):
            raise SettingsError(f"spacing {tuple(spacing)}: give three positive lengths in mm")
        shape = _triple(
            max(1, int(extent / mm + 0.5))
            for extent, mm in zip(self.extent_mm, spacing, strict=True)
        )
        step = np.array(self.shape) / np.array(shape)
        matrix = np.diag([*step, 1.0])
        matrix[:3, 3] = (step - 1) / 2  # first centres lie half a voxel from the common edge
        return Grid(shape, self.affine @ matrix)

    def _upright(self) -> tuple[Triple, tuple[bool, bool, bool]]:
        """For each world axis: the voxel axis closest to it, and whether that grows with it.

        Of the six ways to pair the axes, the one of the largest summed cosines; of equals the
        first, where sums that differ by rounding count as equal.
        """
        cosines = self.directions
        worlds = range(3)

        def alignment(axes: Sequence[int]) -> float:
            return round(sum(abs(float(cosines[world, axes[world]])) for world in worlds), 9)

        axes = _triple(max(permutations(worlds), key=alignment))
        right, anterior, superior = (bool(cosines[world, axes[world]] >= 0) for world in worlds)
        return axes, (right, anterior, superior)


def _check_affine(affine: NDArray[np.float64]) -> None:
    """Raise a GridError unless the affine is a finite, invertible 4x4 matrix."""
    if affine.shape != (4, 4) or not np.array_equal(affine[3], (0, 0, 0, 1)):
        raise GridError("an affine is a 4x4 matrix whose last row is 0 0 0 1")
    if not np.isfinite(affine).all():
        raise GridError("the affine holds numbers that are not finite")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < _SINGULAR:
        rows = "; ".join(" ".join(f"{x:g}" for x in row) for row in affine[:3, :3])
        raise GridError(f"the affine is singular ({rows}): its axes span no volume")


def _shift(start: ArrayLike) -> NDArray[np.float64]:
    """Return the (4, 4) matrix that moves voxel index 0 to `start`."""
    matrix = np.eye(4)
    matrix[:3, 3] = start
    return matrix


def _triple(values: Any) -> Triple:
    i, j, k = (int(value) for value in values)
    return i, j, k


def _floats(values: NDArray[np.float64]) -> tuple[float, float, float]:
    i, j, k = (float(value) for value in values)
    return i, j, k


def _affine_text(affine: NDArray[np.float64], digits: int) -> str:
    rows = (" ".join(f"{x:.{digits}g}" for x in row) for row in affine[:3])
    return "affine " + "; ".join(rows)


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)
