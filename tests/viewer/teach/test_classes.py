"""Classes of an annotation layer, without a window."""

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.colours import colour_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.teach.classes import (
    BACKGROUND,
    add_class,
    background_of,
    classes_of,
    new_annotations,
    remove_class,
    rename,
    set_background,
)
from tests.viewer.teach.scans import SHAPE, scan, stroke


@pytest.fixture
def layer():
    return new_annotations(scan())


def values(layer):
    return [entry.value for entry in classes_of(layer)]


def test_new_annotations_have_a_background_of_their_own_and_a_brush(layer):
    assert source_view(layer).shape == SHAPE
    assert not layer.data.any()
    assert values(layer) == [BACKGROUND, 1]
    assert [entry.is_background for entry in classes_of(layer)] == [True, False]
    assert layer.selected_label == 1
    assert list(layer.features["name"]) == ["not annotated", "class 1", "background"]


def test_classes_are_added_in_free_values_and_colours(layer):
    assert [add_class(layer), add_class(layer)] == [2, 3]
    assert values(layer) == [BACKGROUND, 1, 2, 3]
    assert len({entry.colour for entry in classes_of(layer)}) == 4
    assert class_names(layer)[3] == "class 3"
    assert add_class(layer, found=[4]) == 5  # 4 is painted, if it has no name


def test_names_are_given_once_and_0_stays_not_annotated(layer):
    rename(layer, 1, "cortex")
    assert class_names(layer) == {1: "cortex", BACKGROUND: "background"}
    assert layer.features["name"].iloc[0] == "not annotated"
    with pytest.raises(SettingsError, match="called 'background' already"):
        rename(layer, 1, "Background")
    with pytest.raises(SettingsError, match="needs a name"):
        rename(layer, 1, "  ")


def test_a_class_goes_with_its_voxels_and_undo_brings_those_back(layer):
    add_class(layer)
    stroke(layer, np.s_[1, 2, 3:6], 2)
    stroke(layer, np.s_[1, 2, 8], 1)
    remove_class(layer, 2)
    assert values(layer) == [BACKGROUND, 1]
    assert np.count_nonzero(layer.data) == 1
    layer.undo()
    assert np.count_nonzero(layer.data == 2) == 3


def test_any_class_may_mean_background_or_none(layer):
    set_background(layer, 1)
    assert background_of(layer) == 1
    assert values(layer) == [1, BACKGROUND]
    set_background(layer, None)
    assert background_of(layer) is None
    assert not any(entry.is_background for entry in classes_of(layer))


def test_labels_painted_elsewhere_have_the_background_of_that_name(layer):
    layer.metadata.clear()
    layer.features = {"index": [0, 3, 4], "name": ["background", "tumour", "background"]}
    assert background_of(layer) == 4
    layer.features = {"index": [0, 3], "name": ["background", "tumour"]}
    assert background_of(layer) is None


def test_colours_are_those_of_a_model_file(layer):
    entry = classes_of(layer)[1]
    assert entry.label.colour == "#e69f00"
    assert colour_of(layer, 1)[:3] == pytest.approx(entry.colour)
