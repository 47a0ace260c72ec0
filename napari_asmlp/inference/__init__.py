"""Run the network over the windows of a volume and hand on finished slabs of scores.

Each window adds ``share * logits`` to the sums of the voxels it covers, where the shares of all
windows in a voxel sum up to 1 (`windows.axis_shares`), so that a sum is a weighted mean. Only the
planes of the current layer of windows are held (see the figure in `windows`), of the image as of
the sums; these live in main memory, and the device holds one batch of windows at a time.
"""

from napari_asmlp.inference.held import ImagePlanes
from napari_asmlp.inference.memory import enough_memory
from napari_asmlp.inference.run import Step, iter_slabs
from napari_asmlp.inference.runner import (
    Engine,
    InferenceSettings,
    engine_of,
    prepared,
    step_down,
)

__all__ = [
    "Engine",
    "ImagePlanes",
    "InferenceSettings",
    "Step",
    "engine_of",
    "enough_memory",
    "iter_slabs",
    "prepared",
    "step_down",
]
