"""The pretrained network as a source of features."""

import numpy as np
import pytest
import torch

from napari_asmlp.grid import Grid
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.teaching import encoder

CONFIG = AsmlpConfig(
    patch_size=2, stem_size=4, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)
)


def network():
    torch.manual_seed(0)
    return Asmlp(CONFIG).eval()


@pytest.mark.parametrize(
    ("spacing", "side"),
    [
        ((1, 1, 1.2), 2),  # a head
        ((0.5, 0.5, 3), 2),
        ((0.0002, 0.0002, 0.0005), 0.0002),  # cells
        ((10, 10, 10), 10),  # no unit anybody knows
    ],
)
def test_only_voxels_of_a_scanner_have_a_scale(spacing, side):
    grid = Grid((4, 4, 4), np.diag([*spacing, 1.0]))
    assert encoder.working_spacing(grid, 2.0) == pytest.approx((side, side, side))


def test_features_are_logits_and_then_normalised_tokens():
    plain = network()
    both = encoder.with_features(plain)
    volume = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        tokens, logits = both.token_logits(volume), plain.token_logits(volume)
    torch.testing.assert_close(tokens[:, :2], logits)
    assert tokens.shape == (1, 6, 4, 4, 4)
    weight, bias = plain.head[1].weight.detach(), plain.head[1].bias.detach()
    again = torch.einsum("bcxyz,kc->bkxyz", tokens[:, 2:], weight) + bias.reshape(1, -1, 1, 1, 1)
    torch.testing.assert_close(again, logits)


def test_pieces_give_what_the_whole_gives(monkeypatch):
    runs = encoder.Encoder(network())
    image = np.random.default_rng(0).standard_normal((70, 20, 9)).astype(np.float32)
    whole = runs.map(image, image.shape)
    assert whole.values.shape == (6, 36, 10, 6)
    monkeypatch.setattr(encoder, "_TILE", 16)
    pieces = runs.map(image, image.shape)
    torch.testing.assert_close(pieces.values, whole.values, atol=0.05, rtol=0.05)


def test_a_map_covers_the_volume_whatever_the_grid_of_the_network():
    runs = encoder.Encoder(network())
    image = np.zeros((10, 10, 10), np.float32)
    assert runs.map(image, (20, 10, 5)).size == (4.0, 2.0, 1.0)
