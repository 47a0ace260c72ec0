"""Splits that stay as they are: by content, whatever comes later."""

from pathlib import Path

import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.training.dataset import Case
from napari_asmlp.training.folds import split


def cases(*numbers):
    """Cases whose hashes are these numbers, in hexadecimal of four digits."""
    return [Case(f"case {n}", (), Path(), hash=f"{n:04x}") for n in numbers]


def names(found):
    return [case.name for case in found]


def test_the_hash_decides():
    found = split(cases(7, 5, 3, 10, 21), (0, 5))
    assert names(found.kept_out) == ["case 5", "case 10"]
    assert names(found.training) == ["case 3", "case 7", "case 21"]


def test_folds_cover_all_cases_once():
    all_cases = cases(*range(40, 60))
    held = [case for part in range(3) for case in split(all_cases, (part, 3)).kept_out]
    assert sorted(names(held)) == sorted(names(all_cases))


def test_no_case_moves_when_others_come():
    before, after = split(cases(1, 2, 3), (1, 2)), split(cases(9, 1, 8, 2, 3, 11), (1, 2))
    assert set(names(before.training)) <= set(names(after.training))
    assert set(names(before.kept_out)) <= set(names(after.kept_out))


def test_the_same_image_twice_is_on_one_side():
    twins = [*cases(4, 4, 5, 5), *cases(6)]
    found = split(twins, (0, 2))
    assert names(found.kept_out) == ["case 4", "case 4", "case 6"]


def test_an_earlier_split_is_kept_to():
    """Case 10 was trained on, 3 kept out: against the rule for part 1 of 5, but so it is."""
    earlier = split(cases(10, 3), (3, 5)).record()
    found = split(cases(3, 5, 7, 10), (0, 5), earlier)
    assert names(found.kept_out) == ["case 3", "case 5"]
    assert names(found.training) == ["case 7", "case 10"]


def test_without_a_fold_all_are_trained_on():
    found = split(cases(2, 1), None, {"kept_out": ["0001"]})
    assert names(found.training) == ["case 1", "case 2"]
    assert not found.kept_out


@pytest.mark.parametrize(
    ("numbers", "fold", "words"),
    [
        ((1, 6, 3), (4, 5), r"fold 5/5: none of the 3 cases.*parts with cases: 2, 4\)"),
        ((5, 10), (0, 5), r"fold 1/5: it would keep all 2 cases out"),
        ((5,), (0, 5), r"only one case.*fold 'all'"),
    ],
)
def test_a_side_without_cases_is_refused(numbers, fold, words):
    with pytest.raises(SettingsError, match=words):
        split(cases(*numbers), fold)


def test_what_was_learnt_from_is_not_forgotten():
    """By way of a data set without them, to one with them again."""
    first = split(cases(0, 1, 2, 4), (0, 2))
    assert names(first.training) == ["case 1"]
    second = split(cases(6, 7), (0, 2), first.record())
    third = split(cases(8), None, second.record())
    again = split(cases(0, 1, 2, 3), (1, 2), third.record())
    assert names(again.training) == ["case 0", "case 1", "case 2"]
    assert sorted(again.record()["training"]) == ["0000", "0001", "0002", "0007", "0008"]
