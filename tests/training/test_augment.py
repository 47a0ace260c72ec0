"""Crops: reproducible, image and labels moved alike, padded as inference pads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_asmlp.training.augment import random_crop
from napari_asmlp.training.recipe import Augmentation
from napari_asmlp.training.samples import Sample

STILL = Augmentation(flip_axes=(), rotation=0, scaling=0, elastic=0, intensity=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sample():
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, (8, 10, 6)).astype(np.uint8)
    return Sample.of("noise", classes[None].astype(np.float32) - 1, classes)


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
    sample = Sample.of("s", np.stack([classes.astype(np.float32), ramp]), classes)
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


def test_only_the_box_around_a_crop_is_read(sample):
    """The rest of the volume may be anything."""

    class Watched(np.ndarray):
        read = 0

        def __getitem__(self, key):
            found = super().__getitem__(key)
            Watched.read += found.size
            return found

    large = np.zeros((1, 64, 64, 64), np.float32)
    whole = Sample.of("zeros", large, large[0].astype(np.uint8))
    crop = random_crop(
        replace(whole, image=large.view(Watched)), (8, 8, 8), Augmentation(), generator()
    )
    assert crop.image.shape == (1, 8, 8, 8)
    assert 8**3 <= Watched.read < 24**3


@pytest.mark.parametrize("shape", [(8, 10, 1), (1, 1, 6)])
def test_volumes_of_one_plane(shape):
    classes = np.ones(shape, np.uint8)
    sample = Sample.of(
        "plane", np.arange(classes.size, dtype=np.float32).reshape(1, *shape), classes
    )
    crop = random_crop(sample, shape, STILL, generator())
    np.testing.assert_allclose(crop.image.numpy(), sample.image, atol=1e-5)
    assert (crop.classes == 1).all()


def test_crops_are_centred_on_every_label_as_often():
    """Label 1 fills a quarter of the volume, label 2 one voxel of 32³; both lie inside."""
    classes = np.zeros((32, 32, 32), np.uint8)
    classes[:, :8] = 1
    classes[20, 22, 12] = 2
    sample = Sample.of("s", np.zeros((1, 32, 32, 32), np.float32), classes)

    def centred(foreground):
        crops = [
            random_crop(sample, (5, 5, 5), STILL, generator(seed), foreground).classes
            for seed in range(60)
        ]
        return sum(int(crop[2, 2, 2] == 2) for crop in crops)

    assert centred(0.0) == 0
    assert 20 <= centred(1.0) <= 40


def test_a_crop_centred_at_the_border_stays_inside():
    classes = np.zeros((16, 16, 16), np.uint8)
    classes[0, 0, 15] = 1
    sample = Sample.of("s", np.ones((1, 16, 16, 16), np.float32), classes)
    crop = random_crop(sample, (6, 6, 6), STILL, generator(), 1.0)
    assert crop.classes[0, 0, 5] == 1
    assert (crop.image == 1).all()


@pytest.mark.parametrize("shape", [(6, 6, 6), (5, 6, 7), (24, 4, 5)])
@pytest.mark.parametrize("flips", [(), (0, 1, 2)])
def test_a_crop_around_a_label_holds_voxels_as_they_are(shape, flips):
    """Noise is not blurred, whether a side is even, odd, or longer than the volume."""
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 16)).astype(np.float32)
    classes = np.zeros((16, 16, 16), np.uint8)
    classes[3:12, 8, 2:9] = 1
    sample = Sample.of("noise", image, classes)
    settings = replace(STILL, flip_axes=flips)
    for seed in range(5):
        crop = random_crop(sample, shape, settings, generator(seed), foreground=1.0)
        distances = np.abs(crop.image.numpy().ravel()[:, None] - image.ravel()).min(axis=1)
        assert distances.max() < 1e-4
