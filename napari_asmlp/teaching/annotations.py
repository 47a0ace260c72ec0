"""What counts as annotated, and whether it can be learnt from.

0 in a label image may mean "background" or "nobody looked at it". Teaching never guesses: the
caller names the value of unannotated voxels, and the value of background where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.volume import Labels, Volume, smallest_unsigned

UNANNOTATED = -1
FOLDS = 2  # that annotated voxels are divided into
_LEAST_VOXELS = 2  # of a class
_MOST_VALUES = 100  # objects by number are no classes, and would take hours


@dataclass(frozen=True)
class Annotation:
    """Annotated voxels of a volume.

    Attributes
    ----------
    classes : (i, j, k) int16, an index of `values`, or `UNANNOTATED`
    values : what each class is written as; the first is 0, background, which may have no voxel
    """

    classes: NDArray[np.int16]
    values: tuple[int, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Voxels of each class."""
        there = self.classes[self.classes != UNANNOTATED]
        return np.bincount(there, minlength=len(self.values))

    def recoded(self, values: tuple[int, ...]) -> Annotation:
        """Return the same annotations as indices of another table, which has all their values."""
        if values == self.values:
            return self
        table = np.array([values.index(value) for value in self.values] + [UNANNOTATED], np.int16)
        return Annotation(table[self.classes], values)  # UNANNOTATED, -1, is the last place

    def written(self, classes: NDArray[np.integer[Any]]) -> Labels:
        """Return the label values of classes."""
        values = np.array(self.values, smallest_unsigned(max(self.values)))
        labels: Labels = values[classes]
        return labels


def read_annotation(
    image: Volume, labels: Volume, unannotated: int = 0, background: int | None = None
) -> Annotation:
    """Take annotations out of a label volume.

    Parameters
    ----------
    image, labels : on the same grid
    unannotated : value of voxels that nobody looked at
    background : value that means background, and becomes 0; None if none does

    Raises
    ------
    GridError
        If the two lie on different grids.
    SettingsError
        If the two values are one, or `background` is not there.
    VolumeError
        If nothing is annotated, or only one class, or a class on a single voxel, or more than a
        hundred.
    """
    if not labels.grid.same_as(image.grid):
        raise GridError(
            f"{labels.name} does not lie on the grid of {image.name}:"
            f" {labels.grid.difference(image.grid)}; paint on that image"
        )
    if background == unannotated:
        raise SettingsError(
            f"background {background}: is the value of unannotated voxels too; name another one"
        )
    array = labels.array()
    found = np.unique(array)
    present = [int(value) for value in found if value != unannotated]
    _check(present, array, labels.name, unannotated, background)
    zero = 0 if background is None else background
    others = [value for value in present if value != zero]
    table = np.full(len(found), UNANNOTATED, np.int16)
    for index, value in enumerate([zero, *others]):
        table[found == value] = index
    table[found == unannotated] = UNANNOTATED
    return Annotation(table[np.searchsorted(found, array)], (0, *others))


def _check(
    present: Sequence[int],
    array: NDArray[np.integer[Any]],
    name: str,
    unannotated: int,
    background: int | None,
) -> None:
    """Refuse what cannot be learnt from."""
    if not present:
        raise VolumeError(f"{name}: every voxel is {unannotated}, not annotated: paint something")
    if len(present) > _MOST_VALUES:
        raise VolumeError(
            f"{name}: {len(present)} values are annotated, and at most {_MOST_VALUES} classes can"
            " be taught; if these are single objects, give all of one kind the same value"
        )
    if background is not None and background not in present:
        values = ", ".join(map(str, present))
        raise SettingsError(f"background {background}: {name} has only the values {values}")
    if background is not None and 0 in present and background != 0:
        raise SettingsError(
            f"background {background}: {name} also holds annotated voxels of value 0, and both"
            " would be written as 0; give them another value"
        )
    if len(present) == 1:
        raise VolumeError(
            f"{name}: only the value {present[0]} is annotated; paint a second class,"
            " such as background with a value of its own"
        )
    for value in present:
        if np.count_nonzero(array == value) < _LEAST_VOXELS:
            raise VolumeError(
                f"{name}: value {value} is painted on a single voxel: paint more of it,"
                " or remove it"
            )


def in_folds(annotation: Annotation, seed: int = 0) -> NDArray[np.int8] | None:
    """Divide annotated voxels into folds, each to check on what is learnt from the others.

    Voxels beside each other are alike, so a slice or stroke stays whole, unless it alone holds a
    class: then it is cut in two, across the axis that shares its classes out best, so that they
    can be both learnt and checked.

    Returns
    -------
    (i, j, k) int8, below `FOLDS`, -1 where nothing is annotated; or None where no class would lie
    in each of them
    """
    annotated = annotation.classes != UNANNOTATED
    places, classes = np.argwhere(annotated), annotation.classes[annotated]
    connected = cc3d.connected_components(annotated.astype(np.uint8), connectivity=26)
    ids, pieces = np.unique(connected[annotated], return_inverse=True)
    table = np.zeros((len(ids), len(annotation.values)), np.int64)
    np.add.at(table, (pieces, classes), 1)
    lonely = np.count_nonzero(table, axis=0) == 1
    cut = np.count_nonzero(table[:, lonely], axis=1) > 0
    fold_of = np.zeros(len(places), np.int8)
    for piece in np.flatnonzero(cut):
        mine = pieces == piece
        fold_of[mine] = _halves(places[mine], classes[mine])
    held = [_counts(classes[cut[pieces] & (fold_of == fold)], table) for fold in range(FOLDS)]
    whole = ~cut[pieces]
    fold_of[whole] = _dealt(table, cut, np.array(held), seed)[pieces[whole]]
    there = np.array([_counts(classes[fold_of == fold], table) > 0 for fold in range(FOLDS)])
    if np.count_nonzero(there.all(axis=0)) < 2:
        return None
    folds = np.full(annotated.shape, -1, np.int8)
    folds[annotated] = fold_of
    return folds


def _counts(classes: NDArray[np.int16], table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the voxels of each class of a table."""
    return np.bincount(classes, minlength=table.shape[1])


def _halves(places: NDArray[np.int64], classes: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Cut voxels (N, 3) in two across the axis that leaves most of each class on both sides."""
    sides = [places[:, axis] > np.median(places[:, axis]) for axis in range(3)]

    def shared(side: NDArray[np.bool_]) -> float:
        shares = [float(side[classes == value].mean()) for value in np.unique(classes)]
        return sum(min(share, 1 - share) for share in shares)

    return max(sides, key=shared)


def _dealt(
    table: NDArray[np.int64], cut: NDArray[np.bool_], held: NDArray[np.int64], seed: int
) -> NDArray[np.int8]:
    """Give each piece that is not cut to the fold that has least of its classes.

    Parameters
    ----------
    table : (pieces, classes), voxels
    cut : (pieces,)
    held : (folds, classes), voxels of the others
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~cut))
    total, fold_of = table.sum(axis=0).clip(min=1), np.zeros(len(table), np.int8)
    for piece in order[np.argsort(-table[order].sum(axis=1), kind="stable")]:
        fold = int((held / total * (table[piece] > 0)).sum(axis=1).argmin())
        fold_of[piece] = fold
        held[fold] += table[piece]
    return fold_of
