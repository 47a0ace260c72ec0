"""From a folder of labelled volumes to a model file: the path as a whole, killed and resumed."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from safetensors.torch import load_file

from napari_asmlp.errors import AsmlpError, OutputError, SettingsError
from napari_asmlp.grid import Grid
from napari_asmlp.model import load_model, save_model
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.pipeline import FieldOfViewError, TrainJob, iter_train, segment
from napari_asmlp.pipeline.train import doubts_about
from napari_asmlp.training.recipe import Recipe
from napari_asmlp.volume import Volume
from tests.blobs import AFFINE, write_dataset
from tests.models import SMALL, small_model

RECIPE = Recipe(
    epochs=2,
    crop=(16, 16, 16),
    fold="1/2",
    precision="fp32",
    network=AsmlpConfig(widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)),
)

SIDES = ("training", "kept_out")


@pytest.fixture
def job(tmp_path):
    write_dataset(tmp_path / "balls", count=5)
    return TrainJob(tmp_path / "balls", tmp_path / "m.safetensors", RECIPE, device="cpu")


def run(job):
    """Return all progress and the result."""
    steps, progress = iter_train(job), []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as stop:
            return progress, stop.value


def notes(progress):
    """Return what was said, but for where labels lie, which is said of each data set."""
    said = [step.note for step in progress if getattr(step, "note", "")]
    return [text for text in said if not text.startswith("labels lie")]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("asked", "place", "note"),
    [("auto", "fixed", "labels lie at a fixed place"), ("anywhere", "anywhere", None)],
)
def test_the_card_says_where_labels_lie(job, asked, place, note):
    progress, trained = run(replace(job, recipe=replace(RECIPE, place=asked)))
    card = load_model(job.output).card
    assert (card.place, card.tilt_degrees) == (place, 0)
    said = [step.note for step in progress if getattr(step, "note", "").startswith("labels lie")]
    assert [text.startswith(note or "") for text in said] == [True] * (note is not None)
    image = np.zeros((60, 18, 12), np.float32)
    image[20:30] = 100
    large = Volume(image, Grid(image.shape, np.eye(4)))
    if place == "anywhere":
        segment(large, trained.model)
    else:
        with pytest.raises(FieldOfViewError, match="--whole"):
            segment(large, trained.model)


def add_case(folder, name, image, labels):
    """Write one more case into a data set."""
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), folder / "imagesTr" / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), folder / "labelsTr" / f"{name}.nii.gz")
    index = folder / "dataset.json"
    content = json.loads(index.read_text())
    content["training"].append(
        {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"}
    )
    index.write_text(json.dumps(content))


def test_a_run_leaves_the_model_and_its_table(job):
    _, trained = run(job)
    assert files(job.output.parent) == ["balls", "m.csv", "m.safetensors", "m.splits.json"]
    assert len((job.output.parent / "m.csv").read_text().splitlines()) == 3
    card = load_model(job.output).card
    report = trained.report
    assert card.split == report["split"]
    assert len(card.split["training"]) + len(card.split["kept_out"]) == 5
    assert len(report["kept_out"]) == len(card.split["kept_out"]) > 0
    assert card.temperature == report["temperature"] == trained.model.card.temperature
    assert card.calibration["voxels"] > 100
    assert card.preprocessing.spacing == (1.0, 1.0, 1.0)


def test_samples_stay_if_asked_for(job):
    run(replace(job, keep_samples=True))
    assert len(files(job.folder)) == 15


def test_a_cancelled_run_keeps_what_resuming_needs(job):
    steps = iter_train(job)
    while not hasattr(next(steps), "epoch"):
        pass
    steps.close()
    assert len(files(job.folder)) == 17  # 5 cases of 3 files, checkpoint, names of outputs
    assert not job.output.exists()
    with pytest.raises(SettingsError, match="--resume goes on with it"):
        next(iter_train(job))
    with pytest.raises(SettingsError, match="another recipe"):
        run(replace(job, resume=True, recipe=replace(RECIPE, seed=3)))
    run(replace(job, resume=True))
    assert files(job.output.parent) == ["balls", "m.csv", "m.safetensors", "m.splits.json"]


def test_a_failed_run_leaves_nothing(job):
    labels = next((job.dataset / "labelsTr").iterdir())
    array = np.asarray(nibabel.load(labels).dataobj) * 7
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), labels)
    with pytest.raises(AsmlpError, match=r"label value 7 is not in dataset\.json"):
        run(job)
    assert files(job.output.parent) == ["balls"]


def test_the_split_stays_when_cases_come_during_a_run(job, tmp_path):
    steps = iter_train(job)
    while not hasattr(next(steps), "epoch"):
        pass
    steps.close()
    other = write_dataset(tmp_path / "more", count=9)
    for n in range(5, 9):
        image, labels = (
            np.asarray(nibabel.load(other / room / f"ball_{n}.nii.gz").dataobj)
            for room in ("imagesTr", "labelsTr")
        )
        add_case(job.dataset, f"new_{n}", image, labels)
    _, trained = run(replace(job, resume=True))
    _, small = run(replace(job, dataset=other, output=tmp_path / "o.safetensors"))
    found = trained.model.card.split
    assert len(found["training"]) + len(found["kept_out"]) == 9
    assert found == small.model.card.split  # as if all had been there from the beginning


def test_a_model_to_start_from_brings_its_split(job, tmp_path):
    """What fold 1 trained on is not what fold 2 is scored on."""
    _, first = run(job)
    _, second = run(
        replace(
            job,
            recipe=replace(RECIPE, fold="2/2"),
            init=str(job.output),
            output=tmp_path / "second.safetensors",
        )
    )
    sides = [{side: each.model.card.split[side] for side in SIDES} for each in (first, second)]
    assert sides[0] == sides[1]


def test_other_labels_get_a_head_of_their_own(job, tmp_path):
    start = small_model(replace(SMALL, out_channels=4), labels=small_labels(3))
    path = save_model(start, tmp_path / "start.safetensors", half=False)
    progress, trained = run(
        replace(
            job, init=str(path), recipe=replace(RECIPE, learning_rate=1e-9, muon_learning_rate=1e-9)
        )
    )
    note = notes(progress)[0]
    assert note.startswith("begins with ") and note.endswith("; new: head.1.weight, head.1.bias")
    mine, theirs = trained.model.network.state_dict(), start.network.state_dict()
    assert mine["head.1.weight"].shape[0] == 3
    name = "encoder.0.0.mlp.0.weight"
    np.testing.assert_allclose(mine[name], theirs[name], atol=1e-3)


def test_outputs_of_regions_are_not_taken_for_those_of_labels(job, tmp_path):
    """As many outputs, but each with a sigmoid of its own."""
    start = small_model(activation="sigmoid", labels=small_labels(3))
    path = save_model(start, tmp_path / "start.safetensors")
    progress, _ = run(replace(job, init=str(path)))
    head = "head.0.weight, head.0.bias, head.1.weight, head.1.bias"
    assert notes(progress)[0].endswith(f"; new: {head}")


def small_labels(count):
    from napari_asmlp.zoo import label_table

    return label_table([f"label {n}" for n in range(count)])


def test_a_label_that_no_case_has_is_said(job):
    index = job.dataset / "dataset.json"
    content = json.loads(index.read_text())
    content["labels"]["7"] = "Absent"
    index.write_text(json.dumps(content))
    progress, trained = run(job)
    assert notes(progress)[0] == "no case to train on has label 'Absent'"
    assert segment(next((job.dataset / "imagesTr").iterdir()), trained.model).array().max() <= 7


def test_probabilities_follow_the_temperature(job):
    """Softmax of logits / T: the labels are the same, and T = 1 to the power of 1 / T."""
    from napari_asmlp.io import read_volume
    from napari_asmlp.pipeline import SegmentSettings, iter_segment
    from napari_asmlp.pipeline.segmentation import finish

    _, trained = run(job)
    image = read_volume(next((job.dataset / "imagesTr").iterdir()))
    settings = SegmentSettings(precision="fp32", probabilities=True, uncertainty=True)

    def found(temperature):
        card = replace(trained.model.card, temperature=temperature)
        return finish(iter_segment(image, replace(trained.model, card=card), settings))

    plain, soft = found(1.0), found(2.0)
    np.testing.assert_array_equal(plain.labels.array(), soft.labels.array())
    expected = np.sqrt(plain.probabilities.array())
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(soft.probabilities.array(), expected, atol=1e-5)
    assert soft.uncertainty.array().mean() > plain.uncertainty.array().mean()


@pytest.mark.parametrize(("fold", "words"), [("5/5", "only one case"), ("1/2", "only one case")])
def test_folds_without_cases_are_refused(job, fold, words):
    index = job.dataset / "dataset.json"
    content = json.loads(index.read_text())
    for entry in content["training"][1:]:
        (job.dataset / entry["image"]).unlink()
        (job.dataset / entry["label"]).unlink()
    content["training"] = content["training"][:1]
    index.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="only one case"):
        run(replace(job, recipe=replace(RECIPE, fold=fold)))
    _, trained = run(replace(job, recipe=replace(RECIPE, fold="all")))
    assert trained.model.card.scores == {} and trained.model.card.calibration == {}


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(job):
    steps = iter_train(job)
    while not hasattr(next(steps), "epoch"):
        pass
    steps.close()
    job.checkpoint.unlink()
    progress, _ = run(replace(job, resume=True))
    assert [step.epoch for step in progress if hasattr(step, "epoch")] == [1, 2]


def test_the_model_to_start_from_is_never_replaced(job):
    run(job)
    with pytest.raises(OutputError, match="is the input"):
        run(replace(job, init=str(job.output), overwrite=True))


def test_resuming_after_the_last_epoch_writes_the_table_again(job):
    steps = iter_train(job)
    while getattr(next(steps), "what", "") != "scoring":
        pass
    steps.close()
    table = job.logs.table.read_text()
    job.logs.table.unlink()
    run(replace(job, resume=True))
    assert job.logs.table.read_text() == table


def test_other_data_are_not_gone_on_with(job):
    steps = iter_train(job)
    while not hasattr(next(steps), "epoch"):
        pass
    steps.close()
    path = sorted((job.dataset / "labelsTr").iterdir())[2]
    before = path.read_bytes()
    swapped = np.array([0, 2, 1], np.uint8)[np.asarray(nibabel.load(path).dataobj)]
    nibabel.save(nibabel.Nifti1Image(swapped, AFFINE), path)
    with pytest.raises(SettingsError, match="the data set's labels changed"):
        run(replace(job, resume=True))
    path.write_bytes(before)
    image = job.dataset / "imagesTr" / path.name
    before = image.read_bytes()
    brighter = np.asarray(nibabel.load(image).dataobj) + 1
    nibabel.save(nibabel.Nifti1Image(brighter, AFFINE), image)
    with pytest.raises(SettingsError, match="the data set's labels changed"):  # of a case that left
        run(replace(job, resume=True))
    image.write_bytes(before)
    run(replace(job, resume=True))


def test_resuming_where_nothing_lies_begins(job):
    run(replace(job, resume=True))
    assert job.output.exists()


def test_a_run_that_was_stopped_early_can_be_resumed(job, tmp_path):
    """SIGTERM while the cases are read: nothing is there to go on with, and that is no error."""
    words = ["train", "balls", "-o", "m.safetensors", "--epochs", "1", "--device", "cpu"]
    code = """
import sys
from napari_asmlp.cli import main, train
def stopped(*_):
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
    yield
if "--resume" not in sys.argv:
    train.iter_train = stopped
sys.exit(main(sys.argv[1:]))
"""
    place = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code, *words, *more],
            check=False,
            capture_output=True,
            text=True,
            **place,
        )
        for more in ([], ["--resume"])
    )
    assert (first.returncode, first.stderr) == (130, "napari-asmlp: cancelled\n")
    assert second.returncode == 0, second.stderr


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (4, 1)])
def test_few_cases_and_no_word_about_folds(tmp_path, count, held_out):
    write_dataset(tmp_path / "few", count=count)
    recipe = replace(RECIPE, fold="auto", epochs=1)
    progress, trained = run(TrainJob(tmp_path / "few", tmp_path / "f.safetensors", recipe))
    assert len(trained.report["kept_out"]) == held_out
    assert trained.report["note"] == notes(progress)[0]
    assert (tmp_path / "f.splits.json").exists() == bool(held_out)


def test_a_split_from_a_file(job, tmp_path):
    names = [f"ball_{n}" for n in range(5)]
    path = tmp_path / "splits_final.json"
    folds = [{"train": names[2:], "val": names[:2]}, {"train": names[:2], "val": names[2:]}]
    path.write_text(json.dumps(folds))
    recipe = replace(RECIPE, fold="2/2", epochs=1)
    _, trained = run(replace(job, recipe=recipe, splits=path))
    assert sorted(trained.report["kept_out"]) == names[2:]
    assert not job.split_file.exists()


@pytest.mark.parametrize(
    ("dice", "steps", "losses", "calibration", "words"),
    [
        (0.8, 100, (2.0, 1.0), {}, []),
        (0.0006, 2, (2.0,), {}, ["of no use yet: mean Dice 0.0006.*after 2 steps"]),
        (None, 2, (2.0,), {}, ["only 2 steps were taken"]),
        (0.5, 100, (1.0, 1.1), {}, ["the loss did not fall"]),
        (0.8, 100, (2.0, 1.0), {"temperature_refused": "it is 20"}, ["as the network.*it is 20"]),
    ],
)
def test_what_makes_a_model_doubtful(dice, steps, losses, calibration, words):
    card = small_model(SMALL).card
    if dice is not None:
        card = replace(card, scores={"mean": {"all": {"dice": dice}}})
    card = replace(card, calibration=calibration)
    found = doubts_about(card, [{"step": steps, "loss": loss} for loss in losses])
    assert len(found) == len(words)
    assert all(re.search(pattern, text) for pattern, text in zip(words, found, strict=True))


KILLED = """
import sys
from napari_asmlp.cli import main
from napari_asmlp.training import trainer
trainer.CHECKPOINT_SECONDS = 0.0
saving = trainer.save_checkpoint
def save(*arguments):
    print("saving", flush=True)
    saving(*arguments)
trainer.save_checkpoint = save
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(job, tmp_path):
    """SIGKILL where a checkpoint is about to be, is being, or has just been written."""
    recipe = 'epochs = 4\nprecision = "fp32"\ncrop = [16, 16, 16]\nfold = "1/2"\nema = 0.9\n'
    network = "[network]\nwidths = [4, 8]\nencoder_blocks = [1, 1]\ndecoder_blocks = [1]\n"
    (tmp_path / "r.toml").write_text(recipe + network)
    words = ["train", "balls", "--recipe", "r.toml", "--device", "cpu", "--threads", "1"]

    def start(output, *more):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, *words, "-o", output, *more],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with start("whole.safetensors") as process:
        assert "\nwhole.safetensors: mean Dice" in process.communicate(timeout=120)[1]
        assert "whole.safetensors: mean Dice" in process.communicate(timeout=120)[1]
    random = np.random.default_rng()
    for n in range(3):
        with start("killed.safetensors", *["--resume"] * (n > 0)) as process:
            for _ in range(int(random.integers(2, 4))):
                assert process.stdout.readline() == "saving\n"
            process.send_signal(signal.SIGKILL)
    with start("killed.safetensors", "--resume") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    whole, killed = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(whole[name].equal(killed[name]) for name in whole)
    for name in ("whole", "killed"):
        assert (tmp_path / f"{name}.csv").read_text().count("\n") == 5
    assert not list(tmp_path.glob(".*.training"))
