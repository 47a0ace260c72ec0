"""Small models for tests: random weights, real files."""

import torch

from napari_asmlp.model import (
    Card,
    ClassEntry,
    ClassifierCard,
    ClassifierInput,
    Model,
    Preprocessing,
)
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.networks.mixer import Mixer, MixerConfig
from napari_asmlp.zoo import PALETTE, label_table

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


SMALL_MIXER = MixerConfig((8, 8, 8), 4, 2, width=6, depth=1, token_width=5, channel_width=7)


def small_classifier(config=SMALL_MIXER, seed=0, **changes):
    """Return a classifier of shapes, in two classes."""
    torch.manual_seed(seed)
    entries = {
        "name": "small",
        "summary": "for tests",
        "classes": (ClassEntry("round", PALETTE[0]), ClassEntry("long", PALETTE[1])),
        "network": config,
        "input": ClassifierInput("mask", thickness=True),
    }
    return Model(ClassifierCard(**entries | changes), Mixer(config).eval())
