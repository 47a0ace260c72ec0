"""What is done to examples, and how the network's confidence is judged."""

import numpy as np
import pytest
import torch

from napari_asmlp.errors import SettingsError
from napari_asmlp.networks.mixer import MixerConfig
from napari_asmlp.training.by_example import Examples, FitSettings, _Batches, _folds, iter_fit

CONFIG = MixerConfig(
    input_size=(4, 4, 4),
    patch_size=2,
    in_channels=3,
    width=4,
    depth=1,
    token_width=4,
    channel_width=4,
)


def examples(counts=(3, 3)):
    """Return intensities, a shape, and a channel of measurements; classes differ in brightness."""
    targets = np.repeat(np.arange(len(counts)), counts)
    arrays = np.random.default_rng(0).normal(size=(len(targets), 3, 4, 4, 4)).astype(np.float32)
    arrays[:, 0] += 4 * targets[:, None, None, None]
    return Examples(arrays, targets, intensities=1, turned=2)


def run(work):
    steps = []
    while True:
        try:
            steps.append(next(work))
        except StopIteration as stop:
            return steps, stop.value


def test_steps_are_counted_over_all_networks():
    steps, fitted = run(iter_fit(CONFIG, examples(), FitSettings(steps=6, batch=8)))
    assert steps == [(n, 10) for n in range(1, 11)]  # two judges of 2 steps, and 6
    assert fitted.judged == 6
    assert not fitted.network.training


def test_a_single_example_of_a_class_leaves_the_temperature():
    steps, fitted = run(iter_fit(CONFIG, examples((1, 3)), FitSettings(steps=2, batch=8)))
    assert len(steps) == 2
    assert (fitted.temperature, fitted.judged) == (1, 0)


def test_a_seed_says_all_and_leaves_torch_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    weights = []
    for seed in (0, 0, 1):
        fit = FitSettings(steps=2, batch=8, folds=0, seed=seed)
        weights.append(run(iter_fit(CONFIG, examples(), fit))[1].network.head.weight)
    assert torch.rand(1) == expected
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_folds_share_out_each_class():
    targets = np.array([0] * 4 + [1] * 5)
    first, second = _folds(targets, FitSettings(folds=2))
    assert (first ^ second).all()
    assert first[:4].sum() == 2
    assert first[4:].sum() in (2, 3)


def test_plain_batches_hold_turned_examples_and_what_is_measured_stays():
    given = examples()
    plain = FitSettings(batch=8, mixup=0, noise=0, unseen=0, smoothing=0, strange=0)
    volumes, targets = _Batches(given, plain, 2).draw()
    for volume, target in zip(volumes.numpy(), targets.numpy(), strict=True):
        (source,) = (
            n
            for n, a in enumerate(given.arrays)
            if np.array_equal(np.sort(a, None), np.sort(volume, None))
        )
        np.testing.assert_array_equal(volume[2], given.arrays[source, 2])
        assert target.tolist() == np.eye(2)[given.targets[source]].tolist()


def test_hidden_measurements_and_mixed_targets():
    mixed = FitSettings(batch=64, unseen=0.25, smoothing=0.1)
    volumes, targets = _Batches(examples(), mixed, 2).draw()
    hidden = [not part.any() for volume in volumes for part in (volume[:2], volume[2])]
    objects, measurements = hidden[::2], hidden[1::2]
    assert 8 <= sum(objects) <= 24
    assert 8 <= sum(measurements) <= 24
    assert not any(a and b for a, b in zip(objects, measurements, strict=True))
    np.testing.assert_allclose(targets.sum(dim=1), 1, atol=1e-6)
    assert targets.min() >= 0.05 - 1e-6


def test_rare_classes_are_drawn_as_often():
    plain = FitSettings(batch=400, mixup=0, smoothing=0, strange=0)
    _, targets = _Batches(examples((1, 19)), plain, 2).draw()
    assert 0.4 < float(targets[:, 0].mean()) < 0.6


def test_what_is_unlike_any_example_belongs_to_no_class():
    strange = FitSettings(batch=8, mixup=0, noise=0, unseen=0, smoothing=0, strange=0.25)
    _, targets = _Batches(examples(), strange, 2).draw()
    assert (targets == 0.5).all(dim=1).tolist() == [True] * 2 + [False] * 6


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 4}, {"folds": 1}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(SettingsError, match="give at least"):
        FitSettings(**wrong)
