"""The current image and labels follow napari's selection, by rules small enough to read."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_asmlp.viewer.current import current_of
from napari_asmlp.viewer.layers import PREVIEW_KEY, labels_on

HERE, THERE = (4, 5, 6), (3, 3, 3)  # two grids


@pytest.fixture
def viewer():
    """Two images of one grid with two labels layers, and an image of another with its labels."""
    viewer = ViewerModel()
    for name in ("t1", "t2"):
        viewer.add_image(np.zeros(HERE), name=name)
    viewer.add_image(np.zeros(THERE), name="ct")
    viewer.add_labels(np.zeros(THERE, np.uint8), name="organs")
    for name in ("old", "new"):
        viewer.add_labels(np.zeros(HERE, np.uint8), name=name)
    viewer.add_points(np.zeros((1, 3)), name="points")
    return viewer


def meant(viewer):
    current = current_of(viewer)
    return tuple(None if each is None else each.name for each in (current.image, current.labels))


def select(viewer, *names):
    viewer.layers.selection = {viewer.layers[name] for name in names}


@pytest.mark.parametrize(
    ("selections", "image", "labels"),
    [
        # labels bring the first image that they lie on
        ([["new"]], "t1", "new"),
        ([["old"]], "t1", "old"),
        ([["organs"]], "ct", "organs"),
        # an image brings the topmost labels on its grid
        ([["t2"]], "t2", "new"),
        ([["ct"]], "ct", "organs"),
        # what fits stays
        ([["old"], ["t2"]], "t2", "old"),
        ([["t2"], ["old"]], "t2", "old"),
        ([["old"], ["t2"], ["new"]], "t2", "new"),
        ([["old"], ["ct"]], "ct", "organs"),
        ([["old"], ["ct"], ["t2"]], "t2", "new"),
        # no layer, several, or one of another kind: all stays
        ([["old"], ["t2"], []], "t2", "old"),
        ([["old"], ["t2"], ["ct", "organs"]], "t2", "old"),
        ([["old"], ["t2"], ["points"]], "t2", "old"),
    ],
)
def test_they_follow_the_selection(viewer, selections, image, labels):
    for names in selections:
        select(viewer, *names)
        current_of(viewer)
    assert meant(viewer) == (image, labels)


@pytest.mark.parametrize(
    ("chosen", "active"),
    [
        ("t2", "old"),  # the brush stays in hand
        ("ct", "ct"),
        ("new", "new"),
    ],
)
def test_what_is_chosen_in_a_panel_is_selected_or_lies_beneath_what_is(viewer, chosen, active):
    select(viewer, "old")
    current = current_of(viewer)
    current.choose(viewer.layers[chosen])
    assert chosen in meant(viewer)
    assert viewer.layers.selection.active.name == active


@pytest.mark.parametrize(
    ("gone", "image", "labels"),
    [
        (["old"], "t1", "new"),
        (["old", "new"], "t1", "organs"),
        (["t1"], "t2", "old"),
        (["t1", "t2"], "ct", "old"),
        (["organs", "old", "new"], "t1", None),
        (["t1", "t2", "ct"], None, "old"),
    ],
)
def test_what_is_deleted_is_replaced_by_what_fits(viewer, gone, image, labels):
    select(viewer, "old")
    current_of(viewer)
    select(viewer, "points")  # napari selects a neighbour of a selected layer that goes
    for name in gone:
        viewer.layers.remove(name)
    assert meant(viewer) == (image, labels)


def test_a_viewer_that_is_emptied_has_neither_until_the_next_image():
    viewer = ViewerModel()
    assert meant(viewer) == (None, None)
    viewer.add_image(np.zeros(HERE), name="next")
    assert meant(viewer) == ("next", None)
    viewer.add_labels(np.zeros(HERE, np.uint8), name="labels")
    assert meant(viewer) == ("next", "labels")
    viewer.layers.clear()
    assert meant(viewer) == (None, None)


def test_labels_belong_to_the_image_they_were_drawn_on_though_another_has_its_grid():
    viewer = ViewerModel()
    patients = [viewer.add_image(np.zeros(HERE), name=name) for name in ("ann", "bob")]
    drawn = [viewer.add_layer(labels_on(each, np.zeros(HERE, np.uint8))) for each in patients]
    for layer in (drawn[1], drawn[0]):
        viewer.layers.selection.active = layer
        name = layer.name.removesuffix(" labels")
        assert meant(viewer) == (name, layer.name)
    viewer.layers.selection.active = patients[1]
    assert meant(viewer) == ("bob", "bob labels")
    opened = viewer.add_labels(np.zeros(HERE, np.uint8), name="opened")
    viewer.layers.selection.active = patients[0]
    assert meant(viewer) == ("ann", "opened")  # of nobody else: the brush may be in hand
    viewer.layers.remove(opened)
    current_of(viewer).choose(patients[0])
    viewer.layers.selection.active = drawn[0]
    current_of(viewer).choose(patients[1])
    viewer.add_points(np.zeros((1, 3)))
    assert meant(viewer) == ("bob", "ann labels")  # by the user's own choice


def test_maps_are_added_without_becoming_current(viewer):
    select(viewer, "old")
    current = current_of(viewer)
    with current.kept():
        viewer.add_image(np.zeros(HERE), name="map")
        viewer.add_labels(np.zeros(HERE, np.uint8), name="taught")
    assert meant(viewer) == ("t1", "old")
    assert viewer.layers.selection.active.name == "old"
    select(viewer, "map")
    assert meant(viewer) == ("map", "old")  # who selects it means it


def test_a_colour_picture_is_current_only_where_it_is_selected():
    viewer = ViewerModel()
    viewer.add_image(np.zeros(HERE), name="t1")
    viewer.add_image(np.zeros((4, 5, 3)), rgb=True, name="photo")
    assert meant(viewer) == ("photo", None)
    viewer.layers.remove("t1")
    viewer.add_image(np.zeros(HERE), name="t2")
    viewer.layers.selection.clear()
    viewer.layers.remove("t2")
    assert meant(viewer) == (None, None)


def test_outlines_of_an_edit_are_no_labels(viewer):
    select(viewer, "old")
    current_of(viewer)
    viewer.add_labels(np.zeros(HERE, np.uint8), metadata={PREVIEW_KEY: True})
    assert meant(viewer) == ("t1", "old")


def test_changes_are_told_once_each_and_the_brush_too(viewer):
    select(viewer, "new")
    told = []
    current = current_of(viewer)
    current.changed.connect(lambda: told.append(meant(viewer)))
    select(viewer, "old")
    select(viewer, "points")
    viewer.layers["old"].mode = "paint"
    viewer.layers["new"].mode = "paint"  # not current
    select(viewer, "ct")
    assert told == [("t1", "old"), ("t1", "old"), ("ct", "organs")]


def test_a_viewer_and_its_layers_are_not_kept_alive(viewer):
    current = current_of(viewer)
    assert not any(isinstance(value, Image | Labels) for value in vars(current).values())
    assert current is current_of(viewer)
