"""Undo and redo: the steps that led to a label array, small enough to keep a hundred of them.

>>> history = History()
>>> step = Step.between(before, after, "Smooth")
>>> history.push(step)
>>> for _ in history.undo().apply(after, undo=True): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.runs import Order
from napari_asmlp.edit.step import Layout, Step

DEFAULT_LIMIT = 512 * 2**20


class History:
    """The steps that can be undone and redone, the oldest dropped beyond a limit.

    Parameters
    ----------
    limit_bytes
        What the steps may take in memory together; the latest is always kept.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT) -> None:
        self.limit_bytes = limit_bytes
        self._past: list[Step] = []
        self._future: list[Step] = []
        self._dropped: NDArray[np.uint8] | None = None  # packed: corrected by dropped steps

    @property
    def past(self) -> Sequence[Step]:
        """What can be undone, the latest last."""
        return tuple(self._past)

    @property
    def future(self) -> Sequence[Step]:
        """What can be redone, the next one last."""
        return tuple(self._future)

    @property
    def nbytes(self) -> int:
        """Bytes that the history takes in memory."""
        dropped = 0 if self._dropped is None else self._dropped.nbytes
        return dropped + sum(step.nbytes for step in (*self._past, *self._future))

    def push(self, step: Step) -> None:
        """Add what has just been done; what had been undone can no longer be redone."""
        self._future.clear()
        self._past.append(step)
        self._drop()

    def undo(self) -> Step | None:
        """Return the step to undo, which from now on can be redone; None if there is none."""
        return self._move(self._past, self._future)

    def redo(self) -> Step | None:
        """Return the step to redo, which from now on can be undone; None if there is none."""
        return self._move(self._future, self._past)

    def clear(self) -> None:
        """Forget everything."""
        self._past.clear()
        self._future.clear()
        self._dropped = None

    def rewrite(self, anew: Callable[[Step], Step]) -> None:
        """Put other steps in the place of all that can be undone or redone."""
        self._past[:] = map(anew, self._past)
        self._future[:] = map(anew, self._future)

    def corrected(
        self, shape: tuple[int, ...], order: Order = "C", first: int = 0
    ) -> NDArray[np.bool_]:
        """Return which voxels a person has edited since a model last wrote them.

        Parameters
        ----------
        shape, order
            Of the array.
        first
            Number of steps in the past that do not count, from the oldest.

        Returns
        -------
        bool array
            Of the shape and memory order given; undone steps do not count.
        """
        size = Layout(shape, np.dtype(np.uint8), order).size
        flat = np.zeros(size, bool) if first else self._unpacked(size)
        for step in self._past[first:]:
            _mark(flat, step)
        return flat.reshape(shape, order=order)

    def _drop(self) -> None:
        held = sum(step.nbytes for step in self._past)
        while held > self.limit_bytes and len(self._past) > 1:
            oldest = self._past.pop(0)
            held -= oldest.nbytes
            flat = self._unpacked(oldest.layout.size)
            _mark(flat, oldest)
            self._dropped = np.packbits(flat)

    def _unpacked(self, size: int) -> NDArray[np.bool_]:
        if self._dropped is None:
            return np.zeros(size, bool)
        return np.unpackbits(self._dropped, count=size).view(bool)

    @staticmethod
    def _move(source: list[Step], target: list[Step]) -> Step | None:
        if not source:
            return None
        target.append(source.pop())
        return target[-1]


def _mark(flat: NDArray[np.bool_], step: Step) -> None:
    for runs in step.runs():
        flat[runs.places()] = step.kind == "edit"
