from __future__ import annotations

import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.classify.lesson import Lesson
from napari_asmlp.zoo import PALETTE


@pytest.fixture
def lesson():
    return Lesson().with_class("round").with_class(" long  one ").with_example(3, "round")


def test_classes_get_the_colours_of_the_palette_in_turn(lesson):
    assert [(e.name, e.colour) for e in lesson.classes] == [
        ("round", PALETTE[0]),
        ("long one", PALETTE[1]),
    ]
    assert lesson.without_class("round").with_class("flat").classes[-1].colour == PALETTE[0]


def test_an_object_is_an_example_of_one_class(lesson):
    assert lesson.counts == {"round": 1, "long one": 0}
    assert not lesson.is_complete
    lesson = lesson.with_example(3, "long one")
    assert lesson.counts == {"round": 0, "long one": 1}
    assert lesson.with_example(4, "round").is_complete


def test_what_belongs_to_a_class_follows_it(lesson):
    assert lesson.renamed("round", "ball").examples == {3: "ball"}
    assert lesson.renamed("round", "Round").names == ("Round", "long one")
    assert lesson.without_class("round").examples == {}
    assert lesson.without_examples([3, 7]).examples == {}


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda it: it.with_class("  "), "needs a name"),
        (lambda it: it.with_class("ROUND"), "a class 'round' already"),
        (lambda it: it.with_class("x" * 61), "up to 60 letters"),
        (lambda it: it.renamed("round", "long one"), "'long one' already"),
        (lambda it: it.with_example(0, "round"), "click one"),
        (lambda it: it.with_example(5, "flat"), "no class 'flat'"),
    ],
)
def test_what_cannot_be_is_refused(lesson, act, words):
    with pytest.raises(SettingsError, match=words):
        act(lesson)
