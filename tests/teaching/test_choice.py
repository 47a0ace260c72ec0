"""Whether a voxel's place and the network count: left out where they mislead."""

import numpy as np
import pytest

from napari_asmlp.card import Preprocessing
from napari_asmlp.grid import Grid
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation, in_folds
from napari_asmlp.teaching.choice import (
    Features,
    Lesson,
    best_of,
    iter_cross_validated,
    open_to,
    spans,
)
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.teaching.subject import Subject
from napari_asmlp.volume import Volume
from tests.teaching.generators import result_of

SHAPE = (24, 24, 24)
LIGHT = LightSettings(trees=20)
FILTERS, PLACE = Features(), Features(position=True)


def scored(image, truth, annotated):
    """Return what is chosen for an image, whose truth is known where it is annotated, and why."""
    classes = np.where(annotated, truth, UNANNOTATED).astype(np.int16)
    annotation = Annotation(classes, (0, 1, 2)[: truth.max() + 1])
    subject = Subject(Volume(image, Grid(SHAPE, np.eye(4))), Preprocessing())
    list(subject.look_near())
    lesson = Lesson(subject, classes, in_folds(annotation))
    candidates, scores = open_to(tokens=False, position=True), {}
    for one in candidates:
        scores[one] = result_of(iter_cross_validated([lesson], truth.max() + 1, one, LIGHT, 0))
    return best_of(candidates, scores), scores


def slices():
    annotated = np.zeros(SHAPE, bool)
    annotated[..., [4, 12, 19]] = True
    return annotated


def region():
    annotated = np.zeros(SHAPE, bool)
    annotated[4:14, 4:14, 4:14] = True
    return annotated


def test_place_tells_two_organs_of_one_brightness_apart():
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    truth = np.zeros(SHAPE, int)
    truth[4:20, 4:11, 2:22], truth[4:20, 13:20, 2:22] = 1, 2
    image = 3.0 * (truth > 0) + noise
    chosen, scores = scored(image, truth, slices())
    assert chosen == PLACE
    assert scores[PLACE] > scores[FILTERS] + 0.1


@pytest.mark.parametrize(("annotated", "wide"), [(slices(), True), (region(), False)])
def test_annotations_of_one_box_tell_nothing_of_places(annotated, wide):
    assert spans(np.where(annotated, 0, UNANNOTATED)) is wide


def test_what_there_is_goes_only_where_it_clearly_harms():
    both, network = Features(tokens=True, position=True), Features(tokens=True)
    candidates = open_to(tokens=True, position=True)
    assert candidates == [both, PLACE, network, FILTERS]
    even = dict.fromkeys(candidates, 0.7)
    assert best_of(candidates, even) == both
    assert best_of(candidates, even | {FILTERS: 0.715}) == both
    assert best_of(candidates, even | {FILTERS: 0.75}) == FILTERS
    assert best_of(candidates, even | {FILTERS: 0.75, network: 0.746}) == network


def test_the_network_goes_sooner_than_place_since_what_is_kept_back_shows_whether_it_helps():
    candidates = open_to(tokens=True, position=True)
    even = dict.fromkeys(candidates, 0.7)
    assert best_of(candidates, even | {PLACE: 0.704}) == candidates[0]
    assert best_of(candidates, even | {PLACE: 0.71}) == PLACE
