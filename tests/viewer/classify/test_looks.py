"""Classes in features and colours: what is added, what stays, and that it all goes back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels

from napari_asmlp.pipeline import Item
from napari_asmlp.viewer.classify.book import Book
from napari_asmlp.viewer.classify.lesson import Lesson
from napari_asmlp.viewer.classify.looks import (
    Answer,
    classes_in,
    colour_as_before,
    colour_by_class,
    is_by_class,
    with_answers,
    write_answers,
)
from napari_asmlp.viewer.colours import colour_of, label_look, show_labels
from napari_asmlp.viewer.edit.table import class_names, rename

COLOURS = {"round": "#ff0000", "long": "#0000ff"}
RED, BLUE = (1, 0, 0, 1), (0, 0, 1, 1)
ANSWERS = {4: Answer("round", 0.75), 7: Answer("long")}


@pytest.fixture
def layer():
    """One row of voxels: background, liver, spleen, and a label 7 that has no name."""
    look = label_look((), {1: "liver", 4: "spleen"})
    return Labels(np.array([[[0, 1, 4, 7]]], np.uint8), name="mine", **look)


def test_classes_join_the_rows_of_their_label():
    table = pd.DataFrame({"index": [0, 1, 4], "name": ["background", "liver", "spleen"]})
    table["ml"] = [0.0, 1.5, 2.5]
    found = with_answers(table, ANSWERS)
    assert list(table.columns) == ["index", "name", "ml"]  # as it was
    assert list(found["index"]) == [0, 1, 4, 7]
    assert list(found["ml"])[:3] == [0.0, 1.5, 2.5]
    assert found["class"].fillna("").tolist() == ["", "", "round", "long"]
    assert found["confidence"].fillna(-1).tolist() == [-1, -1, 0.75, -1]


def test_later_answers_take_the_place_of_earlier_ones(layer):
    write_answers(layer, ANSWERS)
    write_answers(layer, {1: Answer("long", 0.6)})
    assert classes_in(layer) == {1: "long"}
    write_answers(layer, {})
    assert "class" not in layer.features.columns
    assert class_names(layer) == {1: "liver", 4: "spleen"}


def test_rows_without_an_index_belong_to_their_number(layer):
    layer.features = {"ml": [0.0, 1.5]}
    write_answers(layer, {1: Answer("long", 0.6), 4: Answer("round", 0.9)})
    assert layer.features["ml"].tolist()[:2] == [0.0, 1.5]
    assert classes_in(layer) == {1: "long", 4: "round"}


def test_the_status_bar_and_the_names_follow(layer):
    write_answers(layer, ANSWERS)
    assert layer.get_status((0, 0, 2))["value"].endswith("class: round, confidence: 0.75")
    assert class_names(layer) == {1: "liver", 4: "spleen"}
    rename(layer, 1, "lobe")
    assert classes_in(layer) == {4: "round", 7: "long"}  # 7 has no name


def test_colours_by_class_and_back(layer):
    show_labels(layer, [7], on=False)
    before = layer.colormap
    write_answers(layer, {**ANSWERS, 1: Answer("round", 0.5)})
    colour_by_class(layer, COLOURS)
    assert is_by_class(layer)
    assert colour_of(layer, 1) == colour_of(layer, 4) == RED
    assert colour_of(layer, 7) == (*BLUE[:3], 0)  # hidden as it was
    colour_by_class(layer, COLOURS)
    colour_as_before(layer)
    assert layer.colormap is before
    assert not is_by_class(layer)


def test_napari_s_own_colours_come_back():
    layer = Labels(np.array([[[0, 1, 200]]], np.uint8))
    before = [tuple(layer.get_color(value)) for value in (1, 200)]
    write_answers(layer, {1: Answer("round", 0.5)})
    colour_by_class(layer, COLOURS)
    assert tuple(layer.get_color(1)) == RED
    colour_as_before(layer)
    assert [tuple(layer.get_color(value)) for value in (1, 200)] == before


def test_the_selected_label_alone_stays_alone(layer):
    layer.selected_label = 4
    layer.show_selected_label = True
    write_answers(layer, ANSWERS)
    colour_by_class(layer, COLOURS)
    assert tuple(layer.colormap.map(4)) == RED
    assert layer.colormap.map(7)[3] == 0


def item(value, name):
    return Item("mine", value, name, {"round": 0.7, "long": 0.3})


def test_a_person_s_word_comes_before_a_model_s_and_one_step_goes_back(layer):
    book, before = Book(coloured=True), layer.colormap
    lesson = Lesson().with_class("round").with_class("long")
    book.change(layer, lesson=lesson, items={4: item(4, "round"), 7: item(7, "round")})
    assert book.of(layer).summary() == "2 objects: 2 round"
    book.change(layer, lesson=lesson.with_example(7, "long"))
    assert classes_in(layer) == {4: "round", 7: "long"}
    assert book.of(layer).title(7) == "Object 7 · round 70 % · you said long"
    assert layer.features.set_index("index")["confidence"].fillna(-1)[7] == -1
    assert book.back(layer)
    assert classes_in(layer) == {4: "round", 7: "round"}
    assert book.of(layer).lesson.examples == {}
    assert not book.back(layer)
    book.coloured = False
    book.show_colours(layer)
    assert layer.colormap is before


def test_the_first_step_back_gives_everything_back(layer):
    book, colormap, features = Book(coloured=True), layer.colormap, layer.features.copy()
    book.change(layer, items={4: item(4, "round")})
    assert book.back(layer)
    assert layer.colormap is colormap
    assert not is_by_class(layer)
    pd.testing.assert_frame_equal(layer.features, features)
