from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.colormaps.standardize_color import transform_color

from napari_asmlp.viewer.colours import (
    colour_of,
    fresh_colour,
    is_shown,
    label_look,
    recolour,
    show_labels,
)

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


def test_a_hidden_label_keeps_its_colour_and_the_others_theirs():
    layer = layer_of([0, 1, 2], ENTRIES)
    before = colour_of(layer, 1), colour_of(layer, 2)
    show_labels(layer, [1], on=False)
    assert not is_shown(layer, 1)
    assert layer.get_color(1)[3] == 0
    assert colour_of(layer, 2) == before[1]
    recolour(layer, 1, (0.0, 1.0, 0.0, 1.0))
    assert not is_shown(layer, 1)
    show_labels(layer, [1], on=True)
    assert colour_of(layer, 1) == (0.0, 1.0, 0.0, 1.0)


def test_a_layer_of_somebody_else_keeps_the_colours_of_the_other_labels():
    layer = Labels(np.array([[[0, 1, 2, 200]]], np.uint8))
    before = [tuple(layer.get_color(value)) for value in (1, 200)]
    recolour(layer, 2, (1.0, 0.0, 0.0, 1.0))
    assert [tuple(layer.get_color(value)) for value in (1, 200)] == before
    assert tuple(layer.get_color(2)) == (1, 0, 0, 1)
    assert layer.colormap.map(0)[3] == 0


def test_only_the_selected_label_stays_shown_while_colours_change():
    layer = layer_of([0, 1, 2], ENTRIES)
    layer.show_selected_label = True
    recolour(layer, 2, (1.0, 0.0, 0.0, 1.0))
    assert layer.colormap.map(2)[3] == 0
    assert layer.colormap.map(1)[3] == 1


def test_a_fresh_colour_is_nobody_elses():
    layer = layer_of([0, 1, 2], ENTRIES)
    fresh = fresh_colour(layer, (1, 2))
    assert fresh[:3] not in (colour_of(layer, 1)[:3], colour_of(layer, 2)[:3])
    assert fresh == pytest.approx(transform_color("#009e73")[0], abs=1e-3)
