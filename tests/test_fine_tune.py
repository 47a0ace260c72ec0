"""From corrections to a better model: what is learnt, what is kept, killed and resumed."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from napari_asmlp.card import LabelEntry
from napari_asmlp.errors import ModelError, OutputError, SettingsError, VolumeError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.model import Model, load_model, save_model
from napari_asmlp.pipeline import segment
from napari_asmlp.pipeline.fine_tune import FINE_TUNING, FineTuneJob, iter_fine_tune
from napari_asmlp.project import (
    WHOLE,
    Project,
    describe_volume,
    load_project,
    save_project,
    with_volume,
)
from napari_asmlp.training.losses import segmentation_loss
from napari_asmlp.training.optimisers import make_optimisers, set_rates
from napari_asmlp.training.recipe import Recipe
from napari_asmlp.training.samples import on_model_grid
from napari_asmlp.volume import Volume
from tests.blobs import AFFINE, ball
from tests.models import SMALL, small_model

RECIPE = replace(
    FINE_TUNING,
    minutes=None,
    epochs=1,
    batch_size=1,
    precision="fp32",
    learning_rate=1e-2,
    muon_learning_rate=2e-2,
    ema=0.9,
)


def scene(seed):
    """Return an image, its labels 1 and 2, and a dark floor that nobody has labelled yet."""
    image, labels = ball(seed)
    floor = np.zeros(labels.shape, bool)
    floor[:, :, :3] = True
    image[floor] -= 60
    return image, labels, floor & (labels == 0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Teach a small model the labels 1 and 2 of four scenes."""
    model = small_model()
    optimisers = make_optimisers(model.network, Recipe(optimiser="adamw", learning_rate=2e-2))
    images, truths = [], []
    for seed in range(4):
        image, labels, _ = scene(seed)
        sample = on_model_grid("scene", volume_of(image), labels, model.card.preprocessing)
        images.append(torch.from_numpy(sample.image))
        truths.append(torch.from_numpy(sample.classes).long())
    model.network.train()
    for step in range(200):
        set_rates(optimisers, 0.1, step / 200)
        image, truth = images[step % 4], truths[step % 4]
        loss = segmentation_loss(model.network(image[None]), truth[None])
        model.network.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    return save_model(Model(model.card, model.network.eval()), path)


def write_project(folder, corrected, seeds, regions=WHOLE):
    """Write scenes with what `corrected` makes of labels and floor."""
    project = Project(classes=(LabelEntry(3, "floor", "#009e73"),))
    for seed in seeds:
        image, labels, floor = scene(seed)
        paths = folder / f"image{seed}.nii.gz", folder / f"labels{seed}.nii.gz"
        for path, array in zip(paths, (image, corrected(labels, floor)), strict=True):
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
        entry = describe_volume(f"scene{seed}", [paths[0]], paths[1], regions)
        project = with_volume(project, entry)
    return save_project(project, folder / "p.asmlp.json", overwrite=True)


def only_floor(_labels, floor):
    return 3 * floor.astype(np.uint8)


def swapped(labels, _floor):
    return np.choose(labels, [0, 2, 1]).astype(np.uint8)


def run(job):
    """Return all progress and the result."""
    steps, progress = iter_fine_tune(job), []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as stop:
            return progress, stop.value


def job_of(folder, start, **changes):
    changes = {"recipe": replace(RECIPE, epochs=20)} | changes
    return FineTuneJob(
        folder / "p.asmlp.json", folder / "tuned.safetensors", str(start), device="cpu", **changes
    )


def labels_of(path, seed):
    image, labels, floor = scene(seed)
    return segment(volume_of(image), model=str(path)).array(), labels, floor


def volume_of(image):
    return Volume(image, Grid(image.shape, AFFINE))


def dice(found, truth):
    return 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum())


def test_a_new_label_is_learnt_and_labels_that_no_correction_holds_survive(tmp_path, start):
    write_project(tmp_path, only_floor, range(10, 15))
    progress, tuned = run(job_of(tmp_path, start))
    assert tuned.better and tuned.report["shipped"] == "fine-tuned"
    card = load_model(tmp_path / "tuned.safetensors").card
    assert card.label_names == {1: "front", 2: "back", 3: "floor"}
    found, labels, floor = labels_of(tmp_path / "tuned.safetensors", 20)
    assert dice(found == 3, floor) > 0.8
    for value in (1, 2):
        assert dice(found == value, labels == value) > 0.6
    held = tuned.report["held_back"]
    assert held["before"]["mean"] == {"3": 0.0}
    assert held["after"]["mean"]["3"] > 0.8
    assert min(held["kept"]["mean"].values()) > 0.6
    assert card.mean_dice == held["after"]["mean"]["3"]
    assert any("held back" in getattr(step, "note", "") for step in progress)
    assert sorted(path.name for path in tmp_path.iterdir() if "tun" in path.name) == [
        "tuned.safetensors"
    ]


def test_they_are_forgotten_where_that_is_asked_for(tmp_path, start):
    write_project(tmp_path, only_floor, range(10, 15))
    run(job_of(tmp_path, start, forget=True))
    found, labels, floor = labels_of(tmp_path / "tuned.safetensors", 20)
    assert dice(found == 3, floor) > 0.8
    assert max(dice(found == value, labels == value) for value in (1, 2)) < 0.3
    assert load_model(tmp_path / "tuned.safetensors").card.recipe["forget"] is True


def test_a_model_that_did_not_get_better_is_not_shipped(tmp_path, start):
    write_project(tmp_path, lambda labels, _: labels, range(10, 12))
    still = replace(RECIPE, learning_rate=1e-12, muon_learning_rate=1e-12)
    _, tuned = run(job_of(tmp_path, start, recipe=still))
    assert not tuned.better and tuned.report["shipped"] == "start"
    before, after = load_model(start), load_model(tmp_path / "tuned.safetensors")
    assert after.card == before.card
    for key, tensor in before.network.state_dict().items():
        torch.testing.assert_close(after.network.state_dict()[key], tensor)


def test_a_region_of_one_volume_teaches_and_slabs_of_it_are_held_back(tmp_path, start):
    box = Region((0, 0, 0), (14, 18, 11))
    write_project(tmp_path, only_floor, [10], (box,))
    progress, tuned = run(job_of(tmp_path, start, recipe=replace(RECIPE, epochs=120)))
    assert tuned.better
    assert len(tuned.report["split"]["cut"]) == 1
    assert any("two slabs of each region" in getattr(step, "note", "") for step in progress)
    found, labels, floor = labels_of(tmp_path / "tuned.safetensors", 20)
    assert dice(found == 3, floor) > 0.8
    assert min(dice(found == value, labels == value) for value in (1, 2)) > 0.6


def test_what_is_held_back_stays_so_when_volumes_come(tmp_path, start):
    write_project(tmp_path, swapped, [10])
    _, first = run(job_of(tmp_path, start, recipe=RECIPE, forget=True))
    save_model(replace_split(load_model(start), first.report["split"]), tmp_path / "m.safetensors")
    write_project(tmp_path, swapped, range(10, 15))
    job = job_of(tmp_path, tmp_path / "m.safetensors", recipe=RECIPE, overwrite=True)
    _, second = run(job)
    assert second.report["split"]["cut"] == first.report["split"]["cut"]
    assert len(second.report["split"]["training"] + second.report["split"]["kept_out"]) == 4


def replace_split(model, record):
    return replace(model, card=replace(model.card, split=record))


def test_stopped_and_resumed_it_is_the_same_model(tmp_path, start):
    write_project(tmp_path, swapped, range(10, 15))
    recipe = replace(RECIPE, epochs=4)
    _, whole = run(job_of(tmp_path, start, recipe=recipe))
    (tmp_path / "tuned.safetensors").unlink()
    job = job_of(tmp_path, start, recipe=recipe)
    steps = iter_fine_tune(job)
    for progress in steps:
        if getattr(progress, "epoch", 0) == 2:
            break
    steps.close()
    assert job.checkpoint.exists() and not job.output.exists()
    with pytest.raises(SettingsError, match="--resume goes on"):
        run(job)
    _, resumed = run(replace(job, resume=True))
    assert not job.folder.exists()
    for key, tensor in whole.model.network.state_dict().items():
        torch.testing.assert_close(resumed.model.network.state_dict()[key], tensor)


def test_a_run_is_not_resumed_with_other_corrections(tmp_path, start):
    write_project(tmp_path, swapped, range(10, 12))
    job = job_of(tmp_path, start, recipe=replace(RECIPE, epochs=4))
    steps = iter_fine_tune(job)
    while getattr(next(steps), "epoch", 0) < 1:
        pass
    steps.close()
    write_project(tmp_path, only_floor, range(10, 12))
    with pytest.raises(SettingsError, match="changed since the run began"):
        run(replace(job, resume=True))


def test_wrong_input_is_refused_before_anything_is_learnt(tmp_path, start):
    path = write_project(tmp_path, swapped, range(10, 12))
    project = load_project(path)
    job = job_of(tmp_path, start)

    def refused(error, words, **changes):
        with pytest.raises(error, match=words):
            run(replace(job, **changes))
        assert not job.folder.exists()

    def saved(**changes):
        save_project(replace(project, **changes), path, overwrite=True)

    refused(SettingsError, "ends in .safetensors", output=tmp_path / "x.pt")
    refused(OutputError, "is the input", output=start, overwrite=True)
    overlapping = small_model(SMALL, activation="sigmoid", labels=small_labels(3))
    save_model(overlapping, tmp_path / "s.safetensors")
    refused(ModelError, "labels overlap", init=str(tmp_path / "s.safetensors"))
    two = small_model(replace(SMALL, in_channels=2))
    save_model(two, tmp_path / "two.safetensors")
    refused(
        VolumeError, "'scene10': 1 channels, but .* takes 2", init=str(tmp_path / "two.safetensors")
    )
    saved(classes=(LabelEntry(1, "liver", "#009e73"),))
    refused(SettingsError, "label value 1 is 'front' in model 'small' and 'liver'")
    saved(volumes=tuple(replace(one, corrected=None) for one in project.volumes))
    refused(SettingsError, "no volume of the project is marked as corrected")
    saved(volumes=tuple(replace(one, corrected=()) for one in project.volumes))
    refused(VolumeError, "'scene10': nothing in it counts as corrected")
    saved()
    nibabel.save(nibabel.Nifti1Image(np.zeros((14, 18, 12)), AFFINE), tmp_path / "image11.nii.gz")
    refused(VolumeError, r"'scene11': .*image11\.nii\.gz: holds other voxels")


def small_labels(count):
    return tuple(LabelEntry(n, f"label {n}", "#009e73") for n in range(1, count + 1))


def test_the_report_is_plain(tmp_path, start):
    write_project(tmp_path, swapped, [10])
    _, tuned = run(job_of(tmp_path, start, recipe=RECIPE))
    assert json.loads(json.dumps(tuned.report))["command"] == "fine-tune"
