"""Training on labels that overlap, and on volumes of which a part was not annotated."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import ModelError
from napari_asmlp.io import read_volume
from napari_asmlp.model import load_model
from napari_asmlp.pipeline import TrainJob, iter_train, segment
from napari_asmlp.preprocess.to_source import written_over
from napari_asmlp.training.trainer import TrainProgress
from tests.blobs import AFFINE, write_dataset
from tests.models import SMALL, small_model
from tests.test_train import RECIPE, run


@pytest.fixture
def job(tmp_path):
    write_dataset(tmp_path / "balls")
    recipe = replace(RECIPE, fold="1/2")
    return TrainJob(tmp_path / "balls", tmp_path / "m.safetensors", recipe, device="cpu")


def trained(job, **changes):
    """Train after changes of dataset.json; return the report and the model's card."""
    index = job.dataset / "dataset.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | changes))
    steps = iter_train(job)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value.report, load_model(job.output).card


def test_a_run_on_regions_goes_on_where_it_was_stopped(job):
    index = job.dataset / "dataset.json"
    names = {"background": 0, "Ball": [1, 2], "Front": 2, "ignore": 9}
    table = {"labels": names, "regions_class_order": [1, 2]}
    index.write_text(json.dumps(json.loads(index.read_text()) | table))
    work = iter_train(job)
    for step in work:
        if isinstance(step, TrainProgress):
            break
    work.close()
    _, result = run(replace(job, resume=True))
    assert len(result.report["epochs"]) == RECIPE.epochs


def labels_of(job, name):
    return np.asarray(nibabel.load(job.dataset / "labelsTr" / f"{name}.nii.gz").dataobj)


def test_regions(job):
    """Each has an output and a sigmoid of its own, and is scored as a whole."""
    names = {"background": 0, "Ball": [1, 2], "Front": 2}
    report, card = trained(job, labels=names, regions_class_order=[1, 2])
    assert (card.activation, card.out_channels) == ("sigmoid", 2)
    assert (card.regions, card.label_names) == (((1, 2), (2,)), {1: "ball", 2: "front"})
    assert set(report["epochs"][-1]["dice"]) <= {"1", "2"}
    assert (card.temperature, card.calibration) == (1.0, {})
    for name in report["kept_out"]:
        sizes = [scores["reference_mm3"] for scores in report["scores"]["cases"][name].values()]
        truth = labels_of(job, name)
        assert sizes == [(truth > 0).sum(), (truth == 2).sum()]
    found = segment(read_volume(job.dataset / "imagesTr" / "ball_0.nii.gz"), str(job.output))
    assert set(np.unique(found.array())) <= {0, 1, 2}


def test_regions_are_written_in_their_order():
    """As nnU-Net has it: a voxel belongs to all regions whose score is over a half."""
    scores = np.array([[0.9, 0.9, 0.2, 0.2], [0.1, 0.6, 0.6, 0.5]], np.float32)
    labels = written_over(scores.reshape(2, 4, 1, 1), np.array([7, 3], np.uint8), above=0.5)
    assert labels.ravel().tolist() == [7, 3, 3, 0]


def test_regions_of_a_card_fit_its_labels():
    with pytest.raises(ModelError, match="1 regions for 2 sigmoid labels"):
        small_model(replace(SMALL, out_channels=2), activation="sigmoid", regions=((1, 2),))
    with pytest.raises(ModelError, match="2 regions for 2 softmax labels"):
        small_model(regions=((1, 2), (2,)))


@pytest.mark.parametrize("layout", ["labels", "regions"])
def test_ignored_voxels(job, layout):
    """Of each case the upper half was not annotated, and of one nothing: no score sees these."""
    for n, path in enumerate(sorted((job.dataset / "labelsTr").iterdir())):
        labels = np.asarray(nibabel.load(path).dataobj).copy()
        labels[:, :, 0 if n == 3 else 6 :] = 9
        nibabel.save(nibabel.Nifti1Image(labels, AFFINE), path)
    back = 1 if layout == "labels" else [1, 2]
    names = {"background": 0, "Back": back, "Front": 2, "ignore": 9}
    report, card = trained(job, labels=names, regions_class_order=[1, 2])
    assert list(card.label_names) == [1, 2]
    assert all(np.isfinite(row["loss"]) for row in report["epochs"])
    for name in report["kept_out"]:
        truth, voxels = labels_of(job, name), 0
        for scores in report["scores"]["cases"][name].values():
            voxels = max(voxels, scores["volume_mm3"] or 0)
        assert voxels <= (truth != 9).sum()
        assert "9" not in report["scores"]["cases"][name]
