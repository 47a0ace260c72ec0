"""The loop: it learns, repeats itself, and goes on after being stopped."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from napari_asmlp.errors import ModelError, SettingsError
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.training.dataset import Sample
from napari_asmlp.training.recipe import Augmentation, Recipe
from napari_asmlp.training.trainer import TrainingRun, validate
from tests.blobs import ball
from tests.models import SMALL

RECIPE = Recipe(
    epochs=3, precision="fp32", validate_every=3, augmentation=Augmentation(flip_axes=(0,))
)


@pytest.fixture(scope="module")
def samples():
    def sample(seed):
        image, labels = ball(seed)
        return Sample(f"ball {seed}", ((image - image.mean()) / image.std())[None], labels)

    return [sample(seed) for seed in range(6)]


def new_network(seed=0):
    torch.manual_seed(seed)
    return Asmlp(SMALL)


def train(samples, checkpoint, recipe=RECIPE, *, resume=False, epochs=None):
    """Train for some epochs (all by default) and return the network and its progress."""
    network = new_network()
    run = TrainingRun(recipe, (16, 16, 16), samples[:4], samples[4:], checkpoint, "cpu", resume)
    steps = run(network)
    progress = list(islice(steps, epochs))
    steps.close()
    return network, progress


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_it_learns(samples, tmp_path):
    still = Augmentation(intensity=0)
    recipe = replace(RECIPE, epochs=60, learning_rate=1e-2, augmentation=still)
    _, progress = train(samples, tmp_path / "c.pt", recipe)
    assert progress[-1].loss < 0.6 * progress[0].loss
    assert set(progress[-1].dice) == {1, 2}
    assert min(progress[-1].dice.values()) > 0.7
    assert progress[-1].fraction == 1


def test_the_same_seed_gives_the_same_weights(samples, tmp_path):
    first, _ = train(samples, tmp_path / "a.pt")
    again, _ = train(samples, tmp_path / "b.pt")
    other, _ = train(samples, tmp_path / "c.pt", replace(RECIPE, seed=1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_a_resumed_run_ends_where_an_undisturbed_one_does(samples, tmp_path):
    whole, _ = train(samples, tmp_path / "whole.pt")
    _, first = train(samples, tmp_path / "halves.pt", epochs=1)
    resumed, rest = train(samples, tmp_path / "halves.pt", resume=True)
    assert [p.epoch for p in first + rest] == [1, 2, 3]
    assert torch.equal(weights(whole), weights(resumed))


def test_progress_counts_steps_and_scores_at_the_end(samples, tmp_path):
    _, progress = train(samples, tmp_path / "c.pt")
    assert [p.step for p in progress] == [2, 4, 6]
    assert [p.dice is None for p in progress] == [True, True, False]
    assert progress[0].fraction == pytest.approx(1 / 3)


def test_a_time_limit_ends_the_run(samples, tmp_path):
    _, progress = train(samples, tmp_path / "c.pt", replace(RECIPE, minutes=1e-6))
    assert len(progress) == 1
    assert progress[0].fraction == 1


def test_resuming_with_another_recipe_is_refused(samples, tmp_path):
    train(samples, tmp_path / "c.pt", epochs=1)
    with pytest.raises(SettingsError, match="another recipe"):
        train(samples, tmp_path / "c.pt", replace(RECIPE, seed=1), resume=True)
    with pytest.raises(ModelError, match="no such checkpoint"):
        train(samples, tmp_path / "absent.pt", resume=True)


def test_a_damaged_checkpoint_is_refused(samples, tmp_path):
    train(samples, tmp_path / "c.pt", epochs=1)
    content = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"c\.pt: not a whole PyTorch checkpoint"):
        train(samples, tmp_path / "c.pt", resume=True)


def test_an_exploding_loss_is_said(samples, tmp_path):
    broken = [replace(sample, image=sample.image * np.float32(np.nan)) for sample in samples]
    with pytest.raises(ModelError, match=r"the loss became nan at step 0"):
        train(broken, tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


def test_validation_scores_each_class(samples):
    class Knows(torch.nn.Module):
        """Answers with the classes, which it reads off the image."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, image):
            return -((image - torch.arange(3.0).reshape(1, 3, 1, 1, 1)) ** 2) * self.scale

    known = [replace(s, image=s.classes[None].astype(np.float32)) for s in samples[:2]]
    assert validate(Knows(), known) == {1: 1.0, 2: 1.0}
