"""Changes of classifier inputs, each seen alone."""

from dataclasses import replace

import pytest
import torch

from napari_asmlp.card import ClassifierInput, Measurement
from napari_asmlp.training.classifier import Variation
from napari_asmlp.training.classifier.augment import vary

STILL = Variation((), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
IMAGE, MASK = ClassifierInput(), ClassifierInput("mask", thickness=True)


def varied(batch, recipe=MASK, seed=0, **changes):
    settings = Variation(**{**vars(STILL), **changes})
    return vary(batch, settings, recipe, 2, torch.Generator().manual_seed(seed))


def volumes(count=4, channels=2, shape=(6, 8, 10)):
    return torch.rand(count, channels, *shape, generator=torch.Generator().manual_seed(1))


def test_nothing_changes_where_nothing_is_asked_for():
    torch.testing.assert_close(varied(volumes()), volumes())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_is_mirrored_half_of_the_time(axis):
    batch = volumes(20)
    found = varied(batch, flip_axes=(axis,))
    pairs = list(zip(found, batch, strict=True))
    mirrored = [torch.allclose(a, b.flip(axis + 1), atol=1e-5) for a, b in pairs]
    same = [torch.allclose(a, b, atol=1e-5) for a, b in pairs]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 3 < sum(mirrored) < 17


def test_turned_shapes_keep_their_volume_and_their_middle():
    """A box in a volume whose sides differ: a map in voxels, not in shares of each side."""
    batch = torch.zeros(8, 2, 20, 24, 30)
    batch[..., 7:13, 8:16, 12:18] = 1
    found = varied(batch, rotation=45.0)
    assert not torch.allclose(found, batch, atol=0.1)
    torch.testing.assert_close(found.sum((2, 3, 4)), batch.sum((2, 3, 4)), rtol=0.02, atol=0)
    profile = found.sum((3, 4))[0, 0]
    assert float((profile * torch.arange(20)).sum() / profile.sum()) == pytest.approx(9.5, abs=0.05)


def test_larger_shapes_are_thicker_in_proportion():
    batch = torch.zeros(16, 2, 16, 16, 16)
    batch[:, 0, 5:11, 5:11, 5:11] = 1
    batch[:, 1, 5:11, 5:11, 5:11] = 3
    found = varied(batch, scaling=0.3)
    scale = found[:, 1, 8, 8, 8] / 3
    assert 1 / 1.3 <= scale.min() < 0.9 < 1.1 < scale.max() <= 1.3
    torch.testing.assert_close(found[:, 0].sum((1, 2, 3)), 216 * scale**3, rtol=0.12, atol=0)


def test_what_comes_in_from_beyond_an_image_is_its_darkest():
    found = varied(volumes() + 5, IMAGE, shift=0.3)
    assert found.min() >= (volumes() + 5).amin() - 1e-5


def test_intensities_change_and_shapes_do_not():
    recipe, batch = ClassifierInput("object"), volumes(channels=3)
    found = varied(batch, recipe, intensity=0.5)
    assert not torch.allclose(found[:, :2], batch[:, :2], atol=0.1)
    torch.testing.assert_close(found[:, 2], batch[:, 2])


def test_the_same_generator_gives_the_same():
    settings = {"rotation": 20.0, "shift": 0.1, "flip_axes": (0, 1)}
    torch.testing.assert_close(varied(volumes(), **settings), varied(volumes(), **settings))
    assert not torch.allclose(varied(volumes(), **settings), varied(volumes(), seed=2, **settings))


def test_measurements_stay_where_they_are_and_take_the_same_noise_in_each_patch():
    measured = replace(MASK, measurements=(Measurement("volume", 0, 1), Measurement("fill", 0, 1)))
    batch = volumes(500, 3, (4, 4, 4))
    found = varied(batch, measured, flip_axes=(0, 1, 2), rotation=30, measuring=0.5)
    added = found[:, 2] - batch[:, 2]
    patch = added[:, :2, :2, :2]
    torch.testing.assert_close(added, patch.repeat(1, 2, 2, 2))
    of_values, of_the_rest = patch.flatten(1)[:, :2], patch.flatten(1)[:, 2:]
    assert of_values.std(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    assert not of_the_rest.any()
    assert not torch.equal(found[:, :2], batch[:, :2])
