"""Every path that takes an image or labels gives the same for all that an array can be.

The answer for float32 (of labels, for uint8) is what all others are compared with.
"""

from __future__ import annotations

import numpy as np
import pytest

from napari_asmlp.edit import GrowFromSeeds, Target
from napari_asmlp.evaluate import iter_score_labels
from napari_asmlp.grid import Grid
from napari_asmlp.measure import iter_measure
from napari_asmlp.picture import overview
from napari_asmlp.pipeline import (
    ByExample,
    ByExampleSettings,
    OcclusionSettings,
    SegmentSettings,
    classify,
    iter_occlusion,
    segment,
)
from napari_asmlp.pipeline.classification import finish
from napari_asmlp.preprocess.intensities import lowest_finite
from napari_asmlp.resample import resample
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.loop import TeachSettings
from napari_asmlp.teaching.teacher import Teacher
from napari_asmlp.training.by_example import FitSettings
from napari_asmlp.volume import Volume
from tests.dtypes import FLOATS, IMAGES, INTEGERS, LABELS
from tests.models import small_model
from tests.test_classification import model_of

SHAPE = (12, 10, 8)
GRID = Grid(SHAPE, np.diag([1.0, 2, 1, 1]))
COARSE = Grid((6, 5, 4), np.diag([2.0, 4, 2, 1]))
EXAMPLES = {1: "bright", 2: "dark"}
QUICK = ByExampleSettings(size=8, width=8, depth=1, fit=FitSettings(steps=6, batch=16, folds=0))


def scene():
    """Return whole numbers from 0 to 100, and four objects of which two are bright."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 1:5, 1:4], labels[6:11, 2:8, 4:7] = 1, 2
    labels[7:9, :1, :2], labels[1:3, 7:9, 5:7] = 3, 4
    image = np.rint(np.random.default_rng(0).uniform(0, 40, SHAPE))
    image[labels == 1] += 40
    image[labels == 3] += 60
    return image, labels


IMAGE, OBJECTS = scene()


def image_of(array):
    return Volume(array, GRID, title="scan")


def labels_of(array):
    return Volume(array, GRID, "labels", title="cells")


def chances(items):
    return [list(item.probabilities.values()) for item in items]


def by_example(image, labels):
    return chances(finish(ByExample(labels, image, QUICK).learn(EXAMPLES)).items)


def whole_class(image, _labels):
    return chances(classify(image, model_of(normalisation="z-score")))


def object_classes(image, labels):
    model = model_of("object", 2, normalisation="z-score")
    return chances(classify(image, model, objects=labels))


def occlusion(image, _labels):
    model = model_of(normalisation="z-score")
    return finish(iter_occlusion(image, model, OcclusionSettings())).array()


def segmented(image, _labels):
    return segment(image, small_model(), SegmentSettings()).array()


def measured(image, labels):
    rows = finish(iter_measure(labels, image, objects=True))
    return [(r.label, r.shape.voxels, r.intensities.mean, r.intensities.p95) for r in rows]


def resampled(image, _labels):
    return resample(image, COARSE).array()


def resampled_nearest(image, _labels):
    return resample(image, COARSE, "nearest").array().astype(float)


def resampled_labels(_image, labels):
    return resample(labels, COARSE).array().astype(float)


def pictured(image, labels):
    return np.asarray(overview(image, labels, small_model().card.labels))


def scored(_image, labels):
    other = labels_of((OBJECTS > 0).astype(np.uint8))
    return [score["dice"] or 0 for score in finish(iter_score_labels(labels, other)).values()]


def grown(image, _labels):
    tool = GrowFromSeeds(low=0, high=50)
    voxels = image.array()
    change = tool(OBJECTS.copy(), Target(1, None, frozenset(), True), GRID.spacing, voxels)
    return [change.count]


def wrong(path, kinds, make):
    """Return the kinds for which a path fails, or gives something else."""
    found = {}
    want = np.asarray(path(image_of(IMAGE.astype(np.float32)), labels_of(OBJECTS)), float)
    for kind, of in kinds.items():
        try:
            got = np.asarray(path(*make(of)), float)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            found[kind] = repr(error)
        else:
            if not np.allclose(got, want, rtol=1e-4, atol=1e-4):
                found[kind] = f"differs by {np.abs(got - want).max()}"
    return found


@pytest.mark.parametrize(
    "path",
    [
        by_example, whole_class, object_classes, occlusion, segmented, measured, resampled,
        resampled_nearest, pictured, grown,
    ],
)  # fmt: skip
def test_images_of_every_kind_give_the_same(path):
    def make(of):
        return image_of(of(IMAGE)), labels_of(OBJECTS)

    assert wrong(path, IMAGES, make) == {}


@pytest.mark.parametrize(
    "path", [by_example, object_classes, measured, resampled_labels, pictured, scored]
)
def test_labels_of_every_kind_give_the_same(path):
    def make(of):
        return image_of(IMAGE.astype(np.float32)), labels_of(of(OBJECTS))

    assert wrong(path, LABELS, make) == {}


@pytest.mark.parametrize(
    "path",
    [by_example, whole_class, object_classes, occlusion, segmented, measured, pictured, grown],
)
def test_an_image_of_bool_is_one_of_0_and_1(path):
    bright, labels = IMAGE > 50, labels_of(OBJECTS)
    got = np.asarray(path(image_of(bright), labels), float)
    assert np.allclose(got, path(image_of(bright.astype(np.float32)), labels), atol=1e-4)


@pytest.mark.parametrize("kind", ["|u1", ">i2", "<f2", "u2 chunked"])
def test_teaching_gives_the_same(kind, monkeypatch):
    monkeypatch.setattr(encoder, "is_there", lambda: False)
    classes = np.full(SHAPE, UNANNOTATED, np.int16)
    classes[..., 2:6:3] = OBJECTS[..., 2:6:3] > 0

    def taught(array):
        quick = TeachSettings(seconds=0.01, light=LightSettings(first=5, trees=10))
        teacher = Teacher(quick)
        teacher.set_volume("a", image_of(array), Annotation(classes, (0, 1)))
        return finish(teacher.iter_round("a")).answer.labels.array()

    assert (taught(IMAGES[kind](IMAGE)) == taught(IMAGE.astype(np.float32))).all()


@pytest.mark.parametrize("dtype", ["?", *INTEGERS, *FLOATS])
def test_the_lowest_value_is_found_in_every_dtype(dtype):
    assert lowest_finite(np.array([3, 1, 2], dtype)) == 1
    assert lowest_finite(np.array([], dtype)) is None
    if dtype[0] == "f":
        assert lowest_finite(np.array([np.nan, -np.inf, 2, np.inf], dtype)) == 2
        assert lowest_finite(np.array([np.nan, np.inf], dtype)) is None
    if dtype[0] in "ui":
        least = np.iinfo(dtype).min
        assert lowest_finite(np.array([least, 0], dtype)) == least
