"""From what the panel says to what is computed, without a window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels

from napari_asmlp.errors import AsmlpError, GridError, SettingsError, VolumeError
from napari_asmlp.grid import Region
from napari_asmlp.model import save_model
from napari_asmlp.pipeline import ClassifyProgress, classify
from napari_asmlp.viewer.classify.bars import percent
from napari_asmlp.viewer.classify.card import classifier_html
from napari_asmlp.viewer.classify.lesson import Lesson
from napari_asmlp.viewer.classify.request import (
    OBJECTS,
    REGION,
    WHOLE,
    Wish,
    progress_text,
    resolve,
    resolve_lesson,
    splitting,
)
from napari_asmlp.viewer.layers import source_view
from tests.viewer.classify.cells import cells, image_volume, labels_volume, model, scan

FILE = Path("model.safetensors")
OBJECT, SHAPE, VOLUME = (model(what).card for what in ("object", "mask", "volume"))


@pytest.fixture
def wish():
    return Wish(OBJECTS, scan(), cells(), None, FILE, OBJECT)


def result(job):
    work = job.start()
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("what", ["object", "mask", "volume"])
def test_objects_of_the_panel_are_those_of_python(tmp_path, wish, what):
    path = save_model(model(what), tmp_path / "model.safetensors")
    order = resolve(replace(wish, model=path, card=model(what).card))
    expected = classify(image_volume(), path, objects=labels_volume())
    assert [item.object for item in expected] == [1, 2, 3, 4, 5, 6]
    found = result(order.job())
    assert [replace(item, input="") for item in found] == [
        replace(item, input="") for item in expected
    ]


def test_a_volume_and_a_region_of_it_are_those_of_python(tmp_path, wish):
    path = save_model(model("volume"), tmp_path / "model.safetensors")
    wish = replace(wish, what=WHOLE, model=path, card=VOLUME)
    (expected,) = classify(image_volume(), path)
    assert result(resolve(wish).job()) == [replace(expected, input="scan")]
    region = Region((0, 0, 0), (6, 8, 9))
    order = resolve(replace(wish, what=REGION, region=region))
    assert order.settings.region == region
    assert resolve(replace(wish, region=region)).settings.region is None  # the whole is asked for


def test_a_shape_may_be_labels(tmp_path, wish):
    path = save_model(model("mask"), tmp_path / "model.safetensors")
    labels = cells()
    labels.data[labels.data > 0] = 1
    wish = replace(wish, what=WHOLE, image=labels, model=path, card=SHAPE)
    (item,) = result(resolve(wish).job())
    assert item.input == "cells"
    with pytest.raises(SettingsError, match="several values"):
        result(resolve(replace(wish, image=cells())).job())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "no model"),
        ({"labels": None}, "no labels"),
        ({"image": None}, "looks at intensities: choose an image"),
        ({"what": WHOLE}, "'object' classifies objects, not the whole image"),
        ({"what": REGION}, "classifies objects, not the region"),
        ({"what": WHOLE, "image": None, "card": VOLUME}, "no image"),
        ({"what": REGION, "card": VOLUME}, "scan: there is no region"),
    ],
)
def test_what_is_missing_is_said(wish, change, words):
    with pytest.raises(SettingsError, match=words):
        resolve(replace(wish, **change))


def test_another_grid_is_refused_by_both_names(wish):
    other = Labels(np.ones((4, 4, 4), np.uint8), name="others")
    with pytest.raises(GridError, match=r"'others'.*'scan'"):
        resolve(replace(wish, labels=other))
    with pytest.raises(GridError, match=r"'others'.*'scan'"):
        resolve_lesson(other, scan(), Lesson())


def test_labels_without_an_object_are_refused(wish):
    labels = cells()
    labels.data[:] = 0
    order = resolve(replace(wish, labels=labels, model=model()))
    with pytest.raises(VolumeError, match="cells: holds no object"):
        result(order.job())
    with pytest.raises(VolumeError, match="'cells' hold no object"):
        result(splitting(labels))


def test_why_is_a_map_around_the_object(wish):
    order = resolve(replace(wish, model=model()))
    items = result(order.job())
    volume = result(order.why(items[1]))
    assert items[1].object == 2
    assert volume.title == f"what spoke for {items[1].class_name}"
    rod = np.argwhere(labels_volume().array() == 2)
    world = np.linalg.inv(volume.grid.affine) @ labels_volume().grid.affine
    inside = (world @ np.column_stack([rod, np.ones(len(rod))]).T)[:3].T
    assert (inside >= 0).all()
    assert (inside < volume.grid.shape).all()


def test_edits_while_it_runs_change_nothing(wish):
    order = resolve(replace(wish, model=model()))
    work = order.job().start()
    next(work)
    assert next(work) == ClassifyProgress("classifying", 0, 6, 0.0)
    wish.labels.data[:] = 0
    assert next(work).done == 6


def test_a_deleted_example_is_named():
    labels = cells()
    source_view(labels)[source_view(labels) == 3] = 0
    lesson = Lesson().with_class("a").with_class("b").with_example(2, "a").with_example(3, "b")
    with pytest.raises(AsmlpError, match="object 3 of labels 'cells' is gone"):
        result(resolve_lesson(labels, scan(), lesson).job())


def test_pieces_become_objects():
    labels = cells()
    source_view(labels)[9:11, 12:14, 0] = 1  # a second piece of the first cube's label
    found = result(splitting(labels))
    assert found.shape == source_view(labels).shape
    assert found.max() == 7
    assert found[1, 1, 1] != found[9, 12, 0]
    assert source_view(labels)[9, 12, 0] == 1


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (ClassifyProgress("reading", 0, 0, 0.0), "reading"),
        (
            ClassifyProgress("classifying", 250, 1000, 4.0),
            "classifying, 250 of 1,000 · 12 s left",
        ),
        (ClassifyProgress("learning", 9, 9, 4.0), "learning, 9 of 9"),
    ],
)
def test_progress_in_words(progress, text):
    assert progress_text(progress) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.001, "< 1 %"), (0.414, "41 %"), (0.999, "> 99 %"), (1.0, "100 %")],
)
def test_percents(share, text):
    assert percent(share) == text


def test_a_card_in_a_few_lines():
    scores = {"roc_auc": {"value": 0.861, "interval": [0.8, 0.9]}, "accuracy": {"value": None}}
    html = classifier_html(replace(VOLUME, summary="A <b>", scores=scores))
    assert "A &lt;b&gt;" in html
    assert "round" in html
    assert "AUC&nbsp;0.86" in html
    assert "accuracy" not in html
