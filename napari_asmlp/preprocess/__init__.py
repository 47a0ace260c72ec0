"""From the source grid to the model grid, and back, a few planes at a time.

Words: the *source grid* is that of the file, in the axis order of the file; the *canonical grid*
is the same voxels (of the region asked for) turned to the model's axis codes; the *model grid* is
the canonical one at the model's spacing, over the same field of view edge to edge::

    source, region  -- turn -->  canonical  -- resample, normalise -->  model      `ModelImage`
    source, region  <-- turn --  canonical  <-- interpolate, decide --  model      `SourceSlabs`

Planes go through in the order of the file, and only those that are still needed are held; a whole
volume takes the same path. A volume of a strong tilt is brought upright first (`upright`), in
memory as a whole. Equal voxels give equal labels in whatever orientation they are stored,
bit for bit: what is computed here either runs on canonical planes, voxel by voxel in a fixed
order, or does not depend on the order (`intensities`).
"""

from napari_asmlp.preprocess.intensities import normalise
from napari_asmlp.preprocess.placement import Placement, place
from napari_asmlp.preprocess.to_model import ModelImage, to_model_grid
from napari_asmlp.preprocess.to_source import Slab, SourceSlabs, decide
from napari_asmlp.preprocess.upright import UprightSlabs, iter_raise, upright_grid

__all__ = [
    "ModelImage",
    "Placement",
    "Slab",
    "SourceSlabs",
    "UprightSlabs",
    "decide",
    "iter_raise",
    "normalise",
    "place",
    "to_model_grid",
    "upright_grid",
]
