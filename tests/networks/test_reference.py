"""Checkpoints of the public 3D port give its answers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_asmlp.errors import ModelError
from napari_asmlp.networks.reference import import_reference
from tests.networks.port import Port

SHARED = Path(__file__).parents[3] / "shared" / "data" / "reference_asmlp"


def scrambled(**sizes):
    """Return a port whose norms and biases are not the ones and zeros they start with."""
    torch.manual_seed(1)
    port = Port(**sizes).eval()
    with torch.no_grad():
        for parameter in port.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.5 + 0.5)
    return port


@pytest.mark.parametrize(
    ("sizes", "window"),
    [
        ({}, (32, 16, 16)),
        ({"channels": 2, "classes": 3, "dim": 6}, (16, 16, 32)),
        ({"patch": 2, "shift_size": 3}, (8, 24, 8)),
        ({"patch": 1, "dim": 4, "shift_size": 7, "depths": (1, 2)}, (6, 4, 8)),
        ({"patch": 4, "dim": 6, "depths": (2, 1, 1, 2), "shift_size": 5}, (32, 32, 32)),
        ({"patch": 2, "dim": 2, "depths": (1, 1, 1), "shift_size": 5}, (16, 8, 8)),
    ],
)
@torch.inference_mode()
def test_imported_network_answers_as_the_port_does(sizes, window):
    port = scrambled(**sizes)
    network = import_reference(port.state_dict(), sizes.get("shift_size", 5))
    volume = torch.randn(1, sizes.get("channels", 1), *window)
    torch.testing.assert_close(torch.sigmoid(network(volume)), port(volume), rtol=0, atol=1e-5)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the stored case does not lie beside the checkout")
@torch.inference_mode()
def test_stored_case_of_the_port():
    state = torch.load(SHARED / "weights.pt", weights_only=True)
    with np.load(SHARED / "case.npz") as case:
        volume, expected = torch.from_numpy(case["input"]), torch.from_numpy(case["probabilities"])
    found = torch.sigmoid(import_reference(state)(volume))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_prefix_of_data_parallel_training_is_ignored():
    state = {f"module.{key}": value for key, value in scrambled().state_dict().items()}
    assert import_reference(state).config.widths == (8, 16, 32)


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda s: {}, "not a Med_ASMLP checkpoint"),
        (lambda s: without(s, "patch_embed.norm.bias"), "embedding.norm.bias"),
        (lambda s: without(s, "head.0.bias"), "head"),
        (lambda s: {**s, "surprise.weight": torch.zeros(1)}, "surprise"),
        (lambda s: {**s, "dlayers.0.squeeze1.bias": torch.zeros(5)}, r"\(5,\)"),
        (lambda s: {**s, "epoch": 3}, "'epoch' holds int"),
    ],
)
def test_another_checkpoint_is_refused(change, word):
    with pytest.raises(ModelError, match=word):
        import_reference(change(scrambled().state_dict()))
