"""The command line as a user's script meets it: files, exit status, what is said where."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from napari_asmlp.cli import COMMANDS, main
from napari_asmlp.model import Preprocessing, save_model
from tests.blobs import AFFINE, ball, write_dataset
from tests.models import small_model
from tests.networks.port import Port


@pytest.fixture
def files(tmp_path):
    """Return a folder with a volume, its labels and a model."""
    image, labels = ball(0)
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), tmp_path / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "truth.nii.gz")
    save_model(small_model(), tmp_path / "m.safetensors")
    return tmp_path


@pytest.fixture
def call(files, capsys, monkeypatch):
    """Run a command in that folder; return status, standard output and error."""
    monkeypatch.chdir(files)

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SEGMENT = ("segment", "scan.nii.gz", "--model", "m.safetensors", "-o")


def test_segment_writes_labels_and_a_record(call, files):
    status, out, err = call(*SEGMENT, "labels.nii.gz", "--report", "r.json")
    assert status == 0
    assert out == ""
    assert "labels.nii.gz" in err
    written = nibabel.load(files / "labels.nii.gz")
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.affine, AFFINE)
    record = json.loads((files / "labels.nii.gz.json").read_text())
    assert record == json.loads((files / "r.json").read_text())
    assert record["input"]["hash"].startswith("sha256:")


def test_quiet_says_nothing(call):
    assert call(*SEGMENT, "labels.nii.gz", "--quiet") == (0, "", "")


def test_segment_a_region_with_probabilities(call, files):
    region = ("--region", "2:10,:,0:8", "--probabilities", "p.nii.gz")
    assert call(*SEGMENT, "labels.nii.gz", *region)[0] == 0
    labels = np.asarray(nibabel.load(files / "labels.nii.gz").dataobj)
    assert not labels[:2].any() and not labels[10:].any() and not labels[..., 8:].any()
    chances = nibabel.load(files / "p.nii.gz")
    assert chances.shape == (*labels.shape, 3)


def test_segment_one_volume_of_several(call, files):
    image = np.asarray(nibabel.load(files / "scan.nii.gz").dataobj)
    nibabel.save(nibabel.Nifti1Image(np.stack([image * 0, image], -1), AFFINE), files / "4d.nii")
    words = ("segment", "4d.nii", "--model", "m.safetensors", "-o")
    status, _, err = call(*words, "a.nii.gz")
    assert status == 2 and "2 channels" in err
    assert call(*words, "b.nii.gz", "--volume", 1)[0] == 0
    assert call(*SEGMENT, "c.nii.gz")[0] == 0
    for one, other in (("b.nii.gz", "c.nii.gz"),):
        one, other = (np.asarray(nibabel.load(files / name).dataobj) for name in (one, other))
        np.testing.assert_array_equal(one, other)


def test_segment_a_folder(call, files):
    (files / "in" / "sub").mkdir(parents=True)
    for name in ("a.nii.gz", "b.nii.gz", "sub/c.nii.gz"):
        (files / "in" / name).write_bytes((files / "scan.nii.gz").read_bytes())
    status, _, _ = call("segment", "in", "--model", "m.safetensors", "-o", "out")
    assert status == 0
    assert sorted(content(files / "out")) == [
        "a.labels.txt", "a.nii.gz", "a.nii.gz.json",
        "b.labels.txt", "b.nii.gz", "b.nii.gz.json",
    ]  # fmt: skip


def test_one_bad_volume_does_not_stop_the_others(call, files):
    (files / "in").mkdir()
    (files / "in" / "a.nii.gz").write_bytes(b"no volume")
    (files / "in" / "b.nii.gz").write_bytes((files / "scan.nii.gz").read_bytes())
    status, _, err = call("segment", "in", "--model", "m.safetensors", "-o", "out")
    assert status == 1
    assert "1 of 2" in err and "a.nii.gz" in err
    assert sorted(content(files / "out")) == ["b.labels.txt", "b.nii.gz", "b.nii.gz.json"]


def test_a_link_to_nothing_in_a_folder_is_named(call, files):
    """A volume that git-annex or DataLad has not fetched is no reason to leave a case out."""
    for folder, source in (("in", "scan"), ("found", "truth"), ("wanted", "truth")):
        (files / folder).mkdir()
        (files / folder / "a.nii.gz").write_bytes((files / f"{source}.nii.gz").read_bytes())
        (files / folder / "b.nii.gz").symlink_to("../gone/b.nii.gz")
    status, _, err = call("segment", "in", "--model", "m.safetensors", "-o", "out")
    assert status == 1 and "1 of 2" in err and "b.nii.gz: is a link" in err
    assert sorted(content(files / "out")) == ["a.labels.txt", "a.nii.gz", "a.nii.gz.json"]
    status, out, err = call("evaluate", "found", "wanted")
    assert (status, out) == (2, "") and "b.nii.gz: is a link" in err


def test_equal_names_are_refused_before_the_start(call, files):
    for folder in ("x", "y"):
        (files / folder).mkdir()
        (files / folder / "a.nii.gz").write_bytes((files / "scan.nii.gz").read_bytes())
    status, _, err = call("segment", "x", "y", "--model", "m.safetensors", "-o", "out")
    assert status == 2 and "a.nii.gz" in err
    assert not (files / "out").exists()


def damaged_gzip(files):
    content = (files / "scan.nii.gz").read_bytes()
    (files / "bad.nii.gz").write_bytes(content[: len(content) // 2])


def flipped_gzip(files):
    """A wrong checksum is all that tells of it."""
    content = bytearray((files / "scan.nii.gz").read_bytes())
    content[-6] ^= 1
    (files / "bad.nii.gz").write_bytes(bytes(content))


def of_metres(files):
    """A spacing that is wrong by orders of magnitude must not eat the machine."""
    image = np.random.default_rng(0).normal(size=(40, 40, 40))
    affine = np.diag([1e4, 1e4, 1e4, 1])
    nibabel.save(nibabel.Nifti1Image(image, affine), files / "bad.nii.gz")
    fixed = small_model(preprocessing=Preprocessing(spacing=(1.0, 1.0, 1.0)))
    save_model(fixed, files / "m.safetensors", overwrite=True)


def constant(files):
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9), np.int16), AFFINE), files / "bad.nii.gz")


def not_finite(files):
    image = np.full((9, 9, 9), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), files / "bad.nii.gz")


def flat(files):
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9), np.int16), AFFINE), files / "bad.nii.gz")


@pytest.mark.parametrize(
    "make",
    [
        damaged_gzip,
        flipped_gzip,
        constant,
        not_finite,
        flat,
        of_metres,
        lambda f: (f / "bad.nii.gz").write_text(""),
    ],
)
def test_bad_volumes_are_answered_in_one_line(call, files, make):
    make(files)
    before = content(files)
    status, out, err = call("segment", "bad.nii.gz", "--model", "m.safetensors", "-o", "l.nii.gz")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and "bad.nii.gz" in err and "Traceback" not in err
    assert content(files) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SEGMENT, "absent/l.nii.gz"), "absent"),
        ((*SEGMENT, "truth.nii.gz"), "exists already"),
        ((*SEGMENT, "scan.nii.gz", "--overwrite"), "is the input"),
        ((*SEGMENT, "l.png"), "l.png"),
        ((*SEGMENT, "l.nii.gz", "--region", "0:5"), "'0:5'"),
        ((*SEGMENT, "l.nii.gz", "--region", "0:500,:,:"), "0:500"),
        ((*SEGMENT, "l.nii.gz", "--overlap", "1.5"), "1.5"),
        ((*SEGMENT, "l.nii.gz", "--volume", "3"), "3"),
        ((*SEGMENT, "l.nii.gz", "--report", "absent/r.json"), "absent"),
        ((*SEGMENT, "l.nii.gz", "--probabilities", "./l.nii.gz"), "two outputs"),
        ((*SEGMENT, "l.nii.gz", "--report", "l.nii.gz.json"), "two outputs"),
        ((*SEGMENT, "l.nii.gz", "--report", "scan.nii.gz", "--overwrite"), "is the input"),
        ((*SEGMENT, "l.nii.gz", "--report", "m.safetensors", "--overwrite"), "is the input"),
        ((*SEGMENT, "l.nii.gz", "--report", ".", "--overwrite"), "is a folder"),
        ((*SEGMENT, "l.nii.gz", "--overlap", "much"), "'much'"),
        ((*SEGMENT, "l.nii.gz", "--memory", "much"), "'much'"),
        ((*SEGMENT, "l.nii.gz", "--uncertainty", "./l.nii.gz"), "two outputs"),
        ((*SEGMENT, "l.nii.gz", "--uncertainty", "u.png"), "u.png"),
        ((*SEGMENT, "l.nii.gz", "--threads", "99999999"), "99999999"),
        (("segment", ".", "--model", "m.safetensors", "-o", "new", "--overlap", "7"), "7"),
        (("segment", ".", "--model", "nobody", "-o", "new"), "nobody"),
        (("evaluate", "truth.nii.gz", "truth.nii.gz", "--json", "m.safetensors"), "exists"),
        (
            ("evaluate", "truth.nii.gz", "truth.nii.gz", "--json", "truth.nii.gz", "--overwrite"),
            "is the input",
        ),
        (("models", "import", "m.safetensors", "-o", "i.safetensors"), "m.safetensors"),
        (("models", "import", "scan.nii.gz", "-o", "i.safetensors"), "scan.nii.gz"),
        (("train", ".", "-o", "t.safetensors", "--seed", "-1"), "seed"),
        (("train", ".", "-o", "t.safetensors", "--minutes", "inf"), "minutes"),
        (("train", ".", "-o", "t.safetensors", "--report", "t.safetensors"), "two outputs"),
        (("segment", "none.nii.gz", "--model", "m.safetensors", "-o", "l.nii.gz"), "none.nii.gz"),
        (("segment", "scan.nii.gz", "--model", "nobody", "-o", "l.nii.gz"), "nobody"),
        (("segment", "scan.nii.gz", "--model", "truth.nii.gz", "-o", "l.nii.gz"), "truth.nii.gz"),
        (("evaluate", "scan.nii.gz", "truth.nii.gz"), "scan.nii.gz"),
        (("evaluate", "absent", "truth.nii.gz"), "absent"),
        (("models", "show", "nobody"), "nobody"),
        (("train", "absent", "-o", "t.safetensors"), "absent"),
        (("train", ".", "-o", "t.pt"), "t.pt"),
        (("train", ".", "-o", "m.safetensors"), "exists already"),
        (("train", ".", "-o", "t.safetensors", "--fold", "9/3"), "9/3"),
        (("train", ".", "-o", "t.safetensors", "--minutes", "-1"), "minutes"),
    ],
)
def test_wrong_input_is_status_2_and_one_line(call, files, words, said):
    before = content(files)
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and said in err and "Traceback" not in err
    assert content(files) == before


def test_debug_shows_the_traceback(call):
    _, _, err = call("models", "show", "nobody", "--debug")
    assert "Traceback" in err


@pytest.mark.parametrize("words", [[], ["--nonsense"], ["segment"], ["paint"], ["models"]])
def test_wrong_usage_is_status_2_and_one_line(call, words):
    status, out, err = call(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "-h" in err


@pytest.mark.parametrize(
    "words", [("--quiet", "models", "list"), ("models", "--quiet", "list"), ("models", "list")]
)
def test_common_options_go_anywhere(call, words):
    status, out, _ = call(*words)
    assert status == 0 and "hippocampus" in out


def test_evaluate_takes_one_volume_of_several(call, files):
    truth = np.asarray(nibabel.load(files / "truth.nii.gz").dataobj)
    nibabel.save(nibabel.Nifti1Image(np.stack([truth * 0, truth], -1), AFFINE), files / "4d.nii")
    words = ("evaluate", "4d.nii", "4d.nii", "--json", "-")
    assert call(*words)[0] == 2
    assert json.loads(call(*words, "--volume", 1)[1])["mean"]["all"]["dice"] == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help_on_every_level(call, command):
    status, out, _ = call(command, "-h")
    assert status == 0 and command in out
    if command == "models":
        for part in ("list", "show", "verify", "import"):
            status, out, _ = call("models", part, "-h")
            assert status == 0 and part in out


def test_evaluate_prints_and_writes(call, files):
    status, out, _ = call("evaluate", "truth.nii.gz", "truth.nii.gz", "--json", "s.json")
    assert status == 0 and "dice" in out
    status, out, err = call("evaluate", "truth.nii.gz", "truth.nii.gz", "--json", "-")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads((files / "s.json").read_text())
    assert json.loads(out)["mean"]["all"]["dice"] == 1


def test_a_cycle_of_training_segmenting_and_evaluating(call, files):
    write_dataset(files / "balls", count=6)
    status, _, err = call(
        "train",
        "balls",
        "-o",
        "t.safetensors",
        "--epochs",
        2,
        "--fold",
        "1/2",
        "--report",
        "t.json",
    )
    assert status == 0
    report = json.loads((files / "t.json").read_text())
    assert len(report["epochs"]) == 2
    assert f"{len(report['kept_out'])} cases held out" in err
    assert not [name for name in content(files) if "training" in name]
    assert "calibration" in call("models", "show", "t.safetensors")[1]
    images = [f"balls/imagesTr/{name}.nii.gz" for name in report["kept_out"]]
    assert call("segment", *images, "--model", "t.safetensors", "-o", "out")[0] == 0
    (files / "ref").mkdir()
    for name in report["kept_out"]:
        source = files / "balls" / "labelsTr" / f"{name}.nii.gz"
        (files / "ref" / f"{name}.nii.gz").write_bytes(source.read_bytes())
    status, out, _ = call("evaluate", "out", "ref", "--json", "-")
    assert status == 0
    scored = json.loads(out)["mean"]["all"]["dice"]
    assert scored == pytest.approx(report["scores"]["mean"]["all"]["dice"], abs=1e-3)


def test_models_list_show_verify_import(call, files):
    assert "hippocampus" in call("models", "list")[1]
    status, out, _ = call("models", "show", "m.safetensors")
    assert status == 0
    for word in ("parameters", "GFLOP", "widths", "front", "sha256:"):
        assert word in out
    assert call("models", "verify", "m.safetensors")[0] == 0
    torch.save(Port(patch=2, depths=(1, 1), shift_size=3).state_dict(), files / "port.pt")
    status, _, _ = call("models", "import", "port.pt", "-o", "port.safetensors", "--shift-size", 3)
    assert status == 0
    assert call("models", "verify", "port.safetensors")[0] == 0


def test_doctor_finds_the_core(call):
    status, out, _ = call("doctor")
    assert status == 0
    for word in ("torch", "hippocampus", ".nii.gz", "CPU"):
        assert word in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_cancel_cleanly(files, number):
    """A long segmentation, stopped: status 130, nothing half-written, no traceback."""
    big = np.random.default_rng(0).normal(size=(160, 160, 160)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(big, AFFINE), files / "big.nii")
    before = content(files)
    script = (
        "import sys; from napari_asmlp.cli import main\n"
        "from napari_asmlp.preprocess import ModelImage\n"
        "reading = ModelImage.survey\n"
        "def announce(*a):\n"
        "    print('reading', flush=True)\n"
        "    return reading(*a)\n"
        "ModelImage.survey = announce\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["segment", "big.nii", "--model", "m.safetensors", "-o", "l.nii.gz"]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=files,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "reading\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled" in err and "Traceback" not in err
    assert content(files) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_can_be_resumed(call, files, number):
    """Stopped when planes are finished: they are kept, and the labels come out the same."""
    tall = np.random.default_rng(0).normal(size=(30, 30, 200)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(tall, AFFINE), files / "tall.nii")
    script = (
        "import sys, time; from napari_asmlp.cli import main\n"
        "from napari_asmlp.pipeline.outputs import Outputs\n"
        "take = Outputs.take\n"
        "def announce(self, *a):\n"
        "    take(self, *a)\n"
        "    if self.finished.planes > 60:\n"
        "        print('finished', flush=True); time.sleep(60)\n"
        "Outputs.take = announce\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["segment", "tall.nii", "--model", "m.safetensors", "--threads", "1"]
    words += ["--no-compiled", "-o"]  # in either process, whatever this machine has compiled
    with subprocess.Popen(
        [sys.executable, "-c", script, *words, "l.nii.gz"],
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "finished\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err and "Traceback" not in err
    assert not (files / "l.nii.gz").exists()
    status, _, err = call(*words, "l.nii.gz")
    assert status == 2 and "--resume goes on" in err
    status, _, err = call(*words, "l.nii.gz", "--resume", "--overlap", 0.5)
    assert status == 2 and "setting overlap" in err and err.count("\n") == 1
    assert call(*words, "l.nii.gz", "--resume")[0] == 0
    assert not (files / "l.nii.gz.partial").exists()
    assert json.loads((files / "l.nii.gz.json").read_text())["resumed_planes"] > 60
    assert call(*words, "whole.nii.gz")[0] == 0
    assert (files / "l.nii.gz").read_bytes() == (files / "whole.nii.gz").read_bytes()


def test_a_folder_goes_on_with_what_is_not_done(call, files):
    (files / "in").mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        (files / "in" / name).write_bytes((files / "scan.nii.gz").read_bytes())
    words = ("segment", "in", "--model", "m.safetensors", "-o", "out")
    assert call(*words)[0] == 0
    for name in ("b.nii.gz", "b.nii.gz.json", "b.labels.txt"):
        (files / "out" / name).unlink()
    before = (files / "out" / "a.nii.gz.json").read_bytes()
    assert call(*words)[0] == 2
    status, _, err = call(*words, "--resume")
    assert status == 0 and "1 of 2 volumes were done before" in err
    assert (files / "out" / "a.nii.gz.json").read_bytes() == before
    assert (files / "out" / "b.nii.gz").exists()


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("written", range(5))
def test_a_run_that_was_killed_between_its_outputs_goes_on(call, files, monkeypatch, written):
    """Probabilities, labels, names, record and report, one after the other."""
    words = (*SEGMENT, "l.nii.gz", "--probabilities", "p.nii.gz", "--report", "r.json")
    replace, made = Path.replace, []

    def killed(self, target):
        if Path(target).parent.suffix != ".partial":
            if len(made) == written:
                raise Killed
            made.append(target)
        return replace(self, target)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "replace", killed)
        call(*words)
    assert call(*words)[0] == 2  # nothing is replaced unasked
    assert call(*words, "--resume")[0] == 0
    outputs = {"l.labels.txt", "l.nii.gz", "l.nii.gz.json", "p.nii.gz", "r.json"}
    assert content(files).keys() == outputs | {"m.safetensors", "scan.nii.gz", "truth.nii.gz"}
    status, _, err = call(*words, "--resume")
    assert status == 0 and "1 of 1 volumes were done before" in err


def test_resume_replaces_nothing_that_the_run_did_not_make(call, files):
    (files / "p.nii.gz").write_bytes(b"of the user")
    status, _, err = call(*SEGMENT, "l.nii.gz", "--probabilities", "p.nii.gz", "--resume")
    assert status == 2 and "p.nii.gz: exists already" in err
    assert (files / "p.nii.gz").read_bytes() == b"of the user"


def test_a_run_that_was_done_is_not_done_again(call, files):
    assert call(*SEGMENT, "l.nii.gz", "--resume")[0] == 0
    before = content(files)
    status, _, err = call(*SEGMENT, "l.nii.gz", "--resume")
    assert status == 0 and "1 of 1 volumes were done before" in err
    assert content(files) == before


def test_tta_and_uncertainty(call, files):
    words = (*SEGMENT, "l.nii.gz", "--tta", "--uncertainty", "u.nii.gz")
    assert call(*words)[0] == 0
    found = nibabel.load(files / "u.nii.gz")
    labels = nibabel.load(files / "l.nii.gz")
    assert found.shape == (*labels.shape, 2)
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(found.affine, labels.affine)
    assert 0.2 < found.get_fdata()[..., 0].max() <= 1
    assert call(*SEGMENT, "m.nii.gz", "--uncertainty", "v.nii.gz")[0] == 0
    assert nibabel.load(files / "v.nii.gz").shape == labels.shape


def test_memory_is_kept_to_or_refused(call, files):
    status, _, err = call(*SEGMENT, "l.nii.gz", "--memory", "1MB")
    assert status == 2 and "memory 1 MB" in err and err.count("\n") == 1
    assert call(*SEGMENT, "l.nii.gz", "--memory", "8GB")[0] == 0
    record = json.loads((files / "l.nii.gz.json").read_text())
    assert 0 < record["planned_memory_bytes"] <= 8e9


def test_a_run_that_may_not_fit_says_so_once(call, monkeypatch):
    monkeypatch.setattr("napari_asmlp.pipeline.plan.free_memory", lambda: 1000)
    status, _, err = call(*SEGMENT, "l.nii.gz")
    assert status == 0
    assert err.count("give --memory") == 1


def test_the_report_adds_up(call, files):
    assert call(*SEGMENT, "l.nii.gz", "--report", "r.json")[0] == 0
    report = json.loads((files / "r.json").read_text())
    seconds = report["seconds"]
    stages = {"read", "network", "stitch", "decide", "write", "other"}
    assert set(seconds) == {*stages, "total"}
    assert min(seconds.values()) >= 0
    parts = sum(value for name, value in seconds.items() if name != "total")
    assert parts == pytest.approx(seconds["total"], abs=0.01)
    labels = np.asarray(nibabel.load(files / "l.nii.gz").dataobj)
    voxels = np.bincount(labels.ravel(), minlength=3)
    names = {"front": 1, "back": 2}
    assert report["volumes_mm3"] == {n: voxels[v] for n, v in names.items() if voxels[v]}


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
def test_a_signal_during_the_imports_ends_it_at_once(files, delay):
    words = ["segment", "scan.nii.gz", "--model", "m.safetensors", "-o", "l.nii.gz"]
    script = (
        "import sys; from napari_asmlp.cli import main; print('up', flush=True)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "up\n"
        time.sleep(delay)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "napari-asmlp: cancelled\n"
