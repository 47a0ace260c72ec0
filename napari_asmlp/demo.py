"""A real volume to try things on: the region around one hippocampus of the MNI152 T1 template.

The template (Fonov et al., NeuroImage 54:313, 2011; 1 mm, an average of 152 young adults) is
shipped by nilearn. It is found, not imported: nilearn takes seconds to import.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from napari_asmlp.errors import AsmlpError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.io import read_volume
from napari_asmlp.volume import Volume

_TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
# Around the left hippocampus, in mm of MNI space; sized as the crops the model was trained on.
_CENTRE_MM = (-26.0, -22.0, -14.0)
_EXTENT_MM = (40.0, 56.0, 44.0)


def template_path() -> Path:
    """Find the template; raises `AsmlpError` saying how to get it."""
    found = find_spec("nilearn")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / _TEMPLATE
        if path.is_file():
            return path
    raise AsmlpError('the demo\'s volume is not here: pip install "napari-asmlp[demo]" brings it')


def demo_volume(volume: int | None = None) -> Volume:
    """Return the region around the left hippocampus, on its part of the template's grid.

    Parameters
    ----------
    volume : which one of a 4D file; the template is 3D
    """
    template = read_volume(template_path(), volume=volume)
    region = region_around(template.grid, _CENTRE_MM, _EXTENT_MM)
    grid = template.grid.cropped(region)
    return Volume(np.asarray(template.data[region.slices]), grid)


def region_around(
    grid: Grid, centre_mm: tuple[float, float, float], extent_mm: tuple[float, float, float]
) -> Region:
    """Return the voxels of an upright box in the world, as far as they lie inside the grid.

    Parameters
    ----------
    centre_mm, extent_mm : of the box along the world axes R, A, S
    """
    corners = np.array([np.add(centre_mm, np.multiply(extent_mm, s)) for s in (-0.5, 0.5)])
    inverse = np.linalg.inv(grid.affine)
    every = np.array(
        [[x, y, z, 1] for x, y, z in np.stack(np.meshgrid(*corners.T), -1).reshape(-1, 3)]
    )
    voxels = (every @ inverse.T)[:, :3]
    start, stop = np.rint(voxels.min(axis=0)).astype(int), np.rint(voxels.max(axis=0)).astype(int)
    i, j, k = np.maximum(start, 0).tolist()
    return Region((i, j, k), tuple(np.maximum(stop, start + 1).tolist())).clipped(grid.shape)
