"""Where labels lie: at one place, or anywhere."""

import numpy as np
import pytest
from scipy import ndimage

from napari_asmlp.training.layout import layout_of, place_of
from napari_asmlp.training.samples import Sample

SHAPE = (32, 40, 24)
POINTS = np.indices(SHAPE).transpose(1, 2, 3, 0) + 0.5


def sample(classes):
    return Sample("case", np.empty((1, 0, 0, 0)), classes, np.zeros(1), np.empty((0, 4)))


def ball(centre, radius=4):
    return np.linalg.norm(POINTS - np.array(centre), axis=-1) < radius


def organ(seed):
    """Two parts of a structure in the middle, as a field of view placed around it shows them."""
    centre = np.array(SHAPE) / 2 + np.random.default_rng(seed).uniform(-2, 2, 3)
    inside = ball(centre, 7)
    return inside.astype(np.uint8) + (inside & (POINTS[..., 1] > centre[1]))


def scan_of_a_body(seed):
    """An organ beside tissue that the lower and the upper end of the volume cut off."""
    tube = np.linalg.norm(POINTS[..., :2] - np.array(SHAPE[:2]) / 2, axis=-1) < 14
    return np.where(organ(seed) > 0, 1, 2 * tube).astype(np.uint8)


def cells(seed, count=12):
    random = np.random.default_rng(seed)
    centres = random.uniform(0, SHAPE, (count, 3))
    return np.any([ball(c, random.uniform(3, 4)) for c in centres], axis=0).astype(np.uint8)


def one_cell(seed):
    return cells(seed, 1)


def membranes(seed):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 4)
    return (np.abs(smooth) < 0.2 * smooth.std()).astype(np.uint8)


def instances(seed):
    """Cells within tissue that is a label, too."""
    return np.where(cells(seed) > 0, 1, 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("make", "cases", "place", "because"),
    [
        (organ, 8, "fixed", "1 objects and labels at 0 of its 6 faces"),
        (organ, 1, "fixed", "1 objects"),
        (scan_of_a_body, 4, "fixed", "labels at 2 of its 6 faces"),
        (cells, 4, "anywhere", "objects"),
        (one_cell, 10, "anywhere", "centre varies by 0.2"),
        (one_cell, 2, "fixed", "1 objects"),
        (membranes, 3, "anywhere", "labels reach 6 of the 6 faces"),
        (instances, 3, "anywhere", ""),
        (lambda _: np.zeros(SHAPE, np.uint8), 2, "fixed", "no case has a label"),
    ],
)
def test_where_labels_lie(make, cases, place, because):
    found, why = place_of([sample(make(seed)) for seed in range(cases)], 2)
    assert (found, because in why) == (place, True), why


def test_specks_are_no_objects_and_classes_beyond_the_table_do_not_count():
    classes = organ(0)
    classes[::6, ::6, ::6] = np.where(classes[::6, ::6, ::6] == 0, 1, classes[::6, ::6, ::6])
    assert layout_of(classes, 2).objects == 1
    classes[0] = 9
    assert layout_of(organ(0), 2).faces == 0


def test_a_layout_by_hand():
    classes = np.zeros((4, 5, 6), np.uint8)
    classes[0, 1, 1:3] = 1
    classes[3, 4, 0] = 2
    found = layout_of(classes, 2)
    assert (found.objects, found.faces) == (1, 4)  # x from both ends, y from above, z from below
    assert found.centre == pytest.approx(((2 * 0.5 + 3.5) / 12, (2 * 1.5 + 4.5) / 15, 4.5 / 18))
