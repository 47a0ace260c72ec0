"""`--folds`: each case is scored once by a model that has not seen it, and all are learnt from."""

import json
from dataclasses import replace

import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.model import load_model
from napari_asmlp.pipeline import TrainJob
from napari_asmlp.pipeline.cross_validation import fold_table, iter_cross_validate
from tests.blobs import write_dataset
from tests.test_train import RECIPE, files

NAMES = [f"ball_{n}" for n in range(4)]
WRITTEN = ["balls", "m.csv", "m.safetensors", "m.splits.json"]


@pytest.fixture
def job(tmp_path):
    write_dataset(tmp_path / "balls", count=4)
    recipe = replace(RECIPE, epochs=1, fold="auto")
    return TrainJob(tmp_path / "balls", tmp_path / "m.safetensors", recipe, device="cpu")


def run(work):
    progress = []
    while True:
        try:
            progress.append(next(work))
        except StopIteration as stop:
            return progress, stop.value


def test_every_case_is_scored_once_and_all_are_learnt_from(job):
    progress, trained = run(iter_cross_validate(job, 2))
    card, report = load_model(job.output).card, trained.report
    assert sorted(card.scores["cases"]) == sorted(report["kept_out"]) == NAMES
    assert (len(card.split["training"]), card.split["kept_out"]) == (4, [])
    assert "scores are of 4 cases, each by a model" in card.training_data
    splits = json.loads(job.split_file.read_text())
    assert sorted(name for fold in splits for name in fold["val"]) == NAMES
    assert files(job.output.parent) == WRITTEN
    table = fold_table(report)
    assert [line.split()[:2] for line in table] == [
        ["fold", "cases"], ["1/2", "2"], ["2/2", "2"], ["all", "4"],
    ]  # fmt: skip
    assert [step.number for step in progress if step.ends_epoch] == [1, 2, 3]
    fractions = [step.fraction for step in progress if step.ends_epoch]
    assert fractions == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_stopped_run_goes_on_with_the_fold_it_was_in(job):
    work = iter_cross_validate(job, 2)
    while next(work).number < 2:
        pass
    work.close()
    assert (job.folder / "fold-1.json").exists()
    with pytest.raises(SettingsError, match="an unfinished run lies there"):
        next(iter_cross_validate(job, 2))
    other = replace(job, resume=True, recipe=replace(job.recipe, seed=7))
    with pytest.raises(SettingsError, match="another recipe"):
        next(iter_cross_validate(other, 2))
    progress, _ = run(iter_cross_validate(replace(job, resume=True), 2))
    assert {step.number for step in progress} == {2, 3}
    assert files(job.output.parent) == WRITTEN


def test_resuming_where_nothing_lies_begins(job):
    run(iter_cross_validate(replace(job, resume=True), 2))
    assert files(job.output.parent) == WRITTEN


@pytest.mark.parametrize(
    ("folds", "words"), [(1, "folds 1: give at least 2"), (5, "only 4 different cases; give at")]
)
def test_folds_that_cannot_be(job, folds, words):
    with pytest.raises(SettingsError, match=words):
        run(iter_cross_validate(job, folds))
