"""Who moves which weights, and how fast."""

import pytest

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.training.optimisers import make_optimisers, set_rates
from napari_asmlp.training.recipe import Recipe
from tests.models import SMALL


def owned(optimiser):
    return [id(weight) for group in optimiser.param_groups for weight in group["params"]]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_weight_has_one_optimiser(name):
    network = Asmlp(SMALL)
    found = [i for o in make_optimisers(network, Recipe(optimiser=name)) for i in owned(o)]
    assert sorted(found) == sorted(id(weight) for weight in network.parameters())


def test_muon_takes_the_matrices_between_hidden_channels():
    network = Asmlp(SMALL)
    adamw, muon = make_optimisers(network, Recipe(optimiser="muon", muon_learning_rate=0.05))
    names = {id(weight): name for name, weight in network.named_parameters()}
    taken = {names[i] for i in owned(muon)}
    assert "merging.0.reduction.weight" in taken and "encoder.0.0.mlp.0.weight" in taken
    assert not [name for name in taken if name.startswith(("head", "embedding"))]
    assert not [name for name in taken if name.endswith("bias") or "norm" in name]
    set_rates([adamw, muon], 0.0, 0.5)
    assert muon.param_groups[0]["lr"] == pytest.approx(0.025)
    assert adamw.param_groups[0]["lr"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("done", "expected"), [(0.0, 0.01), (0.05, 0.507), (0.5, 0.5), (1.0, 0.0), (1.2, 0.0)]
)
def test_rates_rise_and_fall(done, expected):
    """Warm-up over a tenth, from a hundredth; then half a cosine."""
    optimisers = make_optimisers(Asmlp(SMALL), Recipe(learning_rate=1.0))
    assert set_rates(optimisers, 0.1, done) == pytest.approx(expected, abs=0.003)
