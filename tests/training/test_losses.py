"""The loss by hand."""

import math

import pytest
import torch

from napari_asmlp.training.losses import IGNORE, segmentation_loss, token_loss, token_shares


def logits_of(classes, certainty):
    onehot = torch.nn.functional.one_hot(classes.clamp(min=0), 3).permute(0, 4, 1, 2, 3)
    return certainty * onehot.float()


CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0]).reshape(1, 2, 2, 2)


def test_a_certain_right_answer_costs_nothing():
    assert segmentation_loss(logits_of(CLASSES, 50.0), CLASSES) == pytest.approx(0, abs=1e-6)


def test_no_answer_costs_what_the_formula_says():
    """p = 1/3 everywhere: classes 1 and 2 have Dice (2 * 2/3 + 1) / (8/3 + 2 + 1)."""
    expected = math.log(3) + 1 - (4 / 3 + 1) / (14 / 3 + 1)
    assert segmentation_loss(torch.zeros(1, 3, 2, 2, 2), CLASSES) == pytest.approx(expected)


def test_voxels_nobody_annotated_do_not_count():
    partly = CLASSES.clone()
    partly[0, 0, 0] = IGNORE
    logits = logits_of(CLASSES, 1.0).requires_grad_()
    segmentation_loss(logits, partly).backward()
    assert (logits.grad[0, :, 0, 0] == 0).all()
    assert (logits.grad[0, :, 1, 1] != 0).any()
    changed = logits.detach().clone()
    changed[0, :, 0, 0] = 7 * torch.randn(3, 2)
    torch.testing.assert_close(
        segmentation_loss(changed, partly), segmentation_loss(logits.detach(), partly)
    )


def test_shares_are_of_the_voxels_of_a_token():
    classes = torch.zeros(1, 2, 2, 4, dtype=torch.long)
    classes[..., 2:] = 1
    classes[0, 0, 0, 3] = 2
    shares = token_shares(classes, 3, 2)
    assert shares.shape == (1, 3, 1, 1, 2)
    assert shares[0, :, 0, 0].T.tolist() == [[1, 0, 0], [0, 0.875, 0.125]]


def test_a_sure_and_right_network_has_no_token_loss_and_unknown_tokens_do_not_count():
    shares = torch.zeros(1, 2, 1, 1, 3)
    shares[0, 0, 0, 0, 0] = shares[0, 1, 0, 0, 1] = 1  # the third token is nobody's
    logits = 20 * shares
    logits[0, 0, 0, 0, 2] = 50
    assert token_loss(logits, shares) == pytest.approx(0, abs=1e-4)
    assert token_loss(-logits, shares) > 10
