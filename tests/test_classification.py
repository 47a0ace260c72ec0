"""Classes of volumes and objects, and what drove them, with networks whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import napari_asmlp
from napari_asmlp.card import ClassEntry, ClassifierInput, Measurement
from napari_asmlp.errors import GridError, ModelError, SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import ClassifierCard, Model, save_model
from napari_asmlp.networks.mixer import Mixer, MixerConfig
from napari_asmlp.pipeline import (
    ClassifySettings,
    OcclusionSettings,
    classify,
    iter_classify,
    iter_occlusion,
)
from napari_asmlp.pipeline.classification import finish
from napari_asmlp.volume import Volume
from tests.models import small_model

GRID = Grid((8, 8, 8), np.diag([1.0, 2, 1, 1]))


class Corner(nn.Module):
    """The logit of the second class is the sum of the first channel's corner of 4x4x4, over 64."""

    def forward(self, x):
        corner = x[:, 0, :4, :4, :4].sum(dim=(1, 2, 3)) / 64
        return torch.stack([torch.zeros_like(corner), corner], dim=1)


def model_of(what="volume", channels=1, network=None, temperature=1.0, **recipe):
    torch.manual_seed(0)
    config = MixerConfig(
        input_size=(8, 8, 8),
        patch_size=4,
        in_channels=channels,
        width=8,
        depth=1,
        token_width=8,
        channel_width=8,
    )
    card = ClassifierCard(
        name="small",
        summary="for tests",
        classes=(ClassEntry("dull", "#000000"), ClassEntry("bright", "#ffffff")),
        network=config,
        input=ClassifierInput(
            **{"what": what, "axis_codes": None, "clip": None, "normalisation": "none"} | recipe
        ),
        temperature=temperature,
    )
    return Model(card, (network or Mixer(config)).eval())


def corner_volume(value=2.0):
    array = np.zeros(GRID.shape, np.float32)
    array[:4, :4, :4] = value
    return Volume(array, Grid(GRID.shape, np.eye(4)), title="scan")


def cells():
    array = np.zeros(GRID.shape, np.uint16)
    array[0:2, 0:2, 0:2] = 4
    array[7, 7, 7] = 2
    array[3:6, 3:5, 4:6] = 90
    return Volume(array, GRID, "labels", title="cells")


def image():
    array = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    return Volume(array, GRID, title="scan")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_probabilities_are_calibrated(temperature):
    (item,) = classify(corner_volume(), model_of(network=Corner(), temperature=temperature))
    assert (item.input, item.object, item.class_name) == ("scan", None, "bright")
    assert item.confidence == pytest.approx(sigmoid(2 / temperature))
    assert sum(item.probabilities.values()) == pytest.approx(1)


def test_a_region_is_classified_alone():
    settings = ClassifySettings(region=Region((0, 0, 0), (4, 4, 4)))
    (item,) = classify(corner_volume(), model_of(network=Corner()), settings)
    assert item.probabilities["bright"] == pytest.approx(sigmoid(2), abs=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_objects_are_classified_in_the_order_of_their_values(batch):
    model = model_of("object", 2)
    items = classify(image(), model, ClassifySettings(batch=batch), cells())
    assert [item.object for item in items] == [2, 4, 90]
    (alone,) = classify(image(), model, ClassifySettings(values=(90,)), cells())
    assert alone.probabilities == pytest.approx(items[2].probabilities)


def test_progress_brings_items_and_closing_ends_it():
    work = iter_classify(image(), model_of("object", 2), ClassifySettings(batch=2), cells())
    assert next(work).fraction == 0
    step = next(work)
    assert [item.object for item in step.items] == [2, 4]
    assert (step.done, step.total) == (2, 3)
    work.close()
    assert list(work) == []


def test_a_model_of_shapes_classifies_objects_without_looking_at_the_image():
    model = model_of("mask", 2, thickness=True)
    items = classify(image(), model, objects=cells())
    other = classify(Volume(np.zeros(GRID.shape), GRID), model, objects=cells())
    assert [i.probabilities for i in items] == [i.probabilities for i in other]


def test_files_serve_as_well(tmp_path):
    model = model_of("object", 2)
    save_model(model, tmp_path / "m.safetensors", half=False)
    napari_asmlp.write_labels(cells(), tmp_path / "cells.nii.gz")
    scan = tmp_path / "scan.nii.gz"
    napari_asmlp.io.write_volume(image(), scan)
    found = napari_asmlp.classify(
        scan, tmp_path / "m.safetensors", objects=tmp_path / "cells.nii.gz"
    )
    expected = classify(image(), model, objects=cells())
    assert {item.input for item in found} == {str(scan)}
    for one, other in zip(found, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_what_does_not_go_together():
    shifted = Volume(image().data, Grid(GRID.shape, np.eye(4)), title="other")
    both = Volume(np.zeros((8, 8, 8, 2)), GRID, title="two")
    with pytest.raises(GridError, match="cells and other lie on different grids"):
        classify(shifted, model_of("mask"), objects=cells())
    with pytest.raises(SettingsError, match="--objects"):
        classify(image(), model_of("object", 2))
    with pytest.raises(SettingsError, match=r"two: has 2 channels.*takes 1"):
        classify(both, model_of("object", 2), objects=cells())
    with pytest.raises(SettingsError, match="no object of the value 5"):
        classify(image(), model_of("mask"), ClassifySettings(values=(5,)), cells())
    measuring = model_of("mask", 2, measurements=(Measurement("mean", 0.0, 1.0),))
    with pytest.raises(SettingsError, match="asks for the 'mean'"):
        classify(image(), measuring, objects=cells())
    with pytest.raises(SettingsError, match="batch 0"):
        ClassifySettings(batch=0)


def test_a_segmenter_is_refused(tmp_path):
    save_model(small_model(), tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="is a segmenter"):
        classify(image(), tmp_path / "m.safetensors")


def test_occlusion_finds_the_corner_that_drives_the_answer():
    heat = finish(iter_occlusion(corner_volume(), model_of(network=Corner()), OcclusionSettings()))
    assert heat.grid.shape == (8, 8, 8)
    drop = sigmoid(2) - sigmoid(0)
    expected = np.zeros((8, 8, 8))
    expected[:4, :4, :4] = drop
    np.testing.assert_allclose(heat.array(), expected, atol=1e-6)


def test_occlusion_of_the_other_class_has_the_other_sign():
    settings = OcclusionSettings(class_name="dull", box_mm=4)
    heat = finish(iter_occlusion(corner_volume(), model_of(network=Corner()), settings)).array()
    assert heat[:4, :4, :4].max() < 0
    assert heat[4:].max() == 0


def test_overlapping_boxes_share_out_the_drop():
    settings = OcclusionSettings(overlapping=True)
    model = model_of(network=Corner())
    heat = finish(iter_occlusion(corner_volume(), model, settings)).array()
    assert heat[0, 0, 0] == pytest.approx(sigmoid(2) - sigmoid(0), abs=1e-6)
    assert 0 < heat[3, 3, 3] < heat[0, 0, 0]
    assert heat[7, 7, 7] == 0


def test_occlusion_of_an_object_lies_where_it_was_seen():
    model = model_of("object", 2, margin=0.0)
    heat = finish(iter_occlusion(image(), model, OcclusionSettings(value=90), cells()))
    # 3 x 4 x 2 mm, filled up to a cube of 4 mm around the middle, and what reaches into it
    first = heat.grid.affine[:3, 3]
    assert (first <= [3, 6, 3]).all()
    assert (first >= [1, 4, 1]).all()
    assert np.abs(heat.array()).max() > 0


def test_occlusion_leaves_measurements_alone():
    class Last(nn.Module):
        def forward(self, x):
            total = x[:, -1].sum(dim=(1, 2, 3))
            return torch.stack([total, -total], dim=1)

    model = model_of("mask", 2, Last(), measurements=(Measurement("fill", 0.0, 1e3),))
    heat = finish(iter_occlusion(image(), model, OcclusionSettings(value=4), cells()))
    np.testing.assert_array_equal(heat.array(), 0)


@pytest.mark.parametrize(
    ("settings", "objects", "says"),
    [
        (OcclusionSettings(class_name="odd"), None, "dull, bright"),
        (OcclusionSettings(box_mm=9), None, "up to 8 mm"),
        (OcclusionSettings(box_mm=-1), None, "up to 8 mm"),
        (OcclusionSettings(), cells(), "say which"),
    ],
)
def test_what_cannot_be_occluded(settings, objects, says):
    with pytest.raises(SettingsError, match=says):
        next(iter_occlusion(corner_volume(), model_of(network=Corner()), settings, objects))
