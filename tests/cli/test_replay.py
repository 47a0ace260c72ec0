"""`napari-asmlp replay`: the same labels from the record alone, or a line that says why not."""

import json

import nibabel
import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.model import save_model
from tests.blobs import AFFINE, ball
from tests.models import small_model


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def recorded(call, tmp_path):
    """Return a folder with a volume, a model, labels and their record."""
    nibabel.save(nibabel.Nifti1Image(ball(0)[0], AFFINE), tmp_path / "scan.nii.gz")
    save_model(small_model(), tmp_path / "m.safetensors")
    chosen = ("--tta", "--overlap", 0.4, "--region", "1:13,:,2:12", "--precision", "bf16")
    words = ("segment", "scan.nii.gz", "--model", "m.safetensors", "-o", "l.nii.gz", *chosen)
    assert call(*words)[0] == 0
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_same_labels_bit_for_bit(call, recorded):
    status, err = call("replay", "l.nii.gz.json", "-o", "again.nii.gz")
    assert status == 0
    assert err.endswith("the labels are those of l.nii.gz\n") and "not as in" not in err
    assert (recorded / "again.nii.gz").read_bytes() == (recorded / "l.nii.gz").read_bytes()
    before, now = (json.loads((recorded / f"{n}.nii.gz.json").read_text()) for n in ("l", "again"))
    changing = {"seconds", "time", "output", "peak_memory_bytes", "planned_memory_bytes"}
    assert {k for k in before if before[k] != now[k]} <= changing | {"settings"}
    assert now["settings"]["mirror"] and now["settings"]["region"] == "1:13,0:18,2:12"


def test_a_whole_and_tilted_volume_with_a_fill_value(call, tmp_path):
    image, turn = ball(0)[0], np.radians(40)
    image[:2] = -9999
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    nibabel.save(nibabel.Nifti1Image(image, affine), tmp_path / "scan.nii.gz")
    save_model(small_model(field_of_view_mm=(5.0, 5.0, 5.0)), tmp_path / "m.safetensors")
    words = ("segment", "scan.nii.gz", "--model", "m.safetensors", "-o", "l.nii.gz")
    status, err = call(*words)
    assert (status, "--whole" in err, err.count("\n")) == (2, True, 1)
    assert call(*words, "--whole", "--region", "1:5,:,:")[0] == 2
    status, err = call(*words, "--whole")
    assert status == 0
    notes = [line for line in err.splitlines() if line.startswith("scan.nii.gz: ")]
    assert "tilted by 40°" in notes[0] and "14.3 % of the voxels are -9999" in notes[1]
    status, err = call("replay", "l.nii.gz.json", "-o", "again.nii.gz")
    assert status == 0 and err.endswith("the labels are those of l.nii.gz\n")
    record = json.loads((tmp_path / "again.nii.gz.json").read_text())
    assert record["upright"] and record["settings"]["whole"]
    del record["settings"]["upright"]  # as older versions wrote it
    (tmp_path / "again.nii.gz.json").write_text(json.dumps(record))
    status, err = call("replay", "again.nii.gz.json", "-o", "old.nii.gz")
    assert status == 0 and "upright was True, now False" in err


def test_without_a_name_it_lies_beside_the_record(call, recorded):
    kept = (recorded / "l.nii.gz.json").read_bytes()
    (recorded / "l.nii.gz").unlink()
    assert call("replay", "l.nii.gz.json")[0] == 0
    assert (recorded / "l-replay.nii.gz").exists()
    assert (recorded / "l.nii.gz.json").read_bytes() == kept
    status, err = call("replay", "l.nii.gz.json")
    assert status == 2 and "exists already" in err
    assert call("replay", "l.nii.gz.json", "--overwrite")[0] == 0


def test_a_moved_folder_is_found_from_the_record(call, recorded, monkeypatch):
    (recorded / "elsewhere").mkdir()
    monkeypatch.chdir(recorded / "elsewhere")
    assert call("replay", "../l.nii.gz.json", "-o", "l.nii.gz")[0] == 0
    (recorded / "scan.nii.gz").rename(recorded / "renamed.nii.gz")
    status, err = call("replay", "../l.nii.gz.json", "-o", "m.nii.gz")
    assert status == 2 and "input scan.nii.gz" in err and "--input" in err
    words = ("replay", "../l.nii.gz.json", "-o", "m.nii.gz", "--input", "../renamed.nii.gz")
    assert call(*words)[0] == 0


def test_what_changed_is_named_both_at_once(call, recorded):
    save_model(small_model(seed=1), recorded / "m.safetensors", overwrite=True)
    nibabel.save(nibabel.Nifti1Image(ball(1)[0], AFFINE), recorded / "scan.nii.gz")
    status, err = call("replay", "l.nii.gz.json", "-o", "again.nii.gz")
    assert status == 2 and err.count("\n") == 1
    assert "the input scan.nii.gz changed" in err and "the model m.safetensors changed" in err
    assert not (recorded / "again.nii.gz").exists()


def test_other_versions_and_edited_labels_are_said(call, recorded):
    record = recorded / "l.nii.gz.json"
    versions = json.loads(record.read_text())["versions"] | {"torch": "1.0"}
    change(record, versions=versions, threads=2)
    labels = nibabel.load(recorded / "l.nii.gz")
    array = np.asarray(labels.dataobj).copy()
    array[0, 0, 0] += 1
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), recorded / "l.nii.gz")
    status, err = call("replay", "l.nii.gz.json", "-o", "again.nii.gz", "--threads", 1)
    assert status == 0
    assert "not as in l.nii.gz.json: torch was 1.0, now " in err
    assert "threads was 2, now 1" in err
    assert "1 voxels differ from l.nii.gz" in err


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"command": "train"}, "records 'train'"),
        ({"command": "classify"}, "records 'classify'"),
        ({"input": None}, "came from no file"),
        ({"settings": 3}, "no settings"),
        ({"settings": {"overlap": 7}}, "overlap 7"),
        ({"settings": {"mirror": "perhaps"}}, "settings.mirror"),
        ({"model": 3}, "no record of a run: model"),
        ({"threads": 0}, "threads"),
        ({"device": "abacus"}, "abacus"),
        ({"volume": 4}, "volume 4"),
    ],
)
def test_what_is_no_record_of_a_segmentation_is_refused(call, recorded, values, said):
    change(recorded / "l.nii.gz.json", **values)
    before = sorted(recorded.iterdir())
    status, err = call("replay", "l.nii.gz.json", "-o", "again.nii.gz")
    assert (status, err.count("\n")) == (2, 1) and said in err and "Traceback" not in err
    assert sorted(recorded.iterdir()) == before


@pytest.mark.parametrize("text", ["", "[1]", "{}", "[" * 100_000, "\0"])
def test_other_files_are_refused(call, recorded, text):
    (recorded / "x.json").write_text(text)
    status, err = call("replay", "x.json", "-o", "again.nii.gz")
    assert (status, err.count("\n")) == (2, 1) and "x.json: no record of a run" in err


def test_the_record_itself_is_never_replaced(call, recorded):
    before = (recorded / "l.nii.gz.json").read_bytes()
    status, err = call("replay", "l.nii.gz.json", "-o", "l.nii.gz", "--overwrite")
    assert status == 2 and "is the input" in err
    assert (recorded / "l.nii.gz.json").read_bytes() == before
