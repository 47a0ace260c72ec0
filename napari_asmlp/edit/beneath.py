"""Labels that arrive beneath edits which have been made before them.

While a model runs, its new layer is 0 where no result has come yet, and can be painted there. When
the result comes, 0 turns out to have meant it all along: in the array, and in every step that can
be undone or redone. So undoing a stroke gives the result, as if that had been there first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.history import History
from napari_asmlp.edit.runs import Box, Coded, Runs, code, decode, runs_of_places
from napari_asmlp.edit.step import Step


def lay_beneath(
    labels: NDArray[Any], history: History, box: Box, result: NDArray[np.integer[Any]]
) -> None:
    """Write a result into a box of an array wherever that is 0, and into the history of it.

    Parameters
    ----------
    labels : integer array
        Which the steps of the history were made on.
    result : integer array of the shape of the box
    """
    part = labels[box]
    np.copyto(part, result, where=part == 0, casting="unsafe")
    if history.past or history.future:
        history.rewrite(_Beneath(box, result))


@dataclass(frozen=True, eq=False)
class _Beneath:
    """Turns each 0 of a step into the result that lies there."""

    box: Box
    result: NDArray[np.integer[Any]]

    def __call__(self, step: Step) -> Step:
        parts: list[Coded] = []
        for part in step.parts:
            parts += self._part(part, step)
        return replace(step, parts=tuple(parts))

    def _part(self, part: Coded, step: Step) -> list[Coded]:
        layout = step.layout
        runs = decode(part, layout.dtype)
        places = runs.places()
        index = np.unravel_index(places, layout.shape, layout.order)
        inside = np.ones(places.shape, bool)
        for along, side in zip(index, self.box, strict=True):
            inside &= (along >= side.start) & (along < side.stop)
        if not inside.any():
            return [part]
        here = tuple(
            along[inside] - side.start for along, side in zip(index, self.box, strict=True)
        )
        found = self.result[here].astype(layout.dtype)
        old, new = (_filled(values, runs, inside, found) for values in (runs.old, runs.new))
        return list(code([runs_of_places(places, old, new)], layout.dtype))


def _filled(
    values: NDArray[Any], runs: Runs, inside: NDArray[np.bool_], found: NDArray[Any]
) -> NDArray[Any]:
    """Return the value of each voxel of runs, with what was found in place of each 0 inside."""
    each = np.repeat(values, runs.length)
    each[inside] = np.where(each[inside] == 0, found, each[inside])
    return each
