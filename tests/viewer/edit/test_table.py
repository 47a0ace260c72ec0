from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.colours import label_look
from napari_asmlp.viewer.edit.table import (
    class_names,
    forget,
    lock,
    locked_values,
    next_value,
    remember,
    rename,
    values_in,
)

NAMES = {1: "liver", 4: "spleen"}


@pytest.fixture
def layer():
    """One row of voxels: background, liver, spleen, and a label 7 that has no name."""
    return Labels(np.array([[[0, 1, 4, 7]]], np.uint8), name="mine", **label_look((), NAMES))


def status(layer, at):
    return layer.get_status((0, 0, at))["value"]


def test_a_new_name_is_in_the_status_bar(layer):
    rename(layer, 1, "  left   liver ")
    assert class_names(layer) == {1: "left liver", 4: "spleen"}
    assert status(layer, 1) == "1; name: left liver"


def test_a_label_without_a_name_gets_one(layer):
    rename(layer, 7, "cyst")
    assert class_names(layer) == {1: "liver", 4: "spleen", 7: "cyst"}
    assert status(layer, 3) == "7; name: cyst"
    assert status(layer, 2) == "4; name: spleen"


def test_a_layer_without_names_gets_its_first(layer):
    layer.features = {}
    rename(layer, 4, "spleen")
    assert class_names(layer) == {4: "spleen"}


def test_measures_stay_with_their_label(layer):
    layer.features = {"index": [4, 1], "ml": [40.0, 10.0], "name": ["spleen", "liver"]}
    rename(layer, 7, "cyst")
    table = layer.features
    assert list(table["index"]) == [0, 1, 4, 7]
    assert list(table["ml"])[1:3] == [10.0, 40.0]
    assert list(table["ml"].isna()) == [True, False, False, True]


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "'spleen' needs a name"), ("  ", "needs a name"), ("Liver", "label 1 is called 'liver'")],
)
def test_names_that_cannot_be_are_refused(layer, name, words):
    with pytest.raises(SettingsError, match=words):
        rename(layer, 4, name)
    assert class_names(layer) == NAMES


def test_a_label_may_keep_its_name_in_other_letters(layer):
    rename(layer, 1, "Liver")
    assert class_names(layer)[1] == "Liver"


def test_a_deleted_name_comes_back_with_its_voxels(layer):
    lock(layer, 4, on=True)
    forget(layer, 4)
    assert class_names(layer) == {1: "liver"}
    assert locked_values(layer) == frozenset()
    remember(layer, [1, 7])
    assert class_names(layer) == {1: "liver"}
    remember(layer, [1, 4])
    assert class_names(layer) == NAMES


def test_a_deleted_name_that_is_taken_meanwhile_does_not_come_back(layer):
    forget(layer, 4)
    rename(layer, 7, "spleen")
    remember(layer, [4])
    assert class_names(layer) == {1: "liver", 7: "spleen"}


@pytest.mark.parametrize(
    ("dtype", "used", "value"),
    [
        (np.uint8, (), 1),
        (np.uint8, {1, 4}, 5),
        (np.uint8, {1, 2, 255}, 3),  # the end is taken: the lowest that is free
        (np.int8, {127}, 1),
        (np.uint16, {255}, 256),
        (np.int32, {65_535}, 1),
    ],
)
def test_the_value_of_a_new_label(dtype, used, value):
    assert next_value(Labels(np.zeros((1, 1, 1), dtype)), used) == value


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 255), (np.int64, 65_535)])
def test_a_full_layer_takes_no_further_label(dtype, most):
    layer = Labels(np.zeros((1, 1, 1), dtype), name="full")
    with pytest.raises(SettingsError, match=f"'full' .* hold {most:,} at most: merge or delete"):
        next_value(layer, range(1, most + 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_the_values_of_an_array(dtype):
    array = np.array([[[0, 3], [1, 3]], [[0, 0], [9, 0]]], dtype)
    steps = values_in(array)
    assert [next(steps), next(steps)] == [None, None]
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == (1, 3, 9)


def test_values_that_are_no_labels_are_not_listed():
    *_, values = walk(values_in(np.array([[[-2, 70_000, 5]]])))
    assert values == (5,)


def walk(steps):
    yield (yield from steps)


def test_class_names(layer):
    assert class_names(layer) == NAMES
    layer.features = {"index": [1], "volume": [3.0]}
    assert class_names(layer) == {}
