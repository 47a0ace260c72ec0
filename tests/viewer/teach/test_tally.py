"""What counts as annotated, by hand."""

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.teach.tally import Count, hint, merged, missing, tally

NAMES = {1: "cortex", 9: "background"}


def array(*values):
    return np.array(values, np.uint8).reshape(2, 2, 2)


def test_corrections_count_over_annotations_and_0_there_is_background():
    annotations = array(0, 0, 1, 1, 9, 9, 0, 0)
    taught = array(1, 0, 1, 0, 1, 2, 0, 2)
    corrected = array(0, 1, 0, 1, 0, 1, 0, 1).astype(bool)
    painted = merged(annotations, 9, taught, corrected)
    assert painted.array.ravel().tolist() == [0, 9, 1, 9, 9, 2, 0, 2]
    assert (painted.corrections, painted.contradicted) == (4, 2)
    assert painted.background == 9


def test_background_that_only_corrections_have_gets_a_value_of_its_own():
    erased = np.zeros((2, 2, 2), bool)
    erased[0] = True
    painted = merged(array(0, 0, 0, 0, 1, 1, 2, 2), None, array(*[0] * 8), erased)
    assert painted.background not in (None, 0, 1, 2)
    assert (painted.array[0] == painted.background).all()


def test_a_background_that_nobody_painted_is_none():
    assert merged(array(0, 0, 1, 1, 2, 2, 0, 0), 9).background is None


def test_voxels_and_slices_are_counted_for_each_class():
    volume = np.zeros((3, 4, 5), np.uint8)
    volume[:, :, 1] = 9
    volume[:, :, 3] = 9
    volume[1, 1, 1:4] = 1
    found = tally(merged(volume, 9))
    assert found.counts == {1: Count(3, 1), 9: Count(22, 2)}
    assert found.voxels == 25


def test_digests_tell_annotations_apart():
    one = tally(merged(array(0, 0, 1, 1, 9, 9, 0, 0), 9))
    assert one.digest == tally(merged(array(0, 0, 1, 1, 9, 9, 0, 0), 9)).digest
    for values, background in (((0, 0, 1, 9, 1, 9, 0, 0), 9), ((0, 0, 1, 1, 9, 9, 0, 0), 1)):
        assert one.digest != tally(merged(array(*values), background)).digest


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0,) * 8, "Nothing is painted yet"),
        ((0, 0, 0, 0, 1, 1, 1, 1), "Only 'cortex' is painted: paint a second class"),
        ((0, 0, 0, 1, 9, 9, 9, 9), "'cortex' is painted on a single voxel"),
        ((0, 0, 1, 1, 9, 9, 9, 9), ""),
    ],
)
def test_what_is_missing_is_said_by_name(values, words):
    assert words in missing(tally(merged(array(*values), 9)), NAMES)
    assert bool(words) == bool(missing(tally(merged(array(*values), 9)), NAMES))


def test_hints():
    everything = np.ones((2, 2, 2), bool)
    contradicted = merged(array(*[1] * 8), 9, array(*[2] * 8), everything)
    assert "8 corrected voxels are painted as another class" in hint(tally(contradicted))
    assert "No background is painted" in hint(tally(merged(array(0, 0, 1, 1, 2, 2, 0, 0), 9)))
    assert hint(tally(merged(array(0, 0, 1, 1, 9, 9, 0, 0), 9))) == ""


@pytest.mark.parametrize("wrong", [-1, 70_000])
def test_values_that_can_be_no_label_are_refused(wrong):
    with pytest.raises(SettingsError, match=str(wrong)):
        merged(np.full((2, 2, 2), wrong, np.int32), None)
