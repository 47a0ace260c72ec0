"""Scores of a trained model: what they are measured on, and that they never cost the model."""

from dataclasses import replace

import numpy as np
import pytest

from napari_asmlp.errors import AsmlpError, OutputError
from napari_asmlp.model import load_model
from napari_asmlp.pipeline import SegmentSettings, TrainJob, iter_segment, iter_train
from napari_asmlp.pipeline.scoring import score
from napari_asmlp.training.dataset import read_case, read_dataset
from napari_asmlp.volume import Volume
from tests.blobs import write_dataset
from tests.models import small_model
from tests.pipeline_runs import run
from tests.test_train import RECIPE


@pytest.fixture
def cases(tmp_path):
    return read_dataset(write_dataset(tmp_path / "balls", count=3)).cases


@pytest.fixture
def job(tmp_path, cases):
    recipe = replace(RECIPE, epochs=1)
    return TrainJob(tmp_path / "balls", tmp_path / "m.safetensors", recipe, device="cpu")


def finished(steps):
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_probabilities_may_be_in_the_slabs_alone(cases):
    image, _ = read_case(cases[0])
    settings = SegmentSettings(precision="fp32", probabilities=True)
    _, kept = run(image, small_model(), settings)
    steps = iter_segment(image, small_model(), settings, keep_probabilities=False)
    slabs = []
    with pytest.raises(StopIteration) as stop:
        while True:
            slabs.append(next(steps).slab)
    assert stop.value.value.probabilities is None
    parts = [slab.probabilities for slab in slabs if slab is not None]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), kept.probabilities.array())


def foreground(model, case):
    """Return the probabilities and the right outputs where labels or found labels are not 0."""
    image, reference = read_case(case)
    _, found = run(image, model, SegmentSettings(probabilities=True))
    truth = reference.array()
    where = (truth > 0) | (found.labels.array() > 0)
    return found.probabilities.array()[where], truth[where]


def test_calibration_is_over_all_voxels_of_all_cases(cases):
    """A bin's distance of confidence and accuracy, times its share: with a loop of its own."""
    model = small_model()
    scored = finished(score(model, cases))
    parts = [foreground(model, case) for case in cases]
    chances, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    error = 0.0
    for n in range(15):
        inside = (confidence * 15).astype(int).clip(max=14) == n
        error += abs(confidence[inside].sum() - right[inside].sum()) / truth.size
    found = scored.calibration
    assert found["voxels"] == found["voxels_drawn"] == truth.size
    assert found["ece_before"] == pytest.approx(error, abs=1e-4)
    assert found["risk"] == pytest.approx(1 - right.mean(), abs=1e-4)


def test_only_so_many_voxels_are_held(cases, monkeypatch):
    monkeypatch.setattr("napari_asmlp.pipeline.scoring._VOXELS", 100)
    found = finished(score(small_model(), cases)).calibration
    assert found["voxels_drawn"] == 200 < found["voxels"]


def test_no_volume_of_probabilities_is_made(cases, monkeypatch):
    made = []
    check = Volume.__post_init__

    def watched(volume):
        made.append(len(volume.data.shape))
        check(volume)

    monkeypatch.setattr(Volume, "__post_init__", watched)
    finished(score(small_model(), cases))
    assert set(made) == {3}


@pytest.mark.parametrize("error", [AsmlpError("a case is damaged"), MemoryError()])
def test_a_failed_scoring_does_not_lose_the_model(job, monkeypatch, error):
    def failing(*_):
        yield from ()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("napari_asmlp.pipeline.train.score", failing)
        with pytest.raises(AsmlpError, match=r"m\.safetensors is written, but without scores"):
            finished(iter_train(job))
    unscored = load_model(job.output)
    assert unscored.card.scores == {}
    with pytest.raises(OutputError, match="exists already"):
        next(iter_train(job))
    trained = finished(iter_train(replace(job, resume=True)))
    scored = load_model(job.output)
    assert scored.card.scores == trained.model.card.scores != {}
    assert all(
        a.equal(b)
        for a, b in zip(unscored.network.parameters(), scored.network.parameters(), strict=True)
    )


def unfinished(job):
    steps = iter_train(job)
    while not hasattr(next(steps), "epoch"):
        pass
    steps.close()


def test_going_on_replaces_no_file_of_somebody_else(job, tmp_path, monkeypatch):
    """A picture that lay there, and a model that came meanwhile."""
    monkeypatch.setattr("napari_asmlp.training.logs.find_spec", lambda name: True)
    unfinished(job)
    picture = tmp_path / "holiday.png"
    for path, again in (
        (picture, replace(job, resume=True, plot=picture)),
        (job.output, replace(job, resume=True)),
    ):
        path.write_bytes(b"mine")
        with pytest.raises(OutputError, match=rf"{path.name}: exists already"):
            next(iter_train(again))
        assert path.read_bytes() == b"mine"


def test_going_on_draws_its_own_plot_again(job, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("napari_asmlp.training.logs.find_spec", lambda name: True)
    monkeypatch.setattr(
        "napari_asmlp.training.logs.draw", lambda rows, names, path: drawn.append(path)
    )
    job = replace(job, plot=tmp_path / "p.png", recipe=replace(job.recipe, validate_every=1))
    unfinished(job)
    job.plot.write_bytes(b"drawn")
    finished(iter_train(replace(job, resume=True)))
    assert set(drawn) == {job.plot}


def test_a_file_in_the_place_of_the_folder_is_named(job):
    job.folder.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"\.m\.training: a run keeps its state in a folder"):
        next(iter_train(job))
    assert job.folder.read_bytes() == b"mine"
