"""What counts as annotated: what is painted, and what is corrected in a result. Pure functions.

A correction is a voxel of the taught labels that a person has edited since they were last written.
It counts over an annotation, since whoever made it saw the result; 0 there means background.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.change import LARGEST_VALUE
from napari_asmlp.errors import SettingsError

Array = NDArray[np.integer[Any]]
LEAST_VOXELS = 2  # of a class, to learn it from


@dataclass(frozen=True, eq=False)
class Painted:
    """All that a person has said of a volume's voxels.

    Attributes
    ----------
    array : (i, j, k), 0 where nothing is said
    background : the value that means it; None if no voxel has been said to be
    corrections : voxels that come from corrections
    contradicted : of these, voxels that are annotated as something else
    """

    array: Array
    background: int | None
    corrections: int = 0
    contradicted: int = 0


@dataclass(frozen=True)
class Count:
    """How much is annotated of a class: voxels, and slices in the direction with fewest."""

    voxels: int
    slices: int


@dataclass(frozen=True, eq=False)
class Tally:
    """What is annotated.

    Attributes
    ----------
    counts : by value, background under its own
    digest : equal ones mean equal annotations
    """

    counts: Mapping[int, Count]
    background: int | None
    corrections: int
    contradicted: int
    digest: str

    @property
    def voxels(self) -> int:
        """All that are annotated."""
        return sum(each.voxels for each in self.counts.values())


def merged(
    annotations: Array,
    background: int | None,
    taught: Array | None = None,
    corrected: NDArray[np.bool_] | None = None,
) -> Painted:
    """Put annotations and corrections together.

    Parameters
    ----------
    annotations, taught, corrected : (i, j, k)
        Where `corrected` is true, `taught` counts.
    background
        The value that means it among the annotations; None if none does.

    Raises
    ------
    SettingsError
        If a value can be no label.
    """
    lowest, highest = int(annotations.min()), int(annotations.max())
    if lowest < 0 or highest > LARGEST_VALUE:
        wrong = lowest if lowest < 0 else highest
        raise SettingsError(f"annotations hold {wrong}: values of classes go from 1 to 65535")
    if taught is None or corrected is None or not corrected.any():
        present = background is not None and bool((annotations == background).any())
        return Painted(annotations.astype(np.uint16), background if present else None)
    array = annotations.astype(np.uint16)
    values = taught[corrected].astype(np.uint16)
    if background is None:
        background = _spare(array, values)
    said = np.where(values == 0, np.uint16(background), values)
    before = array[corrected]
    contradicted = int(np.count_nonzero((before != 0) & (before != said)))
    array[corrected] = said
    present = bool((array == background).any())
    return Painted(array, background if present else None, len(said), contradicted)


def tally(painted: Painted) -> Tally:
    """Count what is annotated, class by class."""
    array = painted.array
    flat = np.flatnonzero(array)
    values = array.reshape(-1)[flat]
    places = np.unravel_index(flat, array.shape)
    counts = {}
    for value in np.unique(values):
        mine = values == value
        slices = min(len(np.unique(along[mine])) for along in places)
        counts[int(value)] = Count(int(np.count_nonzero(mine)), slices)
    digest = hashlib.blake2b(flat.tobytes(), digest_size=16)
    digest.update(values.tobytes())
    digest.update(str(painted.background).encode())
    return Tally(
        counts, painted.background, painted.corrections, painted.contradicted, digest.hexdigest()
    )


def missing(tally: Tally, names: Mapping[int, str]) -> str:
    """Return what keeps these annotations from being learnt from; empty if nothing does."""
    if not tally.counts:
        return "Nothing is painted yet: choose a class and paint a few strokes of it"
    if len(tally.counts) == 1:
        (value,) = tally.counts
        name = names.get(value, f"label {value}")
        return f"Only {name!r} is painted: paint a second class, such as background"
    for value, each in tally.counts.items():
        if each.voxels < LEAST_VOXELS:
            name = names.get(value, f"label {value}")
            return f"{name!r} is painted on a single voxel: paint more of it, or erase it"
    return ""


def hint(tally: Tally) -> str:
    """Return what is worth knowing about annotations that can be learnt from; or nothing."""
    if tally.contradicted:
        return (
            f"{tally.contradicted:,} corrected voxels are painted as another class in the"
            " annotations: the correction counts"
        )
    if tally.background is None and tally.counts:
        return "No background is painted: every voxel will get one of the classes"
    return ""


def _spare(array: Array, values: Array) -> int:
    """Return a value that neither annotations nor corrections have."""
    used = {*np.unique(array).tolist(), *np.unique(values).tolist()}
    return next(value for value in range(LARGEST_VALUE, 0, -1) if value not in used)
