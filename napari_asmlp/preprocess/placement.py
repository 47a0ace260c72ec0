"""How a region of a file lies on the model grid. Geometry only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_asmlp.grid import Grid, Orientation, Region

if TYPE_CHECKING:
    from napari_asmlp.model import Preprocessing

_SLOWEST = 2  # the file axis that varies slowest: k in NIfTI, z elsewhere
_AS_IT_IS = Orientation((0, 1, 2), (False, False, False))


@dataclass(frozen=True)
class Placement:
    """How a region of a source grid lies on the model grid; made by `place`.

    Attributes
    ----------
    source_grid : of the file
    region : the voxels of the source grid that are looked at
    orientation : turns the region into canonical axes
    canonical_grid : of the turned region
    model_grid : the same field of view at the model's spacing
    """

    source_grid: Grid
    region: Region
    orientation: Orientation
    canonical_grid: Grid
    model_grid: Grid

    @property
    def resamples(self) -> bool:
        """Whether canonical and model grid have different voxels."""
        return self.canonical_grid.shape != self.model_grid.shape

    @property
    def slab_axis(self) -> int:
        """Axis of the canonical and the model grid that is the slowest one of the file."""
        return self.orientation.axes.index(_SLOWEST)

    @property
    def slab_reversed(self) -> bool:
        """Whether the file's planes run backwards along `slab_axis`.

        Windows are then walked backwards (`windows.place_windows`), so that planes are finished
        in the order of the file.
        """
        return self.orientation.flips[self.slab_axis]

    def source_region(self, planes: range) -> Region:
        """Return where canonical planes along `slab_axis` lie on the source grid."""
        first, last = planes.start, planes.stop
        if self.slab_reversed:
            depth = self.region.shape[_SLOWEST]
            first, last = depth - last, depth - first
        (i, j, k), (i_stop, j_stop, _) = self.region.start, self.region.stop
        return Region((i, j, k + first), (i_stop, j_stop, k + last))


def place(grid: Grid, preprocessing: Preprocessing, region: Region | None = None) -> Placement:
    """Find the model grid for a region of a source grid, or for all of it.

    Raises
    ------
    GridError
        If the region reaches outside the grid.
    """
    cropped = grid.cropped(region := region or Region.whole(grid.shape))
    codes, spacing = preprocessing.axis_codes, preprocessing.spacing
    orientation = _AS_IT_IS if codes is None else cropped.orientation(codes)
    canonical = cropped.reoriented(orientation)
    model = canonical if spacing is None else canonical.resampled(spacing)
    return Placement(grid, region, orientation, canonical, model)
