"""The AS-MLP: shapes, locality, what it is made of, and the exact rewrites it relies on."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_asmlp.errors import ModelError
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig, WindowNorm, upsample

SMALL = AsmlpConfig(
    out_channels=3, widths=(4, 6, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1)
)
PORT = replace(SMALL, norm="group", decoder="upsample", stem_size=1)


@pytest.mark.parametrize("patch_size", [1, 2, 4])
@pytest.mark.parametrize("base", [SMALL, PORT])
@pytest.mark.parametrize("units", [(1, 1, 1), (2, 1, 3)])
def test_logits_cover_the_window(patch_size, base, units):
    config = replace(base, patch_size=patch_size, stem_size=patch_size, in_channels=2)
    window = [unit * config.multiple_of for unit in units]
    logits = Asmlp(config)(torch.randn(1, 2, *window))
    assert logits.shape == (1, 3, *window)


def test_layer_norm_network_is_local():
    """A voxel changes nothing beyond the reach of shifts and stem, whatever the window."""
    torch.manual_seed(0)
    network = Asmlp(replace(SMALL, widths=(4,), encoder_blocks=(1,), decoder_blocks=())).eval()
    volume = torch.randn(1, 1, 16, 16, 16)
    changed = volume.clone()
    changed[..., 8, 8, 8] += 5
    with torch.inference_mode():
        difference = (network(volume) - network(changed)).abs().amax(dim=(0, 1))
    reached = difference.nonzero()
    assert reached.min() >= 8 - 3 and reached.max() <= 8 + 3  # stem 1, shift 2
    assert difference[8, 8, 8] > 0


def test_layer_norm_network_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    network = Asmlp(SMALL).eval()
    volumes = torch.randn(2, 1, 8, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(network(volumes)[1:], network(volumes[1:]))


def test_only_the_embedding_is_a_convolution():
    network = Asmlp(SMALL)
    kinds = {type(module) for module in network.modules() if not list(module.children())}
    assert kinds == {nn.Conv3d, nn.Linear, nn.LayerNorm, nn.GELU}
    convolutions = [name for name, m in network.named_modules() if isinstance(m, nn.Conv3d)]
    assert convolutions == ["embedding.projection"]


def test_window_norm_is_group_norm_of_one_group():
    tokens = torch.randn(2, 3, 4, 5, 6)
    ours, theirs = WindowNorm(6), nn.GroupNorm(1, 6)
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.arange(6.0))
            norm.bias.copy_(torch.arange(6.0) / 7)
    expected = theirs(tokens.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(ours(tokens), expected)


def test_a_linear_layer_commutes_with_upsampling():
    linear, tokens = nn.Linear(6, 2), torch.randn(1, 2, 3, 4, 6)
    torch.testing.assert_close(upsample(linear(tokens), 2), linear(upsample(tokens, 2)))


def test_gradients_reach_every_parameter():
    network = Asmlp(SMALL)
    functional.cross_entropy(
        network(torch.randn(1, 1, 8, 8, 8)), torch.zeros(1, 8, 8, 8, dtype=torch.long)
    ).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"patch_size": 3}, "patch_size 3"),
        ({"stem_size": 7}, "stem_size 7"),
        ({"widths": (4, 8)}, "2 widths"),
        ({"norm": "batch"}, "'batch'"),
        ({"shift_size": 0}, "shift_size"),
    ],
)
def test_a_network_that_cannot_be_is_refused(change, word):
    with pytest.raises(ModelError, match=word):
        replace(SMALL, **change)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8, 8), (1, 8, 8, 8)])
def test_input_that_does_not_fit_is_refused(shape):
    with pytest.raises(ModelError, match=r"\(B, 1, X, Y, Z\)"):
        Asmlp(SMALL)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(5, 8, 7), (4, 4, 9), (1, 3, 2)])
@torch.inference_mode()
def test_any_window_is_taken_as_if_padded_with_its_minimum(shape):
    torch.manual_seed(0)
    network, window = Asmlp(SMALL), torch.randn(1, 1, *shape)
    padded = torch.full((1, 1, *(-(-n // 4) * 4 for n in shape)), float(window.min()))
    x, y, z = shape
    padded[..., :x, :y, :z] = window
    torch.testing.assert_close(network(window), network(padded)[..., :x, :y, :z])
