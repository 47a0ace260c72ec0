"""What `models show` says of a card, whatever a file claims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_asmlp.cli.cards import describe
from tests.models import small_model

MEAN = {"dice": 0.91234, "hd95_mm": 1.5}


def lines(scores, calibration=None):
    model = small_model()
    card = replace(model.card, scores=scores, calibration=calibration or {})
    return [" ".join(line.split()) for line in describe(replace(model, card=card))]


def test_scores_of_each_label_and_their_mean():
    never_found = {"dice": None, "hd95_mm": None}
    said = lines({"cases": {"a": {}, "b": {}}, "mean": {"1": MEAN, "2": never_found, "all": MEAN}})
    assert "scores on 2 cases that the scored model had not seen" in said
    assert "front Dice 0.912, HD95 1.50 mm" in said
    assert "back Dice -, HD95 -" in said
    assert "mean Dice 0.912, HD95 1.50 mm" in said


@pytest.mark.parametrize(
    "scores",
    [
        {"mean": {"1": {"dice": "x", "hd95_mm": []}}},
        {"mean": {"1": {"dice": 0.9}}},
        {"mean": {"1": 3}},
        {"mean": 3, "cases": 5},
    ],
)
def test_odd_scores_are_passed_over(scores):
    said = lines(scores, {"ece_after": "x"})
    assert "calibration error - with temperature 1" in said
    assert not any("0.9" in line for line in said)
