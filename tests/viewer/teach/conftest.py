"""What tests of the Teach panel share: a teacher that answers at once, and waits when told."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.model import Card, LabelEntry, Model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.teaching.annotations import Annotation
from napari_asmlp.teaching.loop import Taught, TaughtAnswer, TeachProgress, TeachSettings
from napari_asmlp.viewer.teach import rounds
from napari_asmlp.volume import Volume


@dataclass
class FakeTeacher:
    """Says of every voxel the largest class in the first answer, and the smallest in the second.

    Before answer `hold_at` of a round it waits until `go` is set.
    """

    settings: TeachSettings = field(default_factory=TeachSettings)
    hold_at: int | None = None
    go: Event = field(default_factory=Event)
    rounds: int = 0
    known: dict[str, tuple[Volume, Annotation]] = field(default_factory=dict)
    restored: list[int] = field(default_factory=list)
    closed: Event = field(default_factory=Event)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.known)

    def set_volume(self, key: str, volume: Volume, annotation: Annotation) -> None:
        self.known[key] = volume, annotation

    def remove(self, key: str) -> None:
        del self.known[key]

    def iter_round(self, shown: str) -> Generator[TeachProgress, None, Taught]:
        self.rounds += 1
        volume, annotation = self.known[shown]
        try:
            yield TeachProgress("reading", 0.0, 0.0, 9.0)
            for n, value in enumerate((annotation.values[-1], annotation.values[1])):
                if n == self.hold_at:
                    self.go.wait(30)
                answer = self.answer(volume, value)
                yield TeachProgress(f"answer {n}", n / 2, 1.0, 9.0, answer)
            return Taught(answer, None, {"steps": 3 * self.rounds, "kept_back": {}})
        finally:
            self.closed.set()

    def answer(self, volume: Volume, value: int) -> TaughtAnswer:
        shape = volume.grid.shape
        doubt = np.zeros(shape, np.uint8)
        doubt[2, 3, 4] = 255
        return TaughtAnswer("answer", volume.with_labels(np.full(shape, value, np.uint8)), doubt)

    def iter_apply(self, volume: Volume) -> Generator[TeachProgress, None, TaughtAnswer]:
        yield TeachProgress("labelling", 0.5, 1.0, 1.0)
        return self.answer(volume, 1)

    def model(self) -> Model:
        config = AsmlpConfig(
            out_channels=2, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)
        )
        entries = (LabelEntry(1, "label 1", "#000000"),)
        return Model(Card("taught", "", entries, config, window=(8, 8, 8)), Asmlp(config))

    def snapshot(self) -> int:
        if not self.rounds:
            raise SettingsError("nothing has been taught yet")
        return self.rounds

    def restore(self, snapshot: int) -> None:
        self.restored.append(snapshot)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTeacher]:
    fake = FakeTeacher()
    monkeypatch.setattr(rounds, "Teacher", lambda *_: fake)
    yield fake
    fake.go.set()
