"""The loss by hand."""

import math

import pytest
import torch

from napari_asmlp.training.dataset import IGNORED
from napari_asmlp.training.losses import (
    IGNORE,
    RegionLoss,
    segmentation_loss,
    token_loss,
    token_shares,
)
from napari_asmlp.training.trainer import labelled_loss


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


REGIONS = ((1, 2), (2,))


def test_regions_by_hand():
    """Whole is 4 of 8 voxels and inner 2; p = 1/2 everywhere."""
    loss = RegionLoss(REGIONS)
    dice = [(2 * 2 + 1) / (4 + 4 + 1), (2 * 1 + 1) / (4 + 2 + 1)]
    expected = math.log(2) + 1 - sum(dice) / 2
    nothing = torch.zeros(1, 2, 2, 2, 2)
    assert loss(nothing, nothing, CLASSES) == pytest.approx(expected)
    whole, inner = CLASSES > 0, CLASSES == 2
    sure = 100 * torch.stack([whole, inner], dim=1).float() - 50
    assert loss(nothing, sure, CLASSES) == pytest.approx(0, abs=1e-6)
    assert loss(nothing, -sure, CLASSES) > 10


@pytest.mark.parametrize("loss", [labelled_loss, RegionLoss(REGIONS)])
def test_ignored_classes_do_not_count(loss):
    classes = CLASSES.clone()
    classes[0, 0, 0] = IGNORED
    logits = torch.randn(1, 3 if loss is labelled_loss else 2, 2, 2, 2).requires_grad_()
    value = loss(logits, logits, classes)
    value.backward()
    assert (logits.grad[0, :, 0, 0] == 0).all() and (logits.grad[0, :, 1, 1] != 0).any()
    other = logits.detach().clone()
    other[0, :, 0, 0] = 7 * torch.randn(len(other[0]), 2)
    torch.testing.assert_close(loss(other, other, classes), value.detach())
    assert torch.isfinite(loss(other, other, torch.full_like(classes, IGNORED)))
