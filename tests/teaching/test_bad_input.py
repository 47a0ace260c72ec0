"""What people give that is strange: clear words, or an answer all the same."""

import numpy as np
import pytest

from napari_asmlp.errors import VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation, read_annotation
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.volume import Volume
from tests.teaching.generators import result_of

QUICK = TeachSettings(seconds=0.01, light=LightSettings(first=5, trees=5))
WHOLE = (12, 10, 8)


@pytest.fixture(autouse=True)
def no_encoder(monkeypatch):
    monkeypatch.setattr(encoder, "is_there", lambda: False)


def halves(shape, dtype=np.float64):
    """Return a volume whose far half along the first axis is bright, and its truth."""
    truth = (np.arange(shape[0]) >= shape[0] // 2).reshape(-1, 1, 1) * np.ones(shape, np.int16)
    noise = np.random.default_rng(0).standard_normal(shape)
    data = (100 * truth + noise).astype(dtype)
    return data, truth.astype(np.int16)


def taught(data, truth, every=2):
    """Teach by every so many planes across the second axis."""
    grid = Grid(truth.shape, np.eye(4))
    classes = np.full(truth.shape, UNANNOTATED, np.int16)
    classes[:, ::every] = truth[:, ::every]
    image = Volume(data, grid, title="scan")
    return result_of(iter_teach(image, Annotation(classes, (0, 1)), QUICK)).answer.labels.array()


@pytest.mark.parametrize("shape", [(12, 10, 2), (12, 2, 9), (2, 10, 8), (12, 10, 1)])
def test_a_thin_volume_is_taught(shape):
    data, truth = halves(shape)
    assert np.mean(taught(data, truth) == truth) > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.float32])
def test_any_kind_of_number_is_taught(dtype):
    data, truth = halves(WHOLE, dtype)
    assert np.mean(taught(data, truth) == truth) > 0.9


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_dark(value):
    data, truth = halves(WHOLE)
    data[3, 3, 3] = data[9, 4, 4] = value
    assert np.mean(taught(data, truth) == truth) > 0.9


@pytest.mark.parametrize(
    ("value", "words"), [(7.0, "every voxel is 7"), (np.nan, "scan: no voxel is finite")]
)
def test_nothing_to_see_is_refused(value, words):
    _, truth = halves(WHOLE)
    with pytest.raises(VolumeError, match=words):
        taught(np.full(WHOLE, value), truth)


def test_more_classes_than_a_network_is_taught_are_refused():
    grid = Grid((20, 20, 2), np.eye(4))
    image = Volume(np.zeros(grid.shape), grid, title="cells")
    labels = np.repeat(np.arange(400, dtype=np.uint16).reshape(20, 20, 1), 2, axis=2)
    objects = Volume(labels, grid, "labels", title="objects")
    with pytest.raises(VolumeError, match=r"objects: 399 values are annotated.*at most 100"):
        read_annotation(image, objects)


def test_a_correction_within_a_wrong_stroke_counts():
    data, truth = halves(WHOLE)
    classes = np.full(WHOLE, UNANNOTATED, np.int16)
    classes[:, ::2] = truth[:, ::2]
    classes[2, 2, 2] = 1  # says the contrary of all around it
    grid = Grid(WHOLE, np.eye(4))
    answer = result_of(
        iter_teach(Volume(data, grid), Annotation(classes, (0, 1)), QUICK)
    ).answer.labels.array()
    assert answer[2, 2, 2] == 1
    assert np.mean(answer == truth) > 0.9
