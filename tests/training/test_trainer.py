"""The loop: it learns, repeats itself, and goes on after being stopped."""

import shutil
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from napari_asmlp.errors import ModelError, OutputError, SettingsError
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled import COMPILERS
from napari_asmlp.training.recipe import Augmentation, Recipe
from napari_asmlp.training.samples import Sample
from napari_asmlp.training.trainer import TrainingRun
from napari_asmlp.training.validation import validate
from tests.blobs import ball
from tests.models import SMALL

RECIPE = Recipe(
    epochs=3,
    precision="fp32",
    validate_every=3,
    augmentation=Augmentation(flip_axes=(0,)),
    optimiser="adamw",
    ema=0,
)


@pytest.fixture(scope="module")
def samples():
    def sample(seed):
        image, labels = ball(seed)
        return Sample.of(f"ball {seed}", ((image - image.mean()) / image.std())[None], labels)

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


@pytest.mark.parametrize(
    "changes", [{}, {"optimiser": "muon", "muon_learning_rate": 0.05, "ema": 0.99}]
)
def test_it_learns(samples, tmp_path, changes):
    still = Augmentation(intensity=0)
    recipe = replace(RECIPE, epochs=60, learning_rate=1e-2, augmentation=still, **changes)
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


@pytest.mark.parametrize("changes", [{"ema": 0.8}, {"optimiser": "muon"}, {"patience": 5}])
def test_resuming_holds_for_all_that_has_a_state(samples, tmp_path, changes):
    recipe = replace(RECIPE, **changes)
    whole, _ = train(samples, tmp_path / "whole.pt", recipe)
    train(samples, tmp_path / "halves.pt", recipe, epochs=2)
    resumed, _ = train(samples, tmp_path / "halves.pt", recipe, resume=True)
    plain, _ = train(samples, tmp_path / "plain.pt")
    assert torch.equal(weights(whole), weights(resumed))
    assert ("patience" in changes) == torch.equal(weights(whole), weights(plain))


def test_the_average_is_what_is_shipped(samples, tmp_path):
    """The average a of weights w moves by a + (1 - d) * (w - a), where d begins with 2/11, 3/12."""
    recipe = replace(RECIPE, epochs=2, validate_every=1)
    seen = []

    class Watched(TrainingRun):
        def _descend(self, state, loss):
            super()._descend(state, loss)
            seen.append(weights(state.network).clone())

    network = new_network()
    run = Watched(replace(recipe, ema=0.75), (16, 16, 16), samples[:3], [], tmp_path / "c.pt")
    list(run(network))
    expected = seen[0]
    for decay, later in zip((2 / 11, 3 / 12, 4 / 13), seen[1:], strict=True):
        expected = decay * expected + (1 - decay) * later
    assert len(seen) == 4
    torch.testing.assert_close(weights(network), expected)


def test_patience_stops_and_ships_the_best(samples, tmp_path, monkeypatch):
    """Dice 0.3, 0.6, 0.5, 0.6, ...: the second epoch is the best, and two more are waited for."""
    found, scored = iter([0.3, 0.6, 0.5, 0.6, 0.9]), []

    def scores(network, _samples, _regions):
        scored.append(weights(network).clone())
        return {1: next(found)}

    monkeypatch.setattr("napari_asmlp.training.trainer.validate", scores)
    recipe = replace(RECIPE, epochs=9, validate_every=1, patience=2)
    network, progress = train(samples, tmp_path / "c.pt", recipe)
    assert [p.dice[1] for p in progress] == [0.3, 0.6, 0.5, 0.6]
    assert torch.equal(weights(network), scored[1])
    again, rest = train(samples, tmp_path / "c.pt", recipe, resume=True)
    assert not rest and torch.equal(weights(again), scored[1])


def test_patience_waits_for_scores(samples, tmp_path, monkeypatch):
    """Scored every second epoch: one epoch without a score is none without a better Dice."""
    found = iter([0.3, 0.6, 0.5])
    monkeypatch.setattr("napari_asmlp.training.trainer.validate", lambda *_: {1: next(found)})
    recipe = replace(RECIPE, epochs=9, validate_every=2, patience=1)
    _, progress = train(samples, tmp_path / "c.pt", recipe)
    assert [p.dice and p.dice[1] for p in progress] == [None, 0.3, None, 0.6, None, 0.5]


def test_epochs_count_on_when_cases_come(samples, tmp_path):
    recipe = replace(RECIPE, epochs=4, batch_size=1)
    steps = TrainingRun(recipe, (16, 16, 16), samples[:1], [], tmp_path / "c.pt")(new_network())
    assert [next(steps).epoch for _ in range(3)] == [1, 2, 3]
    steps.close()
    run = TrainingRun(recipe, (16, 16, 16), samples[:2], [], tmp_path / "c.pt", resume=True)
    assert [step.epoch for step in run(new_network())] == [4, 5, 6]


def test_a_checkpoint_that_cannot_be_written_is_said(samples, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        with pytest.raises(OutputError, match=r"c\.pt: cannot be written"):
            train(samples, tmp_path / "c.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_the_history_says_what_happened(samples, tmp_path):
    _, progress = train(samples, tmp_path / "c.pt")
    rows = progress[-1].history
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["lr"] for row in rows] == sorted((row["lr"] for row in rows), reverse=True)
    assert rows[0]["dice"] is None and set(rows[2]["dice"]) == {"1", "2"}


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


def test_a_checkpoint_of_other_labels_is_refused_in_one_line(samples, tmp_path):
    train(samples, tmp_path / "c.pt", epochs=1)
    network = Asmlp(replace(SMALL, out_channels=4))
    run = TrainingRun(RECIPE, (16, 16, 16), samples, [], tmp_path / "c.pt", "cpu", resume=True)
    with pytest.raises(ModelError, match=r"c\.pt: not a checkpoint of this network: ") as error:
        next(run(network))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


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

    large = np.zeros((140, 16, 16), np.uint8)  # more than one window
    large[100:139, 3:9, 4:7], large[2:20] = 1, 2
    known = [replace(s, image=s.classes[None].astype(np.float32)) for s in samples[:2]]
    known.append(Sample.of("large", large[None].astype(np.float32), large))
    network = Knows().train()
    assert validate(network, known) == {1: 1.0, 2: 1.0}
    assert network.training


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler here")
def test_compiled_steps_learn_the_same(samples, tmp_path):
    eager, _ = train(samples, tmp_path / "a.pt")
    compiled, _ = train(samples, tmp_path / "b.pt", replace(RECIPE, compiled=True))
    torch.testing.assert_close(weights(compiled), weights(eager), rtol=0, atol=1e-3)
    assert not torch.equal(weights(compiled), weights(eager))


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler here")
def test_compiled_steps_keep_tokens_in_bf16_unless_asked_otherwise(samples, tmp_path):
    auto, half, full = (
        train(samples, tmp_path / name, replace(RECIPE, compiled=True, precision=name))[0]
        for name in ("auto", "bf16", "fp32")
    )
    assert torch.equal(weights(auto), weights(half))
    assert not torch.equal(weights(auto), weights(full))


def test_compiled_steps_are_for_an_asmlp(samples, tmp_path):
    run = TrainingRun(
        replace(RECIPE, compiled=True), (16, 16, 16), samples, [], tmp_path / "c.pt", "cpu"
    )
    with pytest.raises(SettingsError, match="compiled training is for an AS-MLP on a CPU"):
        next(run(nn.Conv3d(1, 3, 1)))
