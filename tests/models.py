"""Small models for tests: random weights, real files."""

import torch

from napari_asmlp.model import Card, Model, Preprocessing
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.zoo import label_table

SMALL = AsmlpConfig(out_channels=3, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,))


def small_model(config=SMALL, seed=0, **changes):
    """Return a model of two labels that says something else in every voxel."""
    torch.manual_seed(seed)
    entries = {
        "name": "small",
        "summary": "for tests",
        "labels": label_table(["front", "back"], [1, 2]),
        "network": config,
        "window": (16, 16, 16),
        "preprocessing": Preprocessing(),
    }
    return Model(Card(**entries | changes), Asmlp(config).eval())
