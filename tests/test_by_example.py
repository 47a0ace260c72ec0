"""Objects taught by example: what is learnt, kept, refused, and saved."""

import numpy as np
import pytest

from napari_asmlp.errors import GridError, SettingsError
from napari_asmlp.grid import Grid
from napari_asmlp.model import load_model, save_model
from napari_asmlp.pipeline import ByExample, ByExampleSettings, classify
from napari_asmlp.pipeline.classification import finish
from napari_asmlp.training.by_example import FitSettings
from napari_asmlp.volume import Volume

FIT = FitSettings(steps=24, batch=16, folds=0, learning_rate=0.02)
QUICK = ByExampleSettings(size=8, width=8, depth=1, fit=FIT)
COUNT, SIDE = 12, 6


def scene():
    """Return labels 1 to 12 and an image: cubes in a row, odd ones bright and even ones dark."""
    labels = np.zeros((COUNT * SIDE, SIDE, SIDE), np.uint8)
    image = np.random.default_rng(0).normal(100, 1, labels.shape).astype(np.float32)
    for value in range(1, COUNT + 1):
        own = slice((value - 1) * SIDE + 1, value * SIDE - 1), slice(1, 5), slice(1, 5)
        labels[own] = value
        image[own] += 20 if value % 2 else -20
    grid = Grid(labels.shape, np.diag([1.0, 1, 1, 1]))
    return Volume(labels, grid, "labels", title="cells"), Volume(image, grid, title="scan")


EXAMPLES = {1: "bright", 2: "dark", 5: "bright", 6: "dark"}


def truth(value):
    return "bright" if value % 2 else "dark"


def test_the_others_follow_and_the_model_serves_elsewhere(tmp_path):
    labels, image = scene()
    lesson = ByExample(labels, image, QUICK)
    taught = finish(lesson.learn(EXAMPLES))
    assert [item.object for item in taught.items] == list(range(1, COUNT + 1))
    assert [item.class_name for item in taught.items] == [truth(v) for v in lesson.values]
    assert taught.model.card.class_names == ("bright", "dark")
    saved = load_model(save_model(taught.model, tmp_path / "cells.safetensors"))
    again = classify(image, saved, objects=labels)
    assert [item.class_name for item in again] == [item.class_name for item in taught.items]
    for one, other in zip(again, taught.items, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=2e-2)


def test_the_same_examples_teach_the_same():
    first, second = (finish(ByExample(*scene(), QUICK).learn(EXAMPLES)) for _ in range(2))
    assert first.items == second.items


def test_a_class_more_can_be_taught_later():
    lesson = ByExample(*scene(), QUICK)
    finish(lesson.learn(EXAMPLES))
    taught = finish(lesson.learn(EXAMPLES | {9: "odd"}))
    assert list(taught.items[0].probabilities) == ["bright", "dark", "odd"]


def test_progress_goes_through_all_stages_and_can_be_closed():
    lesson = ByExample(*scene(), QUICK)
    work = lesson.learn(EXAMPLES)
    stages = [next(work).stage for _ in range(3)]
    work.close()
    assert stages == ["measuring", "learning", "learning"]
    assert {step.stage for step in lesson.learn(EXAMPLES)} == {"learning", "classifying"}


def test_without_an_image_the_shape_counts():
    labels, _ = scene()
    array = labels.array().copy()
    array[:, 2:, :][array[:, 2:, :] % 2 == 1] = 0  # odd ones become flat
    taught = finish(
        ByExample(Volume(array, labels.grid, "labels"), None, QUICK).learn(
            {1: "flat", 2: "cube", 3: "flat", 4: "cube"}
        )
    )
    assert taught.model.card.input.what == "mask"
    expected = ["flat" if v % 2 else "cube" for v in range(1, COUNT + 1)]
    assert [item.class_name for item in taught.items] == expected


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ({}, "there is none"),
        ({1: "bright", 3: "bright"}, "all 2 are 'bright'"),
        ({1: "bright", 99: "dark"}, "no object of the value 99"),
        ({1: "bright", 2: " "}, "without a name"),
    ],
)
def test_examples_that_teach_nothing(examples, says):
    with pytest.raises(SettingsError, match=says):
        next(ByExample(*scene(), QUICK).learn(examples))


def test_another_grid():
    labels, image = scene()
    with pytest.raises(GridError, match="cells and moved"):
        ByExample(
            labels,
            Volume(image.data, Grid(image.grid.shape, np.eye(4) * [1, 1, 2, 1]), title="moved"),
        )
