"""Calibration and the order of doubts, by hand."""

import numpy as np
import pytest
from scipy.special import softmax

from napari_asmlp.calibration import (
    Reliability,
    RiskCoverage,
    VoxelSample,
    fit_temperature,
    tempered,
)


def test_tempering_divides_logits():
    logits = np.random.default_rng(0).normal(size=(3, 50)) * 4
    found = tempered(softmax(logits, axis=0), 2.5)
    np.testing.assert_allclose(found, softmax(logits / 2.5, axis=0), atol=1e-12)
    assert (found.argmax(0) == logits.argmax(0)).all()
    float32 = softmax(logits, axis=0).astype(np.float32)
    assert tempered(float32, 2.5).dtype == np.float32
    assert tempered(float32, 1.0) is float32


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_answers_were_drawn_with_is_found(temperature):
    """Truths drawn from softmax(logits / T)."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(3, 100_000)) * 2
    true = softmax(logits / temperature, axis=0)
    truth = (random.random(true.shape[1]) > true.cumsum(axis=0)).sum(axis=0).clip(max=2)
    found = fit_temperature(softmax(logits, axis=0).astype(np.float32), truth)
    assert found == pytest.approx(temperature, rel=0.03)


def test_probabilities_of_zero_do_no_harm():
    chances = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], np.float32)
    assert np.isfinite(fit_temperature(chances, np.array([0, 1, 1])))
    assert fit_temperature(np.empty((2, 0), np.float32), np.empty(0, int)) == 1.0


def test_the_calibration_error_by_hand():
    """Two in bin 12 (0.8 ... 0.867): confidence 0.81 + 0.85, one right; two in the last, right."""
    found = Reliability()
    assert found.error is None
    found.add(np.array([0.81, 0.95]), np.array([True, True]))
    found.add(np.array([0.85, 1.0]), np.array([False, True]))
    assert found.voxels == 4
    assert found.error == pytest.approx((abs(1.66 - 1) + abs(1.95 - 2)) / 4)


def test_the_area_under_the_curve_by_hand():
    """In the order right, wrong, right: risks 0, 1/2, 1/3."""
    found = RiskCoverage()
    assert found.area is None and found.risk is None
    found.add(np.array([9, 200], np.uint8), np.array([False, False]))
    found.add(np.array([77], np.uint8), np.array([True]))
    assert found.risk == pytest.approx(1 / 3)
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert found.least_area == pytest.approx((0 + 0 + 1 / 3) / 3)


def test_equal_uncertainties_have_no_order():
    """The mean over all orders of what is equal: here over 2000 drawn ones."""
    random = np.random.default_rng(2)
    levels = random.integers(0, 3, 40).astype(np.uint8)
    wrong = random.random(40) < 0.3
    found = RiskCoverage()
    found.add(levels, wrong)

    def area():
        order = np.lexsort((random.random(40), levels))
        return (wrong[order].cumsum() / np.arange(1, 41)).mean()

    assert found.area == pytest.approx(np.mean([area() for _ in range(2000)]), abs=0.005)


def test_without_errors_there_is_no_best_temperature():
    chances = np.array([[0.7, 0.2], [0.3, 0.8]])
    assert fit_temperature(chances, np.array([0, 1])) == 1.0
    assert fit_temperature(chances, np.array([1, 1])) > 1.0


def test_few_voxels_are_all_kept():
    sample = VoxelSample(2, 10)
    sample.add(np.array([[0.9, 0.4], [0.1, 0.6]], np.float32), np.array([0, 1]))
    sample.add(np.array([[0.3], [0.7]], np.float32), np.array([1]))
    assert sample.seen == 3
    np.testing.assert_array_equal(sample.truth, [0, 1, 1])
    np.testing.assert_allclose(sample.chances[0], [0.9, 0.4, 0.3])


def test_of_many_voxels_each_has_the_same_chance():
    """Voxel n of 20,000, in parts of uneven size: each quarter fills a quarter of the sample."""
    numbers, sample = np.arange(20_000), VoxelSample(1, 2000)
    for part in np.split(numbers, [50, 9000, 9001, 15_000]):
        sample.add(part[None].astype(np.float32), part)
    assert (sample.seen, sample.truth.size) == (20_000, 2000)
    np.testing.assert_array_equal(sample.chances[0], sample.truth)
    assert len(set(sample.truth.tolist())) == 2000
    quarters = np.bincount(sample.truth // 5000)
    assert quarters.min() > 430 and quarters.max() < 570  # 500, deviation 18
