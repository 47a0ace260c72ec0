"""The loss of corrections, worked out by hand; and heads that are widened."""

import math

import pytest
import torch

from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.training.corrections import (
    FIRST,
    OUTSIDE,
    REST,
    CorrectionLoss,
    Outputs,
    kept_in_background,
    memory_loss,
    widened,
)
from napari_asmlp.training.losses import token_loss
from tests.models import SMALL

# The start model has background and labels 1 and 2; corrections hold 1 and the new label 3.
OUTPUTS = Outputs(3, 4, frozenset({1, 3}))


def voxels(*rows):
    """Return (1, K, N, 1, 1) of a row of K numbers for each of N voxels."""
    return torch.tensor(rows).T[None, :, :, None, None]


def test_what_is_absent_and_what_is_new():
    assert OUTPUTS.absent == [2]
    assert OUTPUTS.new == [3]


def test_background_keeps_only_labels_that_no_correction_names():
    truth = voxels([1.0, 0, 0, 0], [0.0, 1, 0, 0], [0.0, 0, 0, 0])  # background, 1, unknown
    before = voxels([0.2, 0.5, 0.3], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    kept = kept_in_background(truth, before, OUTPUTS.absent)
    expected = voxels([0.7, 0, 0.3, 0], [0.0, 1, 0, 0], [0.0, 0, 0, 0])
    torch.testing.assert_close(kept, expected)


@pytest.mark.parametrize(
    ("before", "now", "entropy"),
    [
        # background: it may be the new label
        ([1.0, 0, 0], [0.25, 0.25, 0.25, 0.25], math.log(2)),
        # a label that corrections hold: background, 1 and 3 are all open to it
        ([0.2, 0.8, 0], [0.25, 0.25, 0.25, 0.25], math.log(4 / 3)),
        # a label that none holds: it stays
        ([0.0, 0, 1.0], [0.25, 0.25, 0.25, 0.25], math.log(4)),
        ([0.0, 0.4, 0.6], [0.1, 0.2, 0.3, 0.4], -0.4 * math.log(0.2) - 0.6 * math.log(0.3)),
    ],
)
def test_what_the_start_model_says_where_nothing_was_corrected(before, now, entropy):
    rest = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    found = memory_loss(voxels(now).log(), voxels(before), rest, OUTPUTS)
    assert float(found) == pytest.approx(entropy, rel=1e-5)


def test_each_voxel_counts_for_what_is_known_of_it():
    logits = torch.randn(1, 4, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    before = voxels([0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7])
    classes = torch.tensor([OUTSIDE, REST, FIRST + 3]).view(1, 3, 1, 1)
    found = CorrectionLoss(OUTPUTS, lambda _: before.log())(logits, logits, classes)
    truth = voxels([0.0, 0, 0, 0], [0.0, 0, 0, 0], [0.0, 0, 0, 1])
    memory = memory_loss(logits[:, :, 1:2], before[:, :, 1:2], torch.tensor(True), OUTPUTS)
    torch.testing.assert_close(found, token_loss(logits, truth) + memory)
    forgetting = CorrectionLoss(OUTPUTS, None)(logits, logits, classes)
    torch.testing.assert_close(forgetting, token_loss(logits, truth))


def test_a_wider_head_says_the_same_of_what_it_knew():
    torch.manual_seed(0)
    network = Asmlp(SMALL).eval()
    wider = widened(network, 5).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    before, after = network(image).softmax(dim=1), wider(image).softmax(dim=1)
    torch.testing.assert_close(after[:, 1:3] / after[:, :1], before[:, 1:] / before[:, :1])
    torch.testing.assert_close(after[:, 3:], after[:, :1].expand(-1, 2, -1, -1, -1) * math.exp(-2))
    assert widened(network, 3).config == network.config
