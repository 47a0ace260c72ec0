"""The main jobs from end to end, each readable on one screen.

A job is a generator of progress that returns its result. Closing it cancels, and what it has
yielded stays valid.
"""

from napari_asmlp.pipeline.by_example import ByExample, ByExampleSettings, Taught
from napari_asmlp.pipeline.classification import (
    ClassifyProgress,
    ClassifySettings,
    Item,
    classify,
    iter_classify,
)
from napari_asmlp.pipeline.occlusion import OcclusionSettings, iter_occlusion
from napari_asmlp.pipeline.partial import NotResumableError, Partial
from napari_asmlp.pipeline.plan import FieldOfViewError, Plan, check_extent, check_fit, make_plan
from napari_asmlp.pipeline.segmentation import Progress, Segmentation, iter_segment, segment
from napari_asmlp.pipeline.settings import SegmentSettings, format_size, parse_size
from napari_asmlp.pipeline.train import Trained, TrainJob, iter_train
from napari_asmlp.preprocess import Slab

__all__ = [
    "ByExample",
    "ByExampleSettings",
    "ClassifyProgress",
    "ClassifySettings",
    "FieldOfViewError",
    "Item",
    "NotResumableError",
    "OcclusionSettings",
    "Partial",
    "Plan",
    "Progress",
    "SegmentSettings",
    "Segmentation",
    "Slab",
    "Taught",
    "TrainJob",
    "Trained",
    "check_extent",
    "check_fit",
    "classify",
    "format_size",
    "iter_classify",
    "iter_occlusion",
    "iter_segment",
    "iter_train",
    "make_plan",
    "parse_size",
    "segment",
]
