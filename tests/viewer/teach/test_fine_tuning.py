"""Fine-tuning by corrected labels: what goes into the project, and what the dialog says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_asmlp.grid import Region
from napari_asmlp.io import read_volume, write_volume
from napari_asmlp.pipeline.fine_tune import FineTuned
from napari_asmlp.project import WHOLE, load_project
from napari_asmlp.viewer.layers import labels_on, source_view
from napari_asmlp.viewer.region import region_box
from napari_asmlp.viewer.teach import tune_request
from napari_asmlp.viewer.teach.classes import new_annotations
from napari_asmlp.viewer.teach.fine_tuning import FineTuneDialog
from tests.viewer.teach.scans import BALL, image_volume, scan

PATIENCE = 30_000


class FakeRun:
    """Tells of the job that it was given, and finds label 1 better."""

    def __init__(self):
        self.jobs = []

    def __call__(self, job):
        self.jobs.append(job)
        yield SimpleNamespace(
            fraction=0.5, seconds_left=3.0, note="two slabs", describe=lambda: "epoch 1, loss 0.2"
        )
        found = {"before": {"mean": {"1": 0.5}}, "after": {"mean": {"1": 0.75}}}
        report = {"held_back": found, "labels": {"1": "anterior"}}
        return FineTuned(SimpleNamespace(path=Path(job.init)), True, report)


@pytest.fixture
def fake_run(monkeypatch):
    fake = FakeRun()
    monkeypatch.setattr(tune_request, "iter_fine_tune", fake)
    return fake


@pytest.fixture
def labels(viewer, tmp_path):
    """Corrected labels on an image in a file, beside annotations, which are not offered."""
    path = write_volume(image_volume(), tmp_path / "ball.nii.gz")
    (image,) = viewer.open(str(path), plugin="napari-asmlp")
    viewer.add_layer(new_annotations(image))
    return viewer.add_layer(labels_on(image, BALL.astype(np.uint8), name="ball tiny"))


@pytest.fixture
def dialog(viewer, labels, fake_run, tmp_path, qtbot):
    dialog = FineTuneDialog(viewer)
    qtbot.addWidget(dialog)
    dialog.project.setText(str(tmp_path / "c.asmlp.json"))
    dialog.output.setText(str(tmp_path / "out.safetensors"))
    return dialog


def run(dialog, qtbot):
    dialog.run_button.click()
    qtbot.waitUntil(lambda: dialog._task is None, timeout=PATIENCE)


def test_corrections_are_gathered_and_what_came_of_them_is_said(
    dialog, labels, fake_run, tmp_path, notes, qtbot
):
    assert [name for name, _ in dialog._labels(None)] == ["ball tiny"]
    dialog.minutes.setValue(2.0)
    run(dialog, qtbot)
    (entry,) = load_project(tmp_path / "c.asmlp.json").volumes
    assert (entry.name, entry.corrected) == ("ball", WHOLE)
    assert entry.images == (tmp_path / "ball.nii.gz",)
    np.testing.assert_array_equal(read_volume(entry.annotations, kind="labels").array(), BALL)
    (job,) = fake_run.jobs
    assert (job.recipe.minutes, job.forget, Path(job.init).name) == (2.0, False, "tiny.safetensors")
    assert "Mean Dice 0.5000 before, 0.7500 after" in dialog.status.text().replace("\u200b", "")
    assert "anterior" in dialog.scores.text()
    assert dialog.scores.text().endswith("Two slabs")
    assert "0.500&nbsp;→" in dialog.scores.text()
    assert notes == ["tiny.safetensors can be chosen in the Segment panel now"]


def test_a_region_counts_alone_and_the_same_image_again_takes_its_place(
    dialog, viewer, labels, tmp_path, qtbot
):
    run(dialog, qtbot)
    source_view(labels)[0] = 1
    region = Region((2, 3, 4), (8, 9, 10))
    region_box(viewer).put(viewer.layers["ball"], region)
    dialog.part.value = "the region that is drawn"
    run(dialog, qtbot)
    (entry,) = load_project(tmp_path / "c.asmlp.json").volumes
    assert entry.corrected == (region,)
    assert read_volume(entry.annotations, kind="labels").array()[0].all()


def test_an_image_in_no_file_is_written_once(dialog, viewer, labels, tmp_path, qtbot):
    viewer.layers.remove("ball")
    viewer.layers.insert(0, scan(5))
    for _ in range(2):
        run(dialog, qtbot)
    (entry,) = load_project(tmp_path / "c.asmlp.json").volumes
    assert entry.images == (tmp_path / "c_ball 5.nii.gz",)
    np.testing.assert_allclose(read_volume(entry.images[0]).array(), image_volume(5).array())


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda d: d.project.setText("/tmp/c.json"), "a project file ends in .asmlp.json"),
        (lambda d: d.output.setText("/tmp/out.pt"), "a model file ends in .safetensors"),
        (lambda d: setattr(d.part, "value", "the region that is drawn"), "There is no region"),
        (lambda d: d._viewer.layers.clear() or d.labels.reset_choices(), "there are no labels on"),
    ],
)
def test_wrong_input_is_said_in_the_dialog(dialog, fake_run, act, words):
    act(dialog)
    dialog.run_button.click()
    assert words in dialog.status.text().replace("\u200b", "")
    assert fake_run.jobs == []
