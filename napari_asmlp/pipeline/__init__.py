"""The main jobs from end to end, each readable on one screen.

A job is a generator of progress that returns its result. Closing it cancels, and what it has
yielded stays valid.
"""

from napari_asmlp.pipeline.partial import NotResumableError, Partial
from napari_asmlp.pipeline.plan import Plan, check_fit, make_plan
from napari_asmlp.pipeline.segmentation import Progress, Segmentation, iter_segment, segment
from napari_asmlp.pipeline.settings import SegmentSettings, format_size, parse_size
from napari_asmlp.pipeline.train import Trained, TrainJob, iter_train
from napari_asmlp.preprocess import Slab

__all__ = [
    "NotResumableError",
    "Partial",
    "Plan",
    "Progress",
    "SegmentSettings",
    "Segmentation",
    "Slab",
    "TrainJob",
    "Trained",
    "check_fit",
    "format_size",
    "iter_segment",
    "iter_train",
    "make_plan",
    "parse_size",
    "segment",
]
