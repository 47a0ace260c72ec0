"""What teaching is asked for, what it tells on the way, and what it gives in the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.model import Model
from napari_asmlp.teaching.finetune import FinetuneSettings
from napari_asmlp.teaching.light import LightSettings
from napari_asmlp.volume import Volume


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
    """What teaching gives in the end: the last answer, the network, and what happened."""

    answer: TaughtAnswer
    model: Model
    report: dict[str, Any]


class Clock:
    """Counts the seconds of a round."""

    def __init__(self, seconds: float) -> None:
        self._began, self._given = time.monotonic(), seconds

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.monotonic() - self._began

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
