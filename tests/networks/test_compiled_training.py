"""Compiled training gives the logits and gradients of autograd through the network itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_asmlp.errors import AsmlpError, ModelError
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.networks.compiled_training import (
    CompiledTraining,
    is_trainable,
    training_library,
)
from tests.networks.test_folded import GROUP, OURS, PORT, random_network

try:
    training_library()
    reason = ""
except AsmlpError as error:
    reason = str(error)
needs_compiler = pytest.mark.skipif(bool(reason), reason=reason)

# Widths below, at and above the 16 numbers of a vector, odd ones, and other shifts
WIDE = AsmlpConfig(1, 3, widths=(16, 24), encoder_blocks=(1, 1), decoder_blocks=(1,))
ODD = AsmlpConfig(
    1, 2, widths=(7, 9, 11), encoder_blocks=(2, 1, 1), decoder_blocks=(1, 1), shift_size=3
)
CONFIGS = {
    "ours": OURS,
    "wide": WIDE,
    "odd": ODD,
    "even shift": replace(ODD, shift_size=4),
    "no shift": replace(WIDE, shift_size=1),
    "patches": replace(WIDE, patch_size=2, stem_size=4),
}
Network = Callable[[Tensor], Tensor]


def gradients(network: Asmlp, logits_of: Network, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Logits, and gradients of all parameters and the volume, for a random one of the logits."""
    generator = torch.Generator().manual_seed(1)
    volume = torch.randn(2, network.config.in_channels, *shape, generator=generator)
    volume.requires_grad_()
    network.zero_grad()
    logits = logits_of(volume).float()
    logits.backward(torch.randn(logits.shape, generator=generator))
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    assert len(found) == len(list(network.parameters()))
    assert volume.grad is not None
    return {"logits": logits.detach(), "volume": volume.grad, **found}


def autocast(network: Asmlp) -> Network:
    """The network in bfloat16 as torch has it."""

    def logits_of(volume: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = network(volume)
        return logits

    return logits_of


@needs_compiler
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 4, 70), (3, 40, 4)])
def test_same_gradients(config: AsmlpConfig, shape: tuple[int, int, int]) -> None:
    network = random_network(config)
    expected = gradients(network, network, shape)
    got = gradients(network, CompiledTraining(network, torch.float32), shape)
    for name, value in expected.items():
        largest = float(value.abs().max())
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-4 * largest, msg=name)


@needs_compiler
@pytest.mark.parametrize("config", [OURS, WIDE, ODD])
def test_in_bfloat16_it_is_nearer_than_autocast(config: AsmlpConfig) -> None:
    network, shape = random_network(config), (8, 12, 16)
    exact = gradients(network, network, shape)
    ours = gradients(network, CompiledTraining(network, torch.bfloat16), shape)
    torchs = gradients(network, autocast(network), shape)
    errors = [
        sum(float((got[name] - value).norm() / value.norm()) for name, value in exact.items())
        for got in (ours, torchs)
    ]
    assert errors[0] < errors[1]
    for name, value in exact.items():  # one by one, rounding has its luck
        ours_off, torchs_off = ((got[name] - value).norm() for got in (ours, torchs))
        assert ours_off < 1.5 * torchs_off + 0.02 * value.norm(), name


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_again_for_a_number_of_threads(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(OURS)
    trained = CompiledTraining(network, dtype)
    alone = gradients(network, trained, (8, 16, 16))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    first, second = (gradients(network, trained, (8, 16, 16)) for _ in range(2))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-4 * float(value.norm()))


@needs_compiler
def test_a_training_goes_the_same_way() -> None:
    config = replace(WIDE, shift_size=5)
    volumes, classes = torch.randn(4, 2, 1, 8, 8, 8), torch.randint(0, 3, (4, 2, 8, 8, 8))

    def losses(dtype: torch.dtype | None) -> Tensor:
        torch.manual_seed(0)
        network = Asmlp(config)
        logits_of: Network = network if dtype is None else CompiledTraining(network, dtype)
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
        seen = []
        for step in range(30):
            logits = logits_of(volumes[step % 4]).float()
            loss = torch.nn.functional.cross_entropy(logits, classes[step % 4])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen.append(float(loss.detach()))
        return torch.tensor(seen)

    expected = losses(None)
    assert expected[-4:].mean() < expected[:4].mean() - 0.02
    torch.testing.assert_close(losses(torch.float32), expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(losses(torch.bfloat16), expected, rtol=0.02, atol=0)


@needs_compiler
def test_autocast_around_it_changes_nothing() -> None:
    network = random_network(WIDE)
    trained, volume = CompiledTraining(network, torch.float32), torch.randn(1, 1, 6, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        inside = trained(volume)
    assert torch.equal(inside, trained(volume))


@needs_compiler
def test_not_a_number_stays_one() -> None:
    network = random_network(WIDE)
    with torch.no_grad():
        network.encoder[0][0].mlp[0].weight[0, 0] = torch.nan
    assert CompiledTraining(network, torch.float32)(torch.zeros(1, 1, 4, 4, 4)).isnan().any()


@pytest.mark.parametrize("config", [PORT, *GROUP])
def test_other_networks_are_refused(config: AsmlpConfig) -> None:
    network = Asmlp(config)
    assert not is_trainable(network)
    with pytest.raises(ModelError, match="train without it"):
        CompiledTraining(network, torch.float32)
