"""Training a classifier from end to end: model, report, resuming, and what it refuses."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from napari_asmlp.cli import main
from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.model import load_model
from napari_asmlp.networks.mixer import Mixer, MixerConfig
from napari_asmlp.pipeline.train_classifier import ClassifierJob, iter_train_classifier
from napari_asmlp.training.classifier import ClassifierRecipe, ClassProgress, Variation, report
from napari_asmlp.training.classifier import trainer as classifier_trainer
from tests.shapes import shape, write_csv, write_npz, write_volumes

NETWORK = MixerConfig((8, 8, 8), 4, width=8, depth=1, token_width=6, channel_width=8)
RECIPE = ClassifierRecipe(
    network=NETWORK, epochs=2, batch_size=6, precision="fp32", variation=Variation()
)


@pytest.fixture(autouse=True)
def few_resamplings(monkeypatch):
    monkeypatch.setattr(report, "_RESAMPLINGS", 20)


@pytest.fixture
def job(tmp_path):
    data = write_npz(tmp_path / "shapes.npz")
    return ClassifierJob(data, tmp_path / "m.safetensors", RECIPE, ("round", "long"), "cpu")


def run(job):
    """Return the progress of the epochs, and the result."""
    steps, progress = iter_train_classifier(job), []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as stop:
            return [p for p in progress if isinstance(p, ClassProgress)], stop.value


def weights(path):
    return load_model(path).network.state_dict()


def test_it_learns_what_can_be_learnt(job):
    learning = replace(RECIPE, epochs=25, learning_rate=5e-3, ema=0.9)
    _, trained = run(replace(job, recipe=learning))
    scores = trained.model.card.scores
    assert scores["cases"] == 9
    assert scores["roc_auc"]["value"] > 0.9


def test_the_card_says_what_the_model_takes_and_how_well_it_does(job):
    progress, trained = run(job)
    card = load_model(job.output).card
    assert card == trained.model.card
    assert card.class_names == ("round", "long")
    assert (card.input.what, card.input.thickness, card.in_channels) == ("mask", True, 2)
    assert card.scores["how"] == "kept out of training"
    assert card.training_data == "shapes.npz: 18 cases (12 round, 6 long)"
    assert set(card.calibration) == {"cases", "ece_before", "ece_after"}
    assert [p.fraction for p in progress] == [0.5, 1.0]
    assert not job.folder.exists()
    json.dumps(trained.report)


def test_cross_validation_scores_every_case_and_learns_from_all(job):
    progress, trained = run(replace(job, recipe=replace(RECIPE, folds=3, epochs=1)))
    card = trained.model.card
    assert card.scores["cases"] == 27
    assert card.scores["how"] == "cross-validation in 3 parts"
    assert card.training_data.startswith("shapes.npz: 27 cases")
    assert [p.fold for p in progress] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [p.fraction for p in progress] == [0.25, 0.5, 0.75, 1.0]
    assert set(trained.report["epochs"]) == {"fold 1", "fold 2", "fold 3", "all"}


@pytest.mark.parametrize("folds", [0, 2])
def test_a_run_that_was_closed_goes_on_to_the_same_weights(job, tmp_path, folds, monkeypatch):
    monkeypatch.setattr(classifier_trainer.Clock, "checkpoint_is_due", lambda self: False)
    recipe = replace(RECIPE, folds=folds)
    run(replace(job, recipe=recipe))
    again = replace(job, recipe=recipe, output=tmp_path / "again.safetensors")
    for _ in range(2 + folds // 2):
        steps = iter_train_classifier(replace(again, resume=again.folder.exists()))
        for progress in steps:
            if isinstance(progress, ClassProgress):
                break
        steps.close()
    run(replace(again, resume=True))
    whole, stopped = weights(job.output), weights(again.output)
    assert all(whole[key].equal(stopped[key]) for key in whole)
    assert load_model(job.output).card.scores == load_model(again.output).card.scores
    assert not again.folder.exists()


def test_an_unfinished_run_is_not_forgotten(job):
    steps = iter_train_classifier(job)
    for progress in steps:
        if isinstance(progress, ClassProgress):
            break
    steps.close()
    with pytest.raises(SettingsError, match=r"--resume goes on.*--overwrite begins anew"):
        run(job)
    with pytest.raises(SettingsError, match="another recipe"):
        run(replace(job, resume=True, recipe=replace(RECIPE, seed=1)))
    write_npz(job.data, count=15)
    with pytest.raises(SettingsError, match="has changed since"):
        run(replace(job, resume=True))
    run(replace(job, overwrite=True))
    assert job.output.exists()


def test_resuming_where_nothing_lies_begins(job):
    run(replace(job, resume=True))
    assert job.output.exists()


def test_class_weights_leave_the_frequencies_of_the_answer():
    """Without anything to see, the best answer under weights is w p; given back it is p."""
    network = Mixer(replace(NETWORK, in_channels=1))
    torch.nn.init.zeros_(network.head.weight)
    counts = torch.tensor([30.0, 10.0])
    heavier = counts**-0.5
    network.head.bias.data = (heavier * counts).log()
    classifier_trainer._restore_frequencies(network, heavier)
    found = network(torch.zeros(1, 1, 8, 8, 8)).softmax(dim=1)[0]
    torch.testing.assert_close(found, torch.tensor([0.75, 0.25]))


def test_files_of_a_csv_are_learnt_from(tmp_path):
    data = write_csv(tmp_path / "d.csv", write_volumes(tmp_path, 6))
    job = ClassifierJob(data, tmp_path / "m.safetensors", RECIPE, device="cpu")
    _, trained = run(replace(job, recipe=replace(RECIPE, folds=2, epochs=1)))
    card = trained.model.card
    assert card.class_names == ("long", "round")
    assert card.scores["cases"] == 6
    # the bars of 11 voxels of 2 mm are the longest; 8 voxels show 95 in 100 shapes whole
    assert card.input.spacing[0] == pytest.approx(22 / 8, rel=0.2)


def test_objects_of_a_label_file_are_learnt_from(tmp_path):
    labels, rows = np.zeros((12, 12, 72), np.uint8), []
    for n in range(6):
        labels[:, :, 12 * n : 12 * n + 12][shape(n % 2, n) > 0] = n + 1
        rows.append(("i.nii.gz", "xy"[n % 2], "l.nii.gz", n + 1, "val" if n > 3 else "train"))
    image = labels + np.random.default_rng(0).normal(size=labels.shape)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "l.nii.gz")
    nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), np.eye(4)), tmp_path / "i.nii.gz")
    header = ("path", "label", "labels", "object", "split")
    data = write_csv(tmp_path / "d.csv", rows, header)
    job = ClassifierJob(data, tmp_path / "m.safetensors", RECIPE, device="cpu")
    _, trained = run(replace(job, recipe=replace(RECIPE, epochs=1)))
    assert trained.model.card.input.what == "object"
    assert trained.model.card.in_channels == 2
    rows[1] = ("i.nii.gz", "y", "l.nii.gz", 99, "train")
    write_csv(data, rows, header)
    with pytest.raises(AsmlpError, match=r"d\.csv, line 3: .*no object of the value 99"):
        run(replace(job, overwrite=True))


def test_measurements_of_the_shape_are_standardised_over_the_cases(job):
    names = ("volume", "largest depth")
    _, trained = run(replace(job, recipe=replace(RECIPE, measurements=names)))
    card = trained.model.card
    assert tuple(m.name for m in card.input.measurements) == names
    assert card.in_channels == 3  # shape, thickness, measurements
    assert card.network.fixed_channels == 1
    logs = [np.log(np.count_nonzero(image)) for image in images_of(job.data)]
    assert card.input.measurements[0].mean == pytest.approx(np.mean(logs))
    assert card.input.measurements[0].deviation == pytest.approx(np.std(logs))


def images_of(path):
    with np.load(path) as file:
        return np.concatenate([file[key] for key in ("train_images", "val_images") if key in file])


def test_a_measurement_that_there_is_not(job):
    with pytest.raises(SettingsError, match="'colour' is none of volume"):
        run(replace(job, recipe=replace(RECIPE, measurements=("colour",))))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((12, 12, 12), np.uint8), "is empty"),
        (np.arange(8, dtype=np.uint8).reshape(2, 2, 2), "several values beside 0"),
    ],
)
def test_volumes_that_cannot_be_learnt_from_are_named_by_their_row(tmp_path, content, words):
    rows = write_volumes(tmp_path, 6)
    nibabel.save(nibabel.Nifti1Image(content, np.eye(4)), tmp_path / "3.nii.gz")
    job = ClassifierJob(
        write_csv(tmp_path / "d.csv", rows), tmp_path / "m.safetensors", RECIPE, device="cpu"
    )
    with pytest.raises(AsmlpError, match=rf"d\.csv, line 5: .*{words}"):
        run(job)


def test_images_smaller_than_a_patch_are_refused(tmp_path):
    images = np.random.default_rng(0).normal(size=(6, 8, 8, 3))
    np.savez(tmp_path / "d.npz", train_images=images, train_labels=np.arange(6) % 2)
    job = ClassifierJob(tmp_path / "d.npz", tmp_path / "m.safetensors", RECIPE, device="cpu")
    with pytest.raises(AsmlpError, match=r"d\.npz train_images\[0\].*less than a patch of 4"):
        run(job)


def test_the_command_writes_model_and_report(job, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(
        'epochs = 1\nprecision = "fp32"\n[network]\ninput_size = [8, 8, 8]\nwidth = 8\ndepth = 1\n'
    )
    words = ["train-classifier", "shapes.npz", "-o", "m.safetensors", "--recipe", "r.toml"]
    words += ["--classes", "round, long", "--device", "cpu", "--report", "r.json"]
    assert main(words) == 0
    assert "m.safetensors: ROC AUC" in capsys.readouterr().err
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["classes"] == ["round", "long"]
    assert set(found["scores"]) >= {"roc_auc", "accuracy", "balanced_accuracy", "confusion", "ece"}
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--folds", "1"], "folds 1"),
        (["--minutes", "0"], "--minutes 0"),
        (["--classes", "round"], "class 1, but only 1"),
        (["--report", "m.safetensors"], "two outputs"),
        (["--report", "shapes.npz", "--overwrite"], "shapes.npz"),
    ],
)
def test_wrong_words_end_with_status_2(job, capsys, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    before = job.data.read_bytes()
    assert main(["train-classifier", "shapes.npz", "-o", "m.safetensors", *words]) == 2
    assert said in capsys.readouterr().err
    assert job.data.read_bytes() == before
