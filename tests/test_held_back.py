"""Which corrections are held back: by content, and for good."""

from pathlib import Path

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.pipeline.held_back import RULE, Sides, divided, held_back
from napari_asmlp.project import WHOLE
from napari_asmlp.training.dataset import Case

GRID = Grid((16, 8, 4), np.diag([1, 1, 5, 1]))  # mm: 16, 8 and 20


def cases(*numbers):
    """Cases whose hashes are these numbers: that of 0, 4, 8 ... is held out while there is room."""
    return [Case(str(n), (), Path(), hash=f"{n:064x}") for n in numbers]


def sides(found):
    return [
        sorted(int(one, 16) for one in side) for side in (found.training, found.kept_out, found.cut)
    ]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 2, 4), [[1, 2], [4], []]),
        ((4, 8, 3), [[3, 8], [4], []]),
        ((5,), [[], [], [5]]),
        ((4,), [[], [], [4]]),
        ((1, 2, 3), [[], [], [1, 2, 3]]),
        ((9, 7, 6, 5), [[5, 6, 7], [9], []]),
    ],
)
def test_about_one_of_four_is_held_back_or_slabs_are(numbers, expected):
    assert sides(divided(cases(*numbers), [])) == expected


def test_no_case_changes_sides_when_others_come_or_go():
    alone = divided(cases(5), []).record()
    assert sides(divided(cases(5, 4, 6), [alone])) == [[6], [4], [5]]
    four = divided(cases(9, 7, 6, 5), [alone]).record()
    assert sides(divided(cases(9, 7, 6, 5), [four])) == [[6, 7, 9], [], [5]]
    more = divided(cases(9, 8, 7, 6, 5, 1), [four])
    assert sides(more) == [[1, 6, 7, 9], [8], [5]]
    gone = divided(cases(8, 6), [more.record()])
    assert sides(gone) == [[6], [8], []]


def test_the_first_record_counts_most_and_those_of_other_rules_not_at_all():
    first = {"rule": RULE, "training": [cases(4)[0].hash], "kept_out": [cases(3)[0].hash]}
    second = {"rule": RULE, "training": [cases(3)[0].hash], "kept_out": [cases(4)[0].hash]}
    assert sides(divided(cases(3, 4), [first, second])) == [[4], [3], []]
    other = first | {"rule": "content hash modulo N"}
    assert sides(divided(cases(3, 4), [other])) == [[3], [4], []]


@pytest.mark.parametrize(
    ("side", "words"), [("kept_out", "all corrected volumes are held"), ("training", "none is")]
)
def test_nothing_to_learn_from_or_to_check_on_is_said(side, words):
    record = {"rule": RULE, side: [case.hash for case in cases(1, 2)]}
    with pytest.raises(SettingsError, match=words):
        divided(cases(1, 2), [record])


def test_a_record_is_read_as_it_was_written():
    found = Sides(frozenset("ab"), frozenset("c"), frozenset())
    assert found.record() == {"rule": RULE, "training": ["a", "b"], "kept_out": ["c"], "cut": []}


@pytest.mark.parametrize(
    ("corrected", "axis", "planes"),
    [
        (WHOLE, 2, [2]),  # the longest side in mm has 4 planes
        ((Region((0, 0, 0), (16, 8, 1)),), 0, [4, 5, 10, 11]),
        ((Region((2, 0, 0), (10, 1, 1)),), 0, [4, 7]),
        ((Region((2, 0, 0), (4, 1, 1)),), 2, []),
    ],
)
def test_slabs_lie_across_the_longest_side_of_a_region(corrected, axis, planes):
    held = held_back(GRID, corrected)
    others = tuple(n for n in range(3) if n != axis)
    assert np.flatnonzero(held.any(axis=others)).tolist() == planes
    if isinstance(corrected, tuple):
        outside = np.ones(GRID.shape, bool)
        outside[corrected[0].slices] = False
        assert not held[outside].any()
