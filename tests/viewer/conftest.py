"""What tests of the window share: small volumes, a model file, a quick pipeline, leak checks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import torch  # isort: skip  # first: loaded beside a running Qt it delays a worker past its test
import napari
import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest

import napari_asmlp
from napari_asmlp.edit import apart
from napari_asmlp.grid import Region
from napari_asmlp.model import Card, LabelEntry, Model, save_model
from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.pipeline import Partial, Progress, Segmentation, SegmentSettings
from napari_asmlp.preprocess import Slab
from napari_asmlp.viewer.history import journal, recover
from napari_asmlp.viewer.panel import Panel
from napari_asmlp.viewer.segment import live, request
from napari_asmlp.viewer.segment.panel import SegmentPanel
from napari_asmlp.volume import Volume

MANIFEST = Path(napari_asmlp.__file__).with_name("napari.yaml")
SHAPE = (6, 7, 8)
# oblique neither; i to the left, j to superior, k to posterior; 1, 2 and 3 mm
AFFINE = np.array([[-1.0, 0, 0, 10], [0, 0, -3.0, 20], [0, 2.0, 0, -30], [0, 0, 0, 1]])
ENTRIES = (LabelEntry(1, "anterior", "#e69f00"), LabelEntry(2, "posterior", "#56b4e9"))


@pytest.fixture(autouse=True, scope="module")
def settled_heap() -> None:
    """Let the collector pass over what is there already.

    napari collects all garbage for each layer that leaves a canvas, and looks for what is left of
    each window: with every module of the session loaded, that is a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test read or write what the user's windows remember."""
    monkeypatch.setenv("NAPARI_ASMLP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("NAPARI_ASMLP_STATE", str(tmp_path / "state"))  # journals


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A file whose axes are turned, with a number of its own in each voxel."""
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), path)
    return path


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny untrained model, alone in the user's models folder."""
    config = AsmlpConfig(out_channels=3, widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,))
    card = Card("tiny", "For tests.", ENTRIES, config, window=(8, 8, 8))
    torch.manual_seed(0)
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NAPARI_ASMLP_MODELS", str(folder))
    monkeypatch.setattr("napari_asmlp.zoo.BUNDLED", tmp_path / "none")
    return save_model(Model(card, Asmlp(config)), folder / "tiny.safetensors")


@dataclass
class FakePipeline:
    """Labels each plane along k with 1 + k % 2, one step a plane, as fast as it is allowed to.

    Before plane `hold_at` it waits until `go` is set, so that a test can act in the middle of a
    run without minding the clock.
    """

    hold_at: int | None = None
    fail_at: int | None = None
    error: Exception = field(default_factory=RuntimeError)
    notes: tuple[str, ...] = ()
    finds_nothing: bool = False
    go: Event = field(default_factory=Event)
    closed: Event = field(default_factory=Event)

    def __call__(
        self,
        volume: Volume,
        _model: Model,
        settings: SegmentSettings,
        _partial: Partial | None = None,
    ) -> Generator[Progress, None, Segmentation]:
        region = settings.region or Region.whole(volume.grid.shape)
        labels = np.zeros(volume.grid.shape, np.uint8)
        planes = range(region.start[2], region.stop[2])
        try:
            yield Progress("reading", 0, len(planes), 0.0)
            for done, k in enumerate(planes):
                if done == self.hold_at:
                    self.go.wait(30)
                if done == self.fail_at:
                    raise self.error
                plane = Region((*region.start[:2], k), (*region.stop[:2], k + 1))
                labels[plane.slices] = 0 if self.finds_nothing else 1 + k % 2
                slab = Slab(plane, labels[plane.slices].copy())
                seconds = 0.1 * (done + 1)
                yield Progress("segmenting", done + 1, len(planes), seconds, slab, notes=self.notes)
            sizes = {} if self.finds_nothing else {"anterior": 6.0}
            return Segmentation(volume.with_labels(labels), None, {"volumes_mm3": sizes})
        finally:
            self.closed.set()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePipeline]:
    fake = FakePipeline()
    monkeypatch.setattr(request, "iter_segment", fake)
    yield fake
    fake.go.set()


@pytest.fixture
def plugin(npe2pm: Any) -> Iterator[Any]:
    """Our manifest, registered, and no other plugin but napari's own."""
    import napari_builtins

    builtins = Path(napari_builtins.__file__).parent / "builtins.yaml"
    with (
        npe2pm.tmp_plugin(manifest=PluginManifest.from_file(builtins)),
        npe2pm.tmp_plugin(manifest=PluginManifest.from_file(MANIFEST)) as ours,
    ):
        yield ours


@pytest.fixture
def notes() -> Iterator[list[str]]:
    """The texts of the notifications that a test causes."""
    from napari.utils.notifications import Notification, notification_manager

    texts: list[str] = []

    def keep(note: Notification) -> None:
        texts.append(str(note.message))

    notification_manager.notification_ready.connect(keep)
    yield texts
    notification_manager.notification_ready.disconnect(keep)


@pytest.fixture
def idle(qtbot: Any) -> Iterator[None]:
    """Afterwards nothing may run, and no widget may be left.

    One worker process for edits stays by design, but must be idle; so must the journals' thread.
    """
    from qtpy.QtCore import QEvent, QThreadPool
    from qtpy.QtWidgets import QApplication

    yield
    assert QThreadPool.globalInstance().waitForDone(30_000)
    qtbot.waitUntil(lambda: not live._running and not recover._restoring, timeout=30_000)
    qtbot.waitUntil(lambda: apart._all == set(apart._idle), timeout=30_000)
    journal.flush()
    assert journal._writer._tasks.empty()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # or they pass for leaks


@pytest.fixture
def window(
    make_napari_viewer_proxy: Callable[..., Any], plugin: Any, model_file: Path, idle: None
) -> Any:
    """A viewer in a window, with nothing in it."""
    return make_napari_viewer_proxy(strict_qt="raise")


@pytest.fixture
def viewer(
    plugin: Any, model_file: Path, idle: None, monkeypatch: pytest.MonkeyPatch
) -> ViewerModel:
    """A viewer without a window, with nothing in it: quicker by far, and enough for most."""
    viewer = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    return viewer


@pytest.fixture
def docked(window: Any, scan: Path) -> Any:
    """The Segment panel in a window, with the scan open."""
    _, widget = window.window.add_plugin_dock_widget("napari-asmlp", "Segment")
    window.open(str(scan), plugin="napari-asmlp")
    return widget


@pytest.fixture
def panel(viewer: ViewerModel, scan: Path, qtbot: Any) -> Any:
    """The Segment panel of a viewer without a window, with the scan open."""
    viewer.open(str(scan), plugin="napari-asmlp")
    return without_dock(SegmentPanel(viewer), qtbot)


def without_dock(panel: Any, qtbot: Any) -> Any:
    """Do for a panel what napari does when it docks it; it is deleted after the test."""
    from qtpy.QtWidgets import QWidget

    events = panel._viewer.layers.events
    if hasattr(panel, "reset_choices"):
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(panel.reset_choices)
    panel.place = QWidget()  # whom nobody else holds
    panel.setParent(panel.place)
    qtbot.addWidget(panel.place, before_close_func=_close_panels)
    return panel


def _close_panels(place: Any) -> None:
    for panel in place.findChildren(Panel):
        panel.closed()


def close_dock(panel: Any) -> None:
    """Do to a panel what napari does when its dock is closed."""
    panel.setParent(None)
