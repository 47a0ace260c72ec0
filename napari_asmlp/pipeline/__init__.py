"""The main jobs from end to end, each readable on one screen.

A job is a generator of progress that returns its result. Closing it cancels, and what it has
yielded stays valid.
"""

from napari_asmlp.pipeline.segmentation import (
    Progress,
    Segmentation,
    SegmentSettings,
    check_fit,
    iter_segment,
    segment,
)
from napari_asmlp.pipeline.train import Trained, TrainJob, iter_train
from napari_asmlp.preprocess import Slab

__all__ = [
    "Progress",
    "SegmentSettings",
    "Segmentation",
    "Slab",
    "TrainJob",
    "Trained",
    "check_fit",
    "iter_segment",
    "iter_train",
    "segment",
]
