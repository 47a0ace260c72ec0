"""Mirrored windows and maps of uncertainty, against numbers worked out by other means."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_asmlp.grid import Grid
from napari_asmlp.inference import InferenceSettings, iter_slabs
from napari_asmlp.pipeline import SegmentSettings
from napari_asmlp.preprocess import SourceSlabs, place
from napari_asmlp.preprocess.to_source import uncertainty_of
from napari_asmlp.volume import Volume
from napari_asmlp.windows import place_windows
from tests.blobs import AFFINE, ball
from tests.models import small_model
from tests.pipeline_runs import run

CPU = torch.device("cpu")


class Lopsided(nn.Module):
    """Two logits; the second is 4 in the first half of the window along its first axis."""

    def forward(self, x):
        logits = torch.zeros(len(x), 2, *x.shape[2:])
        logits[:, 1, : x.shape[2] // 2] = 4
        return logits


def scores_of(settings, shape=(4, 2, 2)):
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    (step,) = iter_slabs(Lopsided(), image, place_windows(shape, shape, 0), 2, settings)
    return step.finished[1]


def test_probabilities_of_mirrored_windows_are_averaged():
    scores = scores_of(InferenceSettings(CPU, mirror_axes=(0,)))
    sure = 1 / (1 + np.exp(-4))
    expected = (0.5 + sure) / 2  # each voxel is once in the first half and once in the second
    chances = np.exp(scores) / np.exp(scores).sum(0)
    np.testing.assert_allclose(chances[1], expected, atol=1e-3)


def test_a_network_that_does_not_mind_gives_the_same():
    scores = scores_of(InferenceSettings(CPU, mirror_axes=(1, 2)))
    plain = scores_of(InferenceSettings(CPU))
    np.testing.assert_allclose(scores[1] - scores[0], plain[1] - plain[0], atol=1e-3)


def entropy(p):
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def test_disagreement_is_the_entropy_of_the_mean_less_the_mean_entropy():
    settings = InferenceSettings(CPU, mirror_axes=(0,), disagreement=True)
    scores = scores_of(settings)
    assert scores.shape[0] == 3
    sure = 1 / (1 + np.exp(-4))
    np.testing.assert_allclose(scores[2], (1 + entropy(sure)) / 2, atol=1e-3)
    grid = Grid((4, 2, 2), np.eye(4))
    card = replace(
        small_model().card,
        network=replace(small_model().card.network, out_channels=2),
        labels=small_model().card.labels[:1],
    )
    slabs = SourceSlabs(place(grid, card.preprocessing), card, uncertainty=True)
    found = next(slabs.add(0, scores)).uncertainty
    whole = entropy((0.5 + sure) / 2)
    assert found.shape == (4, 2, 2, 2)
    np.testing.assert_allclose(found[..., 0], 255 * whole, atol=1)
    np.testing.assert_allclose(found[..., 1], 255 * (whole - (1 + entropy(sure)) / 2), atol=1)


@pytest.mark.parametrize(
    ("chances", "softmax", "level"),
    [
        ([0.25] * 4, True, 255),
        ([1, 0, 0, 0], True, 0),
        ([0.5, 0.5, 0, 0], True, 128),  # one bit of two
        ([0.5, 0.5], False, 255),
        ([0, 1], False, 0),
        ([0.5, 1], False, 128),
    ],
)
def test_entropy_by_hand(chances, softmax, level):
    array = np.array(chances, np.float32).reshape(-1, 1, 1, 1)
    assert uncertainty_of(array, len(chances), softmax=softmax).tolist() == [[[[level]]]]


@pytest.mark.parametrize("mirror", [False, True])
def test_the_map_lies_on_the_grid_of_the_volume(mirror):
    image, _ = ball(0, shape=(20, 26, 22))
    volume = Volume(image, Grid(image.shape, AFFINE))
    settings = SegmentSettings(
        precision="fp32", uncertainty=True, probabilities=True, mirror=mirror
    )
    _, result = run(volume, small_model(), settings)
    levels, chances = result.uncertainty.array(), result.probabilities.array()
    assert levels.dtype == np.uint8
    assert levels.shape == ((*image.shape, 2) if mirror else image.shape)
    expected = -(chances * np.log(chances)).sum(-1) / np.log(3)
    np.testing.assert_allclose(levels[..., 0] if mirror else levels, 255 * expected, atol=1)
    if mirror:
        assert (levels[..., 1] <= levels[..., 0] + 1).all()
        assert levels[..., 1].any()


def test_mirrored_volumes_get_mirrored_labels():
    """With all ways to mirror and one window, there is no left or right any more."""
    image, _ = ball(0, shape=(16, 16, 16))
    model = small_model(preprocessing=replace(small_model().card.preprocessing, axis_codes=None))
    settings = SegmentSettings(precision="fp32", mirror=True)
    for flipped in (slice(None), slice(None, None, -1)):
        part = np.ascontiguousarray(image[flipped])
        volume = Volume(part, Grid(part.shape, np.eye(4)))
        _, result = run(volume, model, settings)
        labels = result.labels.array()[flipped]
        if flipped == slice(None):
            expected = labels
    assert (labels != expected).mean() < 1e-3
