"""Stopping a run and going on: the Segment panel with the real pipeline and a tiny model."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import nibabel
import numpy as np
import pytest
from napari.layers import Image

from napari_asmlp.grid import Region
from napari_asmlp.pipeline import iter_segment
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.layers import shown_index, source_view
from napari_asmlp.viewer.segment import kept, request
from napari_asmlp.viewer.segment.panel import SegmentPanel
from napari_asmlp.viewer.segment.request import Wish
from tests.viewer.conftest import without_dock

SHAPE = (8, 8, 40)  # windows of 8 voxels along k


class Gate:
    """The real pipeline, which waits before window `hold_at` until it may go on."""

    def __init__(self) -> None:
        self.hold_at: int | None = None
        self.fail_at: int | None = None
        self.go = Event()
        self.began_at: list[int] = []  # windows done when a run began to segment

    def __call__(self, *of_run: Any) -> Any:
        work = iter_segment(*of_run)
        first = True
        while True:
            try:
                progress = next(work)
            except StopIteration as end:
                return end.value
            if progress.stage == "segmenting" and first:
                self.began_at.append(progress.first)
                first = False
            try:
                yield progress
            except GeneratorExit:
                work.close()
                raise
            if progress.done == self.fail_at:
                work.close()
                raise RuntimeError("no")
            if progress.done == self.hold_at:
                self.go.wait(30)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(request, "iter_segment", gate)
    return gate


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1, 1, 2, 1])), path)
    return path


@pytest.fixture
def whole(panel, qtbot):
    """The labels of an undisturbed run; its layer is gone."""
    return run(panel, qtbot)


def run(panel, qtbot):
    panel.run()
    qtbot.waitUntil(lambda: panel._run is None, timeout=30_000)
    labels = source_view(panel._result).copy()
    panel._viewer.layers.remove(panel._result)
    return labels


def stop(panel, gate, qtbot, at=3):
    """Run until some windows are done, then cancel."""
    gate.hold_at = at
    gate.go.clear()
    panel.run()
    qtbot.waitUntil(lambda: panel.bar.value() == at, timeout=30_000)
    panel.cancel()
    gate.go.set()
    qtbot.waitUntil(lambda: panel._run is None, timeout=30_000)
    gate.hold_at = None


def finish(panel, qtbot):
    panel.run()
    qtbot.waitUntil(lambda: panel._run is None, timeout=30_000)


def test_it_goes_on_in_the_same_layer_as_one_change(viewer, panel, gate, qtbot, whole):
    stop(panel, gate, qtbot)
    layer = viewer.layers["scan tiny"]
    part = source_view(layer).copy()
    assert (part[..., :8] == whole[..., :8]).all()
    assert not part[..., 30:].any()
    assert panel.run_button.text() == "Resume"
    assert panel.anew_button.isVisibleTo(panel)
    finish(panel, qtbot)
    assert gate.began_at[-1] > 0  # not from the start
    assert [each.name for each in viewer.layers] == ["scan", "scan tiny"]
    np.testing.assert_array_equal(source_view(layer), whole)
    assert panel.run_button.text() == "Segment"
    assert not panel.anew_button.isVisibleTo(panel)
    assert not [each for each in kept.folder().iterdir() if each.is_dir()]
    layer.undo()
    np.testing.assert_array_equal(source_view(layer), part)


def test_it_goes_on_at_once_and_again(viewer, panel, gate, qtbot, whole):
    for at in (2, 4, 5):
        stop(panel, gate, qtbot, at)
    finish(panel, qtbot)
    assert gate.began_at == sorted(gate.began_at)
    np.testing.assert_array_equal(source_view(viewer.layers["scan tiny"]), whole)


def paint(layer, index, value):
    layer.data_setitem(shown_index(layer, [np.array([n]) for n in index]), value)


def test_corrections_made_meanwhile_stay(viewer, panel, gate, qtbot, whole):
    stop(panel, gate, qtbot)
    layer = viewer.layers["scan tiny"]
    for index in ((1, 2, 3), (4, 5, 38)):  # where it was finished, and where it was not
        paint(layer, index, 9)
    finish(panel, qtbot)
    view = source_view(layer)
    assert view[1, 2, 3] == view[4, 5, 38] == 9
    assert np.count_nonzero(view != whole) == 2


def test_into_chosen_labels_what_was_there_before_is_replaced(viewer, panel, gate, qtbot, whole):
    target = panel._viewer.add_labels(np.zeros_like(viewer.layers["scan"].data, np.uint8))
    target.scale, target.translate = viewer.layers["scan"].scale, viewer.layers["scan"].translate
    target.metadata = dict(viewer.layers["scan"].metadata)
    edits_of(target)
    panel.reset_choices()
    panel.target.value = target
    for index in ((1, 2, 3), (4, 5, 38)):
        paint(target, index, 9)
    stop(panel, gate, qtbot)
    assert source_view(target)[4, 5, 38] == 9
    target.undo()  # what was finished: it comes back
    finish(panel, qtbot)
    np.testing.assert_array_equal(source_view(target), whole)


def test_the_next_time_it_goes_on_in_a_new_layer(viewer, panel, gate, qtbot, whole):
    stop(panel, gate, qtbot)
    viewer.layers.remove("scan tiny")
    again = without_dock(SegmentPanel(viewer), qtbot)  # as after napari was closed
    assert again.run_button.text() == "Resume"
    assert "Resume goes on with the run stopped on" in again.kept_note.text()
    np.testing.assert_array_equal(run(again, qtbot), whole)
    assert gate.began_at[-1] > 0


def test_an_error_leaves_a_run_that_can_go_on(viewer, panel, gate, qtbot, whole):
    gate.fail_at = 3
    finish(panel, qtbot)
    assert panel.run_button.text() == "Resume"
    gate.fail_at = None
    finish(panel, qtbot)
    np.testing.assert_array_equal(source_view(viewer.layers["scan tiny"]), whole)


def test_other_settings_are_named_and_the_same_ones_go_on(panel, gate, qtbot):
    stop(panel, gate, qtbot)
    panel.advanced.overlap.value = 0.5
    assert panel.run_button.text() == "Segment"
    assert panel.kept_note.text().endswith("set back what has changed: overlap")
    panel.region.field.setText("0:4,:,:")
    assert panel.kept_note.text().endswith("overlap, region")
    panel.region.field.clear()
    panel.advanced.overlap.value = panel.advanced.overlap.min  # auto, as it was
    assert panel.run_button.text() == "Resume"


@pytest.mark.parametrize("changed", ["image", "model"])
def test_another_image_or_model_is_refused(
    viewer, panel, gate, qtbot, notes, model_file, monkeypatch, changed
):
    stop(panel, gate, qtbot)
    if changed == "image":
        viewer.layers["scan"].data[0, 0, 0] += 1  # in memory only: its file is as it was
    else:
        monkeypatch.setattr("napari_asmlp.model.Model.hash", "sha256:0", raising=False)
    before = source_view(viewer.layers["scan tiny"]).copy()
    finish(panel, qtbot)
    assert any(f"{changed}" in note and "segment it anew" in note for note in notes)
    np.testing.assert_array_equal(source_view(viewer.layers["scan tiny"]), before)
    assert panel.run_button.text() == "Segment"
    finish(panel, qtbot)
    assert gate.began_at[-1] == 0
    assert panel.status.text() == "Done"


def test_starting_over_drops_what_was_finished(viewer, panel, gate, qtbot, whole):
    stop(panel, gate, qtbot)
    panel.anew_button.click()
    qtbot.waitUntil(lambda: panel._run is None, timeout=30_000)
    assert gate.began_at[-1] == 0
    assert [each.name for each in viewer.layers] == ["scan", "scan tiny", "scan tiny [1]"]
    np.testing.assert_array_equal(source_view(viewer.layers[-1]), whole)
    assert panel.run_button.text() == "Segment"


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_a_word_and_no_obstacle(
    viewer, panel, gate, qtbot, notes, monkeypatch, whole
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 0))
    stop(panel, gate, qtbot)
    assert any("too little to keep" in note and "cannot be resumed" in note for note in notes)
    assert panel.run_button.text() == "Segment"
    np.testing.assert_array_equal(run(panel, qtbot), whole)


def test_maps_are_images_in_memory(viewer, panel, qtbot):
    panel.advanced.mirror.value = panel.advanced.uncertainty.value = True
    panel.advanced.probabilities.value = True
    finish(panel, qtbot)
    names = [
        "scan uncertainty", "scan disagreement", "scan probability of background",
        "scan probability of anterior", "scan probability of posterior",
    ]  # fmt: skip
    assert [each.name for each in viewer.layers] == ["scan", "scan tiny", *names]
    shares = [viewer.layers[name].data for name in names[2:]]
    assert not any(isinstance(share, np.memmap) for share in shares)
    np.testing.assert_allclose(sum(shares), 1, atol=1e-5)
    np.testing.assert_array_equal(np.argmax(shares, axis=0), viewer.layers["scan tiny"].data)
    assert viewer.layers.selection.active is viewer.layers["scan tiny"]


def wish(number):
    return Wish(Image(np.zeros((2, 2, 2)), name=f"scan {number}"), Path("tiny.safetensors"), None)


def test_only_the_last_few_runs_are_kept_and_none_for_long(scan, model_file, panel):
    order = request.resolve(panel.wish())
    places = [kept.place_of(wish(number)) for number in range(6)]
    assert len(set(places)) == 6
    for age, place in enumerate(places):
        place.mkdir(parents=True)
        (place / "run.json").write_text("{}")
        days = 40 if age == 1 else age
        os.utime(place, times=(time.time() - days * 86_400,) * 2)
    with kept.held(places[4], resume=True) as partial:  # another window is at it
        assert partial is not None
        with kept.held(places[4], resume=True) as second:
            assert second is None
        kept.prepare(places[5], order)
    assert [kept.is_kept(place) for place in places] == [True, False, True, True, True, True]
    kept.prepare(places[5], order)
    assert [kept.is_kept(place) for place in places] == [True, False, True, True, False, True]


def test_what_has_changed_is_named():
    one = wish(0)
    other = replace(one, settings=replace(one.settings, mirror=True), memory="2GB")
    assert kept.changed(one, other) == ["mirror", "memory"]
    assert kept.changed(one, replace(one, target=object())) == []
    region = replace(one.settings, region=Region((0, 0, 0), (1, 1, 1)))
    assert kept.changed(one, replace(one, settings=region)) == []
