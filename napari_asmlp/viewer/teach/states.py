"""Earlier states of teaching: the labels at the end of each round, and what was learnt by then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_asmlp.edit.step import Step

_MOST = 12  # rounds that are kept


@dataclass(frozen=True, eq=False)
class State:
    """What a round came to.

    Attributes
    ----------
    title : such as ``round 2, 14:03: second look``
    key : of the volume that was labelled
    whole : its labels, as the difference from none
    snapshot : what the teacher had learnt
    """

    title: str
    key: str
    whole: Step
    snapshot: Any

    def labels(self) -> NDArray[np.integer[Any]]:
        """Return the labels (i, j, k)."""
        array = self.whole.layout.zeros()
        for _ in self.whole.apply(array):
            pass
        return array


class States:
    """The last rounds, the latest last.

    A round is kept when its labels have been written and its snapshot is there, whichever is first.
    """

    def __init__(self) -> None:
        self._kept: list[State] = []
        self._count = 0
        self._labels: tuple[str, str, Step] | None = None
        self._snapshot: Any = None

    @property
    def kept(self) -> Sequence[State]:
        """States to go back to, the latest last."""
        return tuple(self._kept)

    def clear(self) -> None:
        """Forget all rounds."""
        self._kept.clear()

    def begin(self) -> None:
        """Note that a round begins."""
        self._count += 1
        self._labels = self._snapshot = None

    def wrote(self, key: str, what: str, whole: Step) -> None:
        """Note the labels of a volume that have been written last."""
        self._labels = key, what, whole
        self._keep()

    def learnt(self, snapshot: Any, *, is_written: bool) -> None:
        """Note what was learnt by the end of the round, and whether its labels are written."""
        self._snapshot = snapshot
        if not is_written:
            self._labels = None  # those were of an earlier answer
        self._keep()

    def _keep(self) -> None:
        if self._labels is None or self._snapshot is None:
            return
        key, what, whole = self._labels
        title = f"round {self._count}, {time.strftime('%H:%M')}: {what}"
        self._kept.append(State(title, key, whole, self._snapshot))
        del self._kept[:-_MOST]
        self._labels = self._snapshot = None
