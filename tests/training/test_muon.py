from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_asmlp.training.muon import Muon, orthogonalised

SHAPES = ((6, 4), (4, 6), (4, 6), (5, 5))
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def descend(optimiser: torch.optim.Optimizer, mine: list[nn.Parameter], steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in mine:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimiser.step()


@pytest.mark.usefixtures("emulated_bf16")
@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_are_those_of_pytorch_but_for_its_rounding(nesterov: bool) -> None:
    ours, theirs = weights(), weights()
    descend(Muon(ours, lr=0.02, nesterov=nesterov), ours, steps=4)
    descend(torch.optim.Muon(theirs, lr=0.02, nesterov=nesterov), theirs, steps=4)
    for mine, other, start in zip(ours, theirs, weights(), strict=True):
        assert (mine - other).norm() < 0.02 * (other - start).norm()
        assert (mine - start).norm() > 0


@pytest.mark.usefixtures("emulated_bf16")
def test_a_state_that_was_saved_goes_on_to_the_bit() -> None:
    whole, parts = weights(), weights()
    first, second = Muon(whole, lr=0.02), Muon(parts, lr=0.02)
    descend(first, whole, steps=2)
    descend(second, parts, steps=2)
    resumed = Muon(parts, lr=0.5)
    resumed.load_state_dict(second.state_dict())
    descend(first, whole, steps=2)
    descend(resumed, parts, steps=2)
    for mine, other in zip(whole, parts, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.usefixtures("emulated_bf16")
def test_a_weight_without_a_gradient_stays() -> None:
    still, moved = weights()[:2]
    before = still.detach().clone()
    moved.grad = torch.ones_like(moved)
    Muon([still, moved], lr=0.1).step()
    assert torch.equal(still, before)


@pytest.mark.usefixtures("emulated_bf16")
def test_a_closure_is_called_with_gradients() -> None:
    (weight,) = weights()[:1]

    def loss() -> torch.Tensor:
        value = weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch's own signature is untyped
        return value

    assert Muon([weight], lr=0.1).step(loss).requires_grad


@pytest.mark.usefixtures("native_bf16")
def test_where_bf16_is_multiplied_it_is_that_of_pytorch() -> None:
    ours, theirs = weights(), weights()
    descend(Muon(ours, lr=0.02), ours, steps=2)
    descend(torch.optim.Muon(theirs, lr=0.02), theirs, steps=2)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 4, 6)])
def test_singular_values_come_near_one_whatever_the_scale(shape: tuple[int, int, int]) -> None:
    matrices = 1e3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = torch.linalg.svdvals(orthogonalised(matrices, COEFFICIENTS, 5, 1e-7))
    assert found.min() > 0.5
    assert found.max() < 1.3


def test_no_gradient_at_all_gives_no_step() -> None:
    assert not orthogonalised(torch.zeros(1, 3, 2), COEFFICIENTS, 5, 1e-7).any()
