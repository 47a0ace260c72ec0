"""The whole path from a volume to labels, in all 48 orientations of a file and oblique."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_asmlp.grid import Grid, Region
from napari_asmlp.inference import InferenceSettings, iter_slabs
from napari_asmlp.model import Card, LabelEntry, Preprocessing
from napari_asmlp.preprocess import SourceSlabs, place, to_model_grid
from napari_asmlp.volume import Volume
from napari_asmlp.windows import place_windows
from tests.models import SMALL

SETTINGS = InferenceSettings(torch.device("cpu"))


class Nonlinear(nn.Module):
    """Three logits from a neighbourhood, so that windows differ at their borders."""

    def __init__(self):
        super().__init__()
        weight = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 3, 3, 3)))
        self.weight = nn.Parameter(weight.float())

    def forward(self, x):
        return torch.sin(nn.functional.conv3d(x, self.weight, padding=1)) * x.abs().mean()


def card(labels=2, activation="softmax", **preprocessing):
    outputs = labels + (activation == "softmax")
    return Card(
        name="test",
        summary="",
        labels=tuple(LabelEntry(n + 1, str(n), "#ff0000") for n in range(labels)),
        network=replace(SMALL, out_channels=outputs),
        window=(6, 6, 6),
        activation=activation,
        preprocessing=Preprocessing(**preprocessing),
    )


def labels_of(volume, model_card, region=None):
    """Segment with `Nonlinear`, as the pipeline does."""
    placement = place(volume.grid, model_card.preprocessing, region)
    image = to_model_grid(volume, placement, model_card.preprocessing)
    axis, backwards = placement.slab_axis, placement.slab_reversed
    boxes = place_windows(
        placement.model_grid.shape, model_card.window, 0.5, axis, backwards=backwards
    )
    slabs = SourceSlabs(placement, model_card)
    labels = np.full(volume.grid.shape, 255, np.uint8)
    for step in iter_slabs(Nonlinear(), image, boxes, axis, SETTINGS):
        for slab in slabs.add(*step.finished) if step.finished else ():
            labels[slab.region.slices] = slab.labels
    return labels


def stored_otherwise(data, affine, axes, flips):
    """Permute and flip the axes of a file without moving a voxel in the world."""
    flip = tuple(slice(None, None, -1 if flip else None) for flip in flips)
    stored = data.transpose(axes)[flip]
    matrix = affine.copy()
    matrix[:3, :3] = affine[:3, list(axes)]
    for axis in range(3):
        if flips[axis]:
            matrix[:3, 3] += matrix[:3, axis] * (stored.shape[axis] - 1)
            matrix[:3, axis] *= -1
    return stored, matrix


@pytest.mark.parametrize(
    ("activation", "spacing"),
    [("softmax", None), ("sigmoid", None), ("softmax", (1.3, 0.8, 1.0)), ("sigmoid", (1, 2, 0.7))],
)
def test_labels_do_not_depend_on_the_orientation_of_the_file(activation, spacing):
    model_card = card(3 - (activation == "softmax"), activation, spacing=spacing)
    data = np.random.default_rng(0).normal(size=(9, 10, 11))
    oblique = np.eye(4)
    oblique[:3] = [[0.9, 0.2, -0.1, 5], [-0.2, 1.1, 0.1, -7], [0.1, -0.1, 1.2, 3]]
    expected = labels_of(Volume(data, Grid(data.shape, oblique)), model_card)
    assert set(np.unique(expected)) == set(range(len(model_card.labels) + 1))
    for axes, flips in itertools.product(
        itertools.permutations(range(3)), itertools.product((False, True), repeat=3)
    ):
        stored, affine = stored_otherwise(data, oblique, axes, flips)
        labels = labels_of(Volume(stored, Grid(stored.shape, affine)), model_card)
        turned, _ = stored_otherwise(expected, oblique, axes, flips)
        np.testing.assert_array_equal(labels, turned, err_msg=f"{axes} {flips}")


def test_a_region_is_segmented_as_if_it_were_all():
    data = np.random.default_rng(0).normal(size=(12, 13, 14))
    region = Region((2, 3, 4), (10, 12, 13))
    labels = labels_of(Volume(data, Grid(data.shape, np.eye(4))), card(), region)
    part = data[region.slices]
    alone = labels_of(Volume(part, Grid(part.shape, np.eye(4))), card())
    np.testing.assert_array_equal(labels[region.slices], alone)
    labels[region.slices] = 255
    assert (labels == 255).all()
