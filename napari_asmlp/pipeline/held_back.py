"""Which corrections are learnt from and which only checked on: by content, and for good.

Of four corrected volumes about one is held back, by its content hash (`training.folds`). Where
there are fewer, and that would leave one side empty, two slabs of each region are held back
instead: an eighth of its length each. What a volume was the first time it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.project import Corrected
from napari_asmlp.training.dataset import Case
from napari_asmlp.training.folds import split

RULE = "corrections, content hash modulo N"
_PARTS = 4
_SIDES = ("training", "kept_out", "cut")


@dataclass(frozen=True)
class Sides:
    """Content hashes of corrected volumes.

    Attributes
    ----------
    training, kept_out : learnt from as a whole, or checked on as a whole
    cut : learnt from but for some slabs, which are checked on
    """

    training: frozenset[str]
    kept_out: frozenset[str]
    cut: frozenset[str]

    def record(self) -> dict[str, Any]:
        """Return plain values that fix them, for the card of the model and for `divided` later."""
        return {"rule": RULE} | {side: sorted(getattr(self, side)) for side in _SIDES}


def divided(cases: Sequence[Case], records: Iterable[Mapping[str, Any]]) -> Sides:
    """Put each corrected volume on a side.

    Parameters
    ----------
    cases : with their hashes
    records : what `Sides.record` gave for models that came before; the first counts most

    Raises
    ------
    SettingsError
        Where all volumes were held back earlier, and none is left to learn from.
    """
    earlier = _merged(records)
    hashes = {case.hash for case in cases}
    cut = hashes & earlier["cut"]
    whole = [case for case in cases if case.hash not in cut]
    before = {side: sorted(earlier[side]) for side in ("training", "kept_out")}
    try:
        parts = split(whole, f"1/{_PARTS}", before)
    except SettingsError:
        return _where_a_side_is_empty(hashes, cut, earlier)
    training, kept_out = (
        frozenset(case.hash for case in side) for side in (parts.training, parts.held_out)
    )
    return Sides(training, kept_out, frozenset(cut))


def held_back(grid: Grid, corrected: Corrected) -> NDArray[np.bool_]:
    """Return the voxels (i, j, k) of a volume that are held back where it is cut.

    Of each region, or of the whole volume, these are two slabs across its longest side in mm. They
    follow from the regions alone: correcting more inside of them moves no voxel to the other side.
    """
    held = np.zeros(grid.shape, bool)
    regions = corrected if isinstance(corrected, tuple) else (Region.whole(grid.shape),)
    for region in regions:
        box = region.clipped(grid.shape)
        axis = int(np.argmax(np.array(box.shape) * grid.spacing))
        for first, count in _slabs(box.shape[axis]):
            place = list(box.slices)
            place[axis] = slice(box.start[axis] + first, box.start[axis] + first + count)
            held[tuple(place)] = True
    return held


def _slabs(length: int) -> list[tuple[int, int]]:
    """Return where slabs begin on an axis, and their planes."""
    if length < 8:
        return [(length // 2, 1)] if length > 2 else []
    return [(length // 4, length // 8), (5 * length // 8, length // 8)]


def _merged(records: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    merged: dict[str, set[str]] = {side: set() for side in _SIDES}
    for record in records:
        if record.get("rule") == RULE:
            known = set().union(*merged.values())
            for side in _SIDES:
                merged[side] |= set(map(str, record.get(side, ()))) - known
    return merged


def _where_a_side_is_empty(
    hashes: set[str], cut: set[str], earlier: Mapping[str, set[str]]
) -> Sides:
    """Cut volumes, unless what came before holds some back already."""
    kept_out = hashes & earlier["kept_out"]
    if kept_out == hashes:
        raise SettingsError(
            "all corrected volumes are held back since an earlier fine-tuning, to check on; correct"
            " another one to learn from"
        )
    learnt = hashes & earlier["training"]
    others = hashes - cut - kept_out - learnt
    if cut or kept_out:
        return Sides(frozenset(learnt | others), frozenset(kept_out), frozenset(cut))
    if not others:
        raise SettingsError(
            "all corrected volumes were learnt from earlier, and none is held back to check on;"
            " correct another one"
        )
    if len(others) >= _PARTS:  # by chance none of them is in the part that is held back
        first = min(others)
        return Sides(frozenset(learnt | others - {first}), frozenset({first}), frozenset())
    return Sides(frozenset(learnt), frozenset(), frozenset(others))
