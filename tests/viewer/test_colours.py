from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.colormaps.standardize_color import transform_color

from napari_asmlp.viewer.colours import label_look

from .conftest import ENTRIES


def layer_of(values, *args):
    return Labels(np.array(values, np.uint16).reshape(1, 1, -1), **label_look(*args))


def test_values_have_the_colours_of_the_table():
    layer = layer_of([0, 1, 2], ENTRIES)
    assert layer.get_color(1) == pytest.approx(transform_color("#e69f00")[0], abs=1e-3)
    assert layer.get_color(2) == pytest.approx(transform_color("#56b4e9")[0], abs=1e-3)
    assert layer.colormap.map(0)[3] == 0


def test_other_values_have_visible_colours_that_differ():
    layer = layer_of([3, 4, 5, 60000], ENTRIES)
    colours = [tuple(layer.get_color(value)) for value in (3, 4, 5, 60000)]
    assert len(set(colours)) == 4
    assert all(colour[3] == 1 for colour in colours)


def test_the_status_bar_knows_names():
    layer = layer_of([0, 1, 2], ENTRIES)
    assert layer.get_status((0, 0, 2))["value"] == "2; name: posterior"


def test_names_without_a_table():
    layer = layer_of([0, 9], (), {9: "lesion"})
    assert layer.get_status((0, 0, 1))["value"] == "9; name: lesion"
