"""The folded network gives the logits of the one it was made from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from napari_asmlp.networks import folded, tiles
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.networks.folded import FoldedAsmlp
from napari_asmlp.networks.shift import axial_shift
from napari_asmlp.networks.tiles import shift_into

OURS = AsmlpConfig(2, 3, widths=(8, 12, 16), encoder_blocks=(1, 2, 1), decoder_blocks=(1, 1))
PORT = AsmlpConfig(
    1, 2, 2, 2, (6, 12), (1, 1), (2,), shift_size=3, norm="layer", decoder="upsample"
)
GROUP = [replace(config, norm="group") for config in (OURS, PORT)]


def random_network(config: AsmlpConfig) -> Asmlp:
    """A network none of whose parameters is a neutral 0 or 1."""
    torch.manual_seed(0)
    network = Asmlp(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return network.eval()


@pytest.fixture(params=[1, 3, 1000])
def planes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many planes a tile holds."""
    for module in (folded, tiles):
        monkeypatch.setattr(module, "tile_planes", lambda _tokens: request.param)
    return request.param


@pytest.mark.parametrize(
    "config", [OURS, PORT, replace(OURS, shift_size=1), replace(OURS, shift_size=4), *GROUP]
)
def test_same_logits_however_many_planes_a_tile_holds(config: AsmlpConfig, planes: int) -> None:
    network = random_network(config)
    volume = torch.randn(2, config.in_channels, 12, 7, 9)
    with torch.inference_mode():
        expected = network(volume)
        got = FoldedAsmlp(network)(volume)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_in_bfloat16_it_differs_by_rounding_only() -> None:
    network = random_network(OURS)
    volume = torch.randn(1, 2, 8, 8, 8)
    with torch.inference_mode():
        expected = network(volume)
        got = FoldedAsmlp(network).to(torch.bfloat16)(volume)
    assert got.dtype == torch.bfloat16
    assert float((got - expected).abs().mean() / expected.std()) < 0.03


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("core", [slice(0, 2), slice(1, 4), slice(0, 5), slice(4, 5)])
def test_shift_of_a_tile_is_that_of_the_volume(axis: int, core: slice) -> None:
    hidden = torch.arange(6.0 * 5 * 3 * 4).view(6, 5, 3, 4) + 1
    whole = axial_shift(hidden.permute(1, 2, 3, 0)[None], axis + 1, 5)[0].permute(3, 0, 1, 2)
    out = torch.full((6, core.stop - core.start, 3, 4), -1.0)
    shift_into(out, hidden, core, axis, 5)
    assert torch.equal(out, whole[:, core])


def test_it_does_not_touch_its_source() -> None:
    network, volume = random_network(OURS), torch.randn(1, 2, 8, 8, 8)
    before: dict[str, Tensor] = {k: v.clone() for k, v in network.state_dict().items()}
    seen = volume.clone()
    with torch.inference_mode():
        FoldedAsmlp(network).to(torch.bfloat16)(volume)
    assert torch.equal(seen, volume)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert isinstance(network, nn.Module)
