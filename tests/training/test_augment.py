"""Crops: reproducible, image and labels moved alike, padded as inference pads."""

import numpy as np
import pytest
import torch

from napari_asmlp.training.augment import random_crop
from napari_asmlp.training.dataset import Sample
from napari_asmlp.training.recipe import Augmentation

STILL = Augmentation(flip_axes=(), rotation=0, scaling=0, elastic=0, intensity=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sample():
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, (8, 10, 6)).astype(np.uint8)
    return Sample("noise", classes[None].astype(np.float32) - 1, classes)


def test_a_still_crop_of_the_volumes_size_is_the_volume(sample):
    crop = random_crop(sample, (8, 10, 6), STILL, generator())
    np.testing.assert_allclose(crop.image.numpy(), sample.image, atol=1e-5)
    np.testing.assert_array_equal(crop.classes.numpy(), sample.classes)


def test_outside_lies_the_minimum_and_background(sample):
    crop = random_crop(sample, (20, 10, 6), STILL, generator())
    assert crop.image.shape == (1, 20, 10, 6)
    margins = np.r_[0, 19]
    assert (crop.classes[margins] == 0).all()
    torch.testing.assert_close(crop.image[:, margins], torch.full((1, 2, 10, 6), -1.0))


@pytest.mark.parametrize("seed", range(4))
def test_image_and_labels_move_alike(seed):
    """With the labels' own smooth values as the image, they agree wherever the crop looks."""
    x, y, z = np.indices((24, 24, 24))
    classes = ((x > 12) + (y > 12)).astype(np.uint8)
    ramp = (x + y + z).astype(np.float32)
    sample = Sample("s", np.stack([classes.astype(np.float32), ramp]), classes)
    settings = Augmentation(flip_axes=(0, 1, 2), intensity=0)
    crop = random_crop(sample, (16, 16, 16), settings, generator(seed))
    agreement = (crop.image[0].round().long() == crop.classes).float().mean()
    assert agreement > 0.95
    assert crop.image[1].std() > 1


def test_mirroring_happens_along_the_named_axes_only(sample):
    settings = Augmentation(flip_axes=(1,), rotation=0, scaling=0, elastic=0, intensity=0)
    seen = set()
    for seed in range(12):
        found = random_crop(sample, (8, 10, 6), settings, generator(seed)).classes.numpy()
        seen.add(
            "still"
            if np.array_equal(found, sample.classes)
            else "mirrored"
            if np.array_equal(found, sample.classes[:, ::-1])
            else "other"
        )
    assert seen == {"still", "mirrored"}


def test_the_generator_decides_everything(sample):
    first, again, other = (
        random_crop(sample, (8, 8, 8), Augmentation(), generator(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.classes, again.classes)
    assert not torch.equal(first.image, other.image)
