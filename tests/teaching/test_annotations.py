"""What counts as annotated, and what cannot be learnt from."""

import numpy as np
import pytest

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation, in_folds, read_annotation
from napari_asmlp.volume import Volume

GRID = Grid((2, 2, 2), np.eye(4))
IMAGE = Volume(np.zeros((2, 2, 2)), GRID, title="head")


def painted(*values, grid=GRID):
    array = np.array(values, np.uint8).reshape(2, 2, 2)
    return Volume(array, grid, "labels", title="strokes")


@pytest.mark.parametrize(
    ("values", "unannotated", "background", "classes", "written"),
    [
        # 0 is nobody's: 3 and 7 follow background, which has no voxel
        ((0, 0, 3, 3, 7, 7, 0, 0), 0, None, (-1, -1, 1, 1, 2, 2, -1, -1), (0, 3, 7)),
        # 9 means background and is written as 0
        ((0, 9, 9, 3, 3, 0, 0, 0), 0, 9, (-1, 0, 0, 1, 1, -1, -1, -1), (0, 3)),
        # 0 is background as it is usual, and 255 unannotated
        ((0, 0, 1, 1, 255, 255, 2, 2), 255, 0, (0, 0, 1, 1, -1, -1, 2, 2), (0, 1, 2)),
        ((0, 0, 1, 1, 255, 255, 2, 2), 255, None, (0, 0, 1, 1, -1, -1, 2, 2), (0, 1, 2)),
    ],
)
def test_values_become_classes(values, unannotated, background, classes, written):
    annotation = read_annotation(IMAGE, painted(*values), unannotated, background)
    assert annotation.classes.ravel().tolist() == list(classes)
    assert annotation.values == written


def test_counts_are_of_each_class_and_labels_are_its_values():
    annotation = read_annotation(IMAGE, painted(0, 9, 9, 3, 3, 3, 0, 0), 0, 9)
    assert annotation.counts.tolist() == [2, 3]
    assert annotation.written(np.array([1, 0, 1])).tolist() == [3, 0, 3]


@pytest.mark.parametrize(
    ("values", "unannotated", "background", "error", "words"),
    [
        ((0,) * 8, 0, None, VolumeError, "every voxel is 0, not annotated"),
        ((0, 0, 0, 0, 1, 1, 1, 1), 0, None, VolumeError, "only the value 1 is annotated"),
        ((0, 0, 0, 1, 2, 2, 2, 2), 0, None, VolumeError, "value 1 is painted on a single voxel"),
        ((0, 0, 1, 1, 2, 2, 2, 2), 0, 3, SettingsError, "has only the values 1, 2"),
        ((0, 0, 1, 1, 2, 2, 2, 2), 0, 0, SettingsError, "is the value of unannotated voxels too"),
        ((0, 0, 1, 1, 2, 2, 9, 9), 9, 2, SettingsError, "also holds annotated voxels of value 0"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(values, unannotated, background, error, words):
    with pytest.raises(error, match=words):
        read_annotation(IMAGE, painted(*values), unannotated, background)


def test_another_grid_is_refused_by_name_of_both():
    moved = np.eye(4)
    moved[0, 3] = 5
    strokes = painted(0, 0, 1, 1, 2, 2, 2, 2, grid=Grid((2, 2, 2), moved))
    with pytest.raises(GridError, match="strokes does not lie on the grid of head"):
        read_annotation(IMAGE, strokes)


def test_whole_slices_are_kept_back_where_each_class_lies_in_two():
    classes = np.full((4, 4, 12), UNANNOTATED, np.int16)
    for index in (1, 4, 7, 10):
        classes[..., index] = np.arange(4) % 2  # two classes in each slice
    folds = in_folds(Annotation(classes, (0, 1)))
    of_slice = [set(folds[..., index].ravel().tolist()) for index in (1, 4, 7, 10)]
    assert sorted(map(tuple, of_slice)) == [(0,), (0,), (1,), (1,)]
    assert (folds[..., [0, 2, 3]] == -1).all()


def test_a_slice_that_alone_holds_a_class_is_cut_so_that_both_folds_have_it():
    classes = np.full((4, 6, 12), UNANNOTATED, np.int16)
    classes[..., [1, 4, 7]] = 0
    classes[:, :3, [4, 7]] = 1
    classes[:, 4:, 1] = 2  # far along the second axis, all along the first
    for seed in range(5):
        folds = in_folds(Annotation(classes, (0, 1, 2)), seed)
        for fold in (0, 1):
            assert set(classes[folds == fold].tolist()) == {0, 1, 2}
        # cut across the first axis, the only one that has the class on both sides
        assert set(folds[:2, :, 1].ravel()) ^ set(folds[2:, :, 1].ravel()) == {0, 1}
        assert len(np.unique(folds[..., 4])) == len(np.unique(folds[..., 7])) == 1


def test_a_region_is_cut_in_halves():
    classes = np.full((4, 4, 4), UNANNOTATED, np.int16)
    classes[1:3, 1:3, 1:3] = np.reshape([0, 1], (1, 2, 1))
    folds = in_folds(Annotation(classes, (0, 1)))
    assert np.bincount(folds[folds >= 0]).tolist() == [4, 4]
    for fold in (0, 1):
        assert np.bincount(classes[folds == fold]).tolist() == [2, 2]


def test_there_are_no_folds_where_only_one_class_could_be_in_both():
    classes = np.full((9, 3, 3), UNANNOTATED, np.int16)
    classes[[0, 2], 0, 0] = 0
    classes[5, 0, 0] = 1
    assert in_folds(Annotation(classes, (0, 1))) is None
