"""What tests of the Mixer panel share: layers, classifiers in the models folder, quick lessons."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from napari_asmlp.model import save_model
from napari_asmlp.pipeline import ByExample, ByExampleSettings, ClassifyProgress, Item
from napari_asmlp.training.by_example import FitSettings
from napari_asmlp.viewer.classify import request
from tests.viewer.classify.cells import cells, model, scan

QUICK = ByExampleSettings(size=8, width=8, depth=1, fit=FitSettings(steps=6, batch=8))


@pytest.fixture
def classifiers(model_file: Path) -> dict[str, Path]:
    """Untrained ones of objects and of volumes, beside a segmenter."""
    return {
        what: save_model(model(what), model_file.with_name(f"{what}.safetensors"))
        for what in ("object", "volume")
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lessons take a moment."""
    monkeypatch.setattr(request, "ByExample", partial(ByExample, settings=QUICK))


@pytest.fixture
def filled(viewer: Any, classifiers: dict[str, Path], quick: None) -> Any:
    """A viewer without a window that shows the scan and the cells."""
    viewer.add_layer(scan())
    viewer.add_layer(cells())
    return viewer


class FakeClassify:
    """Says round of each of some objects, one step an object; waits before one of them."""

    def __init__(self, values: range, hold_at: int | None = None) -> None:
        self.values, self.hold_at = values, hold_at
        self.waits, self.go, self.closed = Event(), Event(), Event()

    def __call__(self, *_of_run: Any) -> Generator[ClassifyProgress, None, list[Item]]:
        items = [Item("cells", v, "round", {"round": 0.9, "long": 0.1}) for v in self.values]
        try:
            for done, item in enumerate(items):
                yield ClassifyProgress("classifying", done, len(items), 1.0, (item,))
                if done + 1 == self.hold_at:
                    self.waits.set()
                    self.go.wait(30)
            return items
        finally:
            self.closed.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClassify]:
    """A run that knows two objects of six, and waits."""
    fake = FakeClassify(range(1, 7), hold_at=2)
    monkeypatch.setattr(request, "iter_classify", fake)
    yield fake
    fake.go.set()
