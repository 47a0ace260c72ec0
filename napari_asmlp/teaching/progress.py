"""What teaching is asked for, what it tells on the way, and what it gives in the end."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.model import Model
from napari_asmlp.teaching.finetune import FinetuneSettings
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.volume import Volume

Result = TypeVar("Result")


@dataclass(frozen=True)
class TeachSettings:
    """How to teach.

    Attributes
    ----------
    seconds : for learning and predicting together, in each round
    position : whether a voxel's place may be a feature: what is labelled is this very volume
    """

    seconds: float = 60.0
    seed: int = 0
    position: bool = True
    light: LightSettings = field(default_factory=LightSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)


@dataclass(frozen=True)
class TaughtAnswer:
    """Labels of all voxels on the volume's own grid.

    Attributes
    ----------
    what : is new about it
    labels : values; annotated voxels keep what they were given
    doubt : (i, j, k) uint8, 255 where two classes are equally likely
    """

    what: str
    labels: Volume
    doubt: NDArray[np.uint8]


@dataclass(frozen=True)
class TeachProgress:
    """Where teaching stands.

    Attributes
    ----------
    what : is being done
    answer : a new one, or None
    """

    what: str
    fraction: float
    seconds: float
    seconds_left: float
    answer: TaughtAnswer | None = None

    def describe(self) -> str:
        """Return in a few words where the work stands."""
        return self.what


@dataclass(frozen=True)
class Taught:
    """What teaching gives in the end.

    Attributes
    ----------
    answer : the last one
    model : the network
    report : ``answers`` and their seconds; ``features`` and their mean Dice on what was kept back;
        ``kept_back``, the same of each share of the network; ``labels_dice`` and ``model_dice``,
        of the labels and of the network alone, None if that was not found out in this round;
        ``agreement``, the share of voxels that the network alone labels as the last answer does,
        None if there was no time; ``seconds``; and ``steps`` of the network so far
    """

    answer: TaughtAnswer
    model: Model
    report: dict[str, Any]


class Clock:
    """Counts the seconds that a round works; those in which nobody asks for more do not count."""

    def __init__(self, seconds: float) -> None:
        self._given, self._spent = seconds, 0.0
        self._since: float | None = None

    def counted(
        self, work: Generator[TeachProgress, None, Result]
    ) -> Generator[TeachProgress, None, Result]:
        """Do some work; the clock runs while it does."""
        try:
            while True:
                self._since = time.monotonic()
                try:
                    now = next(work)
                except StopIteration as stop:
                    result: Result = stop.value
                    return result
                finally:
                    self._spent = self.seconds
                    self._since = None
                yield now
        finally:
            work.close()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self._spent + (0.0 if self._since is None else time.monotonic() - self._since)

    @property
    def left(self) -> float:
        """Seconds until time is up; negative after it."""
        return self._given - self.seconds

    def done_since(self, began: float) -> float:
        """Return the share of the time after `began` that is over."""
        return (self.seconds - began) / (self._given - began)

    def progress(self, what: str, answer: TaughtAnswer | None = None) -> TeachProgress:
        """Return where the work stands."""
        seconds = self.seconds
        fraction = min(1.0, seconds / self._given)
        return TeachProgress(what, fraction, seconds, max(0.0, self._given - seconds), answer)
