"""Where to paint next."""

import numpy as np

from napari_asmlp.teaching.doubt import is_enough, where_next


def test_the_doubtful_corner_is_proposed():
    doubt = np.zeros((32, 16, 16), np.uint8)
    doubt[24:28, 4:8, 8:12] = 255
    best = where_next(doubt, np.zeros(doubt.shape, bool))
    assert {place.axis for place in best} == {0, 1, 2}
    assert {place.voxel for place in best} == {(26, 6, 10)}
    assert [place.index for place in sorted(best, key=lambda place: place.axis)] == [26, 6, 10]


def test_what_is_painted_already_is_not_proposed_again():
    doubt = np.full((32, 8, 8), 100, np.uint8)
    annotated = np.zeros(doubt.shape, bool)
    annotated[:16] = True
    across = next(place for place in where_next(doubt, annotated) if place.axis == 0)
    assert across.index > 20


def test_enough_is_when_nothing_changes_and_little_is_doubted():
    sure, labels = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    other = labels.copy()
    other[0] = 1
    assert is_enough(sure, labels, labels)
    assert not is_enough(sure, labels, other)
    assert not is_enough(sure + 100, labels, labels)
