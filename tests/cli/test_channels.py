"""A model of several channels and images that have a file for each."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_asmlp import read_volume, segment
from napari_asmlp.cli import main
from napari_asmlp.errors import SettingsError
from napari_asmlp.model import load_model, save_model
from tests.blobs import AFFINE, ball
from tests.models import SMALL, small_model

SEGMENT = ("segment", "--model", "m.safetensors", "-o")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a model of two channels and cases `a` and `b` in `in`."""
    (tmp_path / "in").mkdir()
    for seed, case in enumerate("ab"):
        image, _ = ball(seed)
        for channel, voxels in enumerate((image, 100 - image)):
            path = tmp_path / "in" / f"{case}_{channel:04}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), path)
    save_model(small_model(replace(SMALL, in_channels=2)), tmp_path / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    def run(*words):
        status = main([str(word) for word in words])
        return status, capsys.readouterr().err

    return run


def labels(path):
    return np.asarray(nibabel.load(path).dataobj)


def by_hand(folder, case):
    """Return the labels of a case whose channels are stacked in memory."""
    paths = [folder / "in" / f"{case}_000{n}.nii.gz" for n in range(2)]
    return segment(paths, load_model(folder / "m.safetensors")).array()


def test_channels_of_a_folder_are_joined_by_their_names(call, folder):
    assert call(*SEGMENT, "out", "in")[0] == 0
    assert sorted(path.name for path in (folder / "out").glob("*.nii.gz")) == [
        "a.nii.gz",
        "b.nii.gz",
    ]
    for case in "ab":
        np.testing.assert_array_equal(
            labels(folder / "out" / f"{case}.nii.gz"), by_hand(folder, case)
        )
    record = json.loads((folder / "out" / "a.nii.gz.json").read_text())
    assert [file["path"] for file in record["channels"]] == ["in/a_0000.nii.gz", "in/a_0001.nii.gz"]
    assert record["input"] == record["channels"][0]


@pytest.mark.parametrize(
    "given",
    [
        ("in/a_0000.nii.gz",),
        ("in/a_0001.nii.gz",),
        ("--channels", "in/a_0000.nii.gz,in/a_0001.nii.gz"),
    ],
)
def test_one_case_is_given_by_any_of_its_files_or_by_all(call, folder, given):
    assert call(*SEGMENT, "l.nii.gz", *given)[0] == 0
    np.testing.assert_array_equal(labels("l.nii.gz"), by_hand(folder, "a"))


def test_channels_of_any_names_in_the_order_given(call, folder):
    (folder / "in" / "a_0000.nii.gz").rename("t1.nii.gz")
    (folder / "in" / "a_0001.nii.gz").rename("flair.nii.gz")
    assert call(*SEGMENT, "l.nii.gz", "--channels", "t1.nii.gz,flair.nii.gz")[0] == 0
    assert call(*SEGMENT, "m.nii.gz", "--channels", "flair.nii.gz,t1.nii.gz")[0] == 0
    assert (labels("l.nii.gz") != labels("m.nii.gz")).any()
    model = load_model("m.safetensors")
    volumes = [read_volume("t1.nii.gz"), "flair.nii.gz"]
    np.testing.assert_array_equal(labels("l.nii.gz"), segment(volumes, model).array())


def test_a_run_of_joined_channels_is_repeated_from_its_record(call, folder):
    assert call(*SEGMENT, "l.nii.gz", "in/a_0000.nii.gz")[0] == 0
    status, err = call("replay", "l.nii.gz.json")
    assert status == 0 and "the labels are those of l.nii.gz" in err
    second = folder / "in" / "a_0001.nii.gz"
    moved = second.rename(folder / "moved.nii.gz")
    status, err = call("replay", "l.nii.gz.json", "-o", "n.nii.gz")
    assert status == 2 and "a_0001.nii.gz" in err and "a_0000" not in err
    both = ("--input", "in/a_0000.nii.gz", "--input", "moved.nii.gz")
    assert call("replay", *both, "l.nii.gz.json", "-o", "n.nii.gz")[0] == 0
    status, err = call("replay", *both[:2], "l.nii.gz.json", "-o", "o.nii.gz")
    assert status == 2 and "1 files, the record has 2" in err
    moved.rename(second)
    nibabel.save(nibabel.Nifti1Image(ball(3)[0], AFFINE), second)
    status, err = call("replay", "l.nii.gz.json", "-o", "p.nii.gz")
    assert status == 2 and "a_0001.nii.gz changed" in err


def test_a_case_that_lacks_a_channel_does_not_stop_the_others(call, folder):
    (folder / "in" / "b_0001.nii.gz").rename(folder / "in" / "b_0002.nii.gz")
    status, err = call(*SEGMENT, "out", "in")
    assert status == 1 and "b: failed" in err and "b_0001 of 2 channels of b is missing" in err
    assert (folder / "out" / "a.nii.gz").exists()
    (folder / "in" / "b_0002.nii.gz").unlink()
    status, err = call(*SEGMENT, "out", "in", "--resume")
    assert status == 1 and "has 1 channel, model 'small' takes 2" in err
    assert "--channels FILE,FILE" in err and "CASE_0001" in err


def test_channels_on_different_grids_are_named(call, folder):
    image = nibabel.Nifti1Image(ball(0)[0], np.diag([1, 1, 2, 1]))
    nibabel.save(image, folder / "in" / "a_0001.nii.gz")
    status, err = call(*SEGMENT, "l.nii.gz", "in/a_0000.nii.gz")
    assert status == 2 and "a_0001.nii.gz and in/a_0000.nii.gz are channels of one image" in err


@pytest.mark.parametrize("given", [(), ("in", "--channels", "in/a_0000.nii.gz,in/a_0001.nii.gz")])
def test_inputs_or_channels_are_given(call, given):
    status, err = call(*SEGMENT, "l.nii.gz", *given)
    assert status == 2 and "give INPUT, or the channels of one volume" in err


def test_no_channel_is_written_over(call, folder):
    before = (folder / "in" / "a_0001.nii.gz").read_bytes()
    status, err = call(*SEGMENT, "in/a_0001.nii.gz", "in/a_0000.nii.gz", "--overwrite")
    assert status == 2 and "is the input" in err
    assert (folder / "in" / "a_0001.nii.gz").read_bytes() == before


def test_a_model_of_one_channel_takes_each_file_for_a_volume(call, folder):
    save_model(small_model(), folder / "m.safetensors", overwrite=True)
    assert call(*SEGMENT, "out", "in")[0] == 0
    found = sorted(path.name for path in (folder / "out").glob("*.nii.gz"))
    assert found == [f"{case}_000{n}.nii.gz" for case in "ab" for n in range(2)]


def test_scripts_are_told_what_scripts_can_do(folder):
    image = read_volume(folder / "in" / "a_0000.nii.gz")
    with pytest.raises(
        SettingsError, match=r"takes 2 channels: give a file for each, by segment\(\[FILE"
    ):
        segment(image, load_model(folder / "m.safetensors"))
    with pytest.raises(
        SettingsError, match=r"takes 1 channel: choose one of them, by read_volume\(FILE"
    ):
        segment([image, image], small_model())


def test_a_trained_model_segments_the_folder_it_learnt_from(call, folder):
    """The names of a data set of nnU-Net are those that `segment` joins."""
    (folder / "set").mkdir()
    (folder / "in").rename(folder / "set" / "imagesTr")
    (folder / "set" / "labelsTr").mkdir()
    for seed, case in enumerate("ab"):
        truth = nibabel.Nifti1Image(ball(seed)[1], AFFINE)
        nibabel.save(truth, folder / "set" / "labelsTr" / f"{case}.nii.gz")
    about = {
        "channel_names": {"0": "T1", "1": "inverse"},
        "labels": {"background": 0, "front": 1, "back": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (folder / "set" / "dataset.json").write_text(json.dumps(about))
    recipe = "epochs = 1\ncrop = [16, 16, 16]\n[network]\nwidths = [4, 8]\n"
    recipe += "encoder_blocks = [1, 1]\ndecoder_blocks = [1]\n"
    (folder / "r.toml").write_text(recipe)
    words = ("--recipe", "r.toml", "--fold", "all", "--overwrite")
    assert call("train", "set", "-o", "m.safetensors", *words)[0] == 0
    assert call(*SEGMENT, "out", "set/imagesTr")[0] == 0
    assert call("evaluate", "out", "set/labelsTr", "--quiet")[0] == 0
