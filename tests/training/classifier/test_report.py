"""Scores of classifiers on tables that can be checked by eye."""

import numpy as np
import pytest
from sklearn import metrics

from napari_asmlp.training.classifier import calibration_error, report, score_classes

# Four normal cases and two with a mass; the chance of a mass.
MASS = np.array([0.1, 0.2, 0.3, 0.7, 0.4, 0.9])
TRUTH = np.array([0, 0, 0, 0, 1, 1])
CHANCES = np.stack([1 - MASS, MASS], axis=1)


def test_scores_of_two_classes():
    """Of 8 pairs of a mass and a normal case one is the wrong way round; 4 of 6 are right."""
    found = score_classes(CHANCES, TRUTH, ["normal", "mass"], "by hand")
    assert found["cases"] == 6
    assert found["how"] == "by hand"
    assert found["roc_auc"]["value"] == pytest.approx(7 / 8)
    assert found["accuracy"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    assert found["balanced_accuracy"]["value"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["confusion"] == {
        "normal": {"normal": 3, "mass": 1},
        "mass": {"normal": 1, "mass": 1},
    }


def test_intervals_hold_the_value_and_shrink_with_more_cases():
    few = score_classes(CHANCES, TRUTH, ["n", "m"])["accuracy"]
    many = score_classes(np.tile(CHANCES, (50, 1)), np.tile(TRUTH, 50), ["n", "m"])["accuracy"]
    for one in (few, many):
        assert one["interval"][0] < one["value"] < one["interval"][1]
    # 1.96 standard errors of a share of 2/3 among 300, on either side
    assert np.ptp(many["interval"]) == pytest.approx(2 * 1.96 * np.sqrt(2 / 9 / 300), rel=0.15)
    assert np.ptp(many["interval"]) < np.ptp(few["interval"]) / 4


def test_the_calibration_error_is_the_distance_of_confidence_and_share_of_right():
    """Four of confidence 0.7, of which three are right; one of 0.9, which is right."""
    chances = np.array([[0.7, 0.3]] * 4 + [[0.1, 0.9]])
    found = calibration_error(chances, np.array([0, 0, 0, 1, 1]))
    assert found == pytest.approx((4 * 0.05 + 0.1) / 5)


def test_three_classes_are_each_against_the_rest():
    chances = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])
    found = score_classes(chances, np.array([0, 1, 2, 1]), ["a", "b", "c"])
    # a: 0.8 against 0.1, 0.1, 0.6; b: {0.8, 0.3} against 0.1, 0.1; c: 0.8 against 0.1
    assert found["roc_auc"]["value"] == 1.0
    assert found["accuracy"]["value"] == 0.75
    assert found["balanced_accuracy"]["value"] == pytest.approx((1 + 0.5 + 1) / 3, abs=1e-4)


def test_one_class_among_the_cases_has_no_curve():
    found = score_classes(CHANCES[:4], TRUTH[:4], ["n", "m"])
    assert found["roc_auc"] is None
    assert found["balanced_accuracy"] is None
    assert found["accuracy"]["value"] == 0.75


@pytest.mark.parametrize("classes", [2, 3])
def test_resampled_measures_are_those_of_the_cases_written_out(classes):
    random = np.random.default_rng(0)
    chances = random.dirichlet(np.ones(classes), 40).round(1)
    chances[:, 0] += 1 - chances.sum(axis=1)
    truth, counts = random.integers(classes, size=40), random.integers(4, size=40)
    rows = np.repeat(np.arange(40), counts)
    written = chances[rows] if classes > 2 else chances[rows, 1]
    chosen = chances.argmax(axis=1)[rows]
    expected = (
        metrics.roc_auc_score(truth[rows], written, multi_class="ovr"),
        metrics.accuracy_score(truth[rows], chosen),
        metrics.balanced_accuracy_score(truth[rows], chosen),
    )
    found = report._Resampled(chances, truth).measures(counts.astype(float))
    assert found == pytest.approx(expected)
