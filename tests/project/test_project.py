"""Projects: what a file of one says, what it refuses, and that it survives a move."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.card import LabelEntry
from napari_asmlp.errors import AsmlpError, GridError, OutputError, SettingsError, VolumeError
from napari_asmlp.grid import Region
from napari_asmlp.project import (
    WHOLE,
    Project,
    ProjectVolume,
    describe_volume,
    known_values,
    load_project,
    open_annotations,
    open_image,
    save_project,
    with_volume,
    without_volume,
)

SHAPE = (4, 3, 2)
LABELS = np.array([0, 1, 2, 9] * 6, np.uint8).reshape(SHAPE)
BOX = Region((0, 0, 0), (2, 3, 2))


def write(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Make a study folder with two channels and labels in it, and one image beside it."""
    for number in range(2):
        write(tmp_path / f"study/scans/a{number}.nii.gz", np.float32(LABELS) + number)
    write(tmp_path / "study/a.labels.nii.gz", LABELS)
    write(tmp_path / "shared/b.nii.gz", np.float32(LABELS) * 2)
    return tmp_path


@pytest.fixture
def project(folder):
    scans = [folder / f"study/scans/a{number}.nii.gz" for number in range(2)]
    first = describe_volume("a", scans, folder / "study/a.labels.nii.gz", (BOX,))
    second = describe_volume("b", [folder / "shared/b.nii.gz"])
    return Project(
        (first, second),
        background=9,
        classes=(LabelEntry(1, "liver", "#e69f00"),),
        model=folder / "study/taught.safetensors",
        settings={"seconds": 30.5, "auto": True, "start": "hippocampus"},
    )


def test_a_project_comes_back_as_it_was_with_relative_paths(folder, project):
    path = save_project(project, folder / "study/p.asmlp.json")
    content = json.loads(path.read_text())
    assert content["volumes"][0]["images"] == ["scans/a0.nii.gz", "scans/a1.nii.gz"]
    assert content["volumes"][0]["corrected"] == ["0:2,0:3,0:2"]
    assert content["volumes"][1]["images"] == ["../shared/b.nii.gz"]
    assert content["model"] == "taught.safetensors"
    assert load_project(path) == project


def test_it_survives_a_move_of_all_and_the_old_place_is_not_asked(folder, project):
    save_project(project, folder / "study/p.asmlp.json")
    shutil.copytree(folder, folder.with_name("moved"))
    shutil.rmtree(folder)
    moved = load_project(folder.with_name("moved") / "study/p.asmlp.json")
    assert open_image(moved.volume("a")).data.shape == (*SHAPE, 2)
    assert open_image(moved.volume("b")).path == folder.with_name("moved") / "shared/b.nii.gz"


def test_reached_through_a_link_it_finds_what_lies_outside(folder, project):
    (folder / "elsewhere/deep").mkdir(parents=True)
    (folder / "elsewhere/deep/link").symlink_to(folder / "study", target_is_directory=True)
    path = save_project(project, folder / "elsewhere/deep/link/p.asmlp.json")
    for way in (path, folder / "study/p.asmlp.json"):
        assert open_image(load_project(way).volume("b")).channels == 1


def test_an_image_that_was_replaced_is_noticed_by_name(folder, project):
    path = save_project(project, folder / "study/p.asmlp.json")
    write(folder / "study/scans/a1.nii.gz", np.float32(LABELS) + 7)
    entry = load_project(path).volume("a")
    with pytest.raises(VolumeError, match=r"volume 'a': .*a1\.nii\.gz: holds other voxels"):
        open_image(entry)
    (folder / "study/scans/a0.nii.gz").unlink()
    with pytest.raises(VolumeError, match=r"volume 'a': .*a0\.nii\.gz: cannot be opened"):
        open_image(entry)


def test_annotations_on_another_grid_are_noticed_by_name(folder, project):
    image = open_image(project.volume("a"))
    write(folder / "study/a.labels.nii.gz", LABELS, np.diag([1, 1, 2, 1]))
    with pytest.raises(GridError, match=r"volume 'a': .*a\.labels\.nii\.gz does not lie"):
        open_annotations(project.volume("a"), image)
    with pytest.raises(VolumeError, match="volume 'b': has no annotations"):
        open_annotations(project.volume("b"), open_image(project.volume("b")))


@pytest.mark.parametrize(
    ("corrected", "unannotated", "background", "inside", "outside"),
    [  # what becomes of the values 0, 1, 2, 9 inside of the box and outside
        (None, 0, 9, [-1, 1, 2, 0], [-1, 1, 2, 0]),
        (None, 9, None, [0, 1, 2, -1], [0, 1, 2, -1]),
        (WHOLE, 0, None, [0, 1, 2, 9], [0, 1, 2, 9]),
        (WHOLE, 9, None, [0, 1, 2, -1], [0, 1, 2, -1]),
        ((BOX,), 0, 9, [0, 1, 2, 0], [-1, -1, -1, -1]),
    ],
)
def test_what_is_known_of_voxels(project, corrected, unannotated, background, inside, outside):
    project = replace(project, unannotated=unannotated, background=background)
    entry = replace(project.volume("a"), corrected=corrected)
    known = known_values(project, entry, open_annotations(entry, open_image(entry)))
    for half, expected in ((slice(0, 2), inside), (slice(2, 4), outside)):
        table = dict(zip([0, 1, 2, 9], expected, strict=True))
        assert known[half].ravel().tolist() == [table[v] for v in LABELS[half].ravel().tolist()]


def test_a_corrected_region_outside_of_the_volume_is_refused(project):
    entry = replace(project.volume("a"), corrected=(Region((9, 0, 0), (10, 1, 1)),))
    with pytest.raises(SettingsError, match="9:10,0:1,0:1"):
        known_values(project, entry, open_annotations(entry, open_image(entry)))


def test_volumes_are_added_replaced_and_taken_out(project):
    first, second = project.volumes
    other = replace(second, name="c")
    assert with_volume(project, other).volumes == (first, second, other)
    changed = replace(first, corrected=WHOLE)
    assert with_volume(project, changed).volumes == (changed, second)
    assert without_volume(project, "a").volumes == (second,)
    with pytest.raises(SettingsError, match=r"'x': the project has no such volume \(a, b\)"):
        without_volume(project, "x")


def test_a_file_is_not_replaced_unasked_and_has_its_suffix(folder, project):
    path = save_project(project, folder / "p.asmlp.json")
    with pytest.raises(OutputError, match="exists already"):
        save_project(project, path)
    save_project(without_volume(project, "a"), path, overwrite=True)
    assert len(load_project(path).volumes) == 1
    with pytest.raises(SettingsError, match=r"ends in \.asmlp\.json"):
        save_project(project, folder / "p.json")
    assert sorted(one.name for one in folder.iterdir()) == ["p.asmlp.json", "shared", "study"]


def test_what_no_file_may_hold_is_not_written(folder, project):
    bad = with_volume(project, ProjectVolume("../b", (Path("b.nii"),), "0" * 64))
    with pytest.raises(SettingsError, match=r"volumes\.2\.name: .*'\.\./b'"):
        save_project(bad, folder / "p.asmlp.json")
    assert not (folder / "p.asmlp.json").exists()


GOOD = {
    "format": "napari-asmlp project",
    "version": 1,
    "volumes": [{"name": "a", "images": ["a.nii"], "hash": "0" * 64}],
}
VOLUME = GOOD["volumes"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2, and this napari-asmlp knows up to 1"),
        ({"version": "1"}, "version: "),
        ({"format": "other"}, "format is 'other'"),
        ({"colour": 1}, "colour: Unexpected"),
        ({"unannotated": -1}, "unannotated: .*not -1"),
        ({"background": 0}, "background 0: is the value of unannotated voxels"),
        ({"volumes": [VOLUME, VOLUME | {"name": "A"}]}, "two volumes are called 'a'"),
        ({"volumes": [VOLUME | {"name": "x/../../y"}]}, r"volumes\.0\.name"),
        ({"volumes": [VOLUME | {"name": ".hidden"}]}, r"volumes\.0\.name"),
        ({"volumes": [VOLUME | {"images": []}]}, r"volumes\.0\.images"),
        ({"volumes": [VOLUME | {"images": ["a\0b"]}]}, r"volumes\.0\.images\.0"),
        ({"volumes": [VOLUME | {"images": ["a"] * 65}]}, r"volumes\.0\.images"),
        ({"volumes": [VOLUME | {"hash": "sha"}]}, r"volumes\.0\.hash: .*'sha'"),
        ({"volumes": [VOLUME | {"corrected": "all"}]}, r"volumes\.0\.corrected.*'all'"),
        ({"volumes": [VOLUME | {"corrected": ["3:1,0:1,0:1"]}]}, "volume 'a': .*3:1"),
        ({"volumes": [VOLUME | {"volume": 1.5}]}, r"volumes\.0\.volume: .*1\.5"),
        ({"classes": [{"value": 1, "name": "x", "colour": "red"}]}, r"classes\.0\.colour"),
        ({"settings": {"a": [1]}}, r"settings\.a"),
        ({"settings": {"a": "x" * 5000}}, r"settings\.a"),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(tmp_path, change, words):
    path = tmp_path / "p.asmlp.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(AsmlpError, match=words) as raised:
        load_project(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"x" * ((16 << 20) + 1)],
)
def test_what_is_no_project_is_refused(tmp_path, content):
    path = tmp_path / "p.asmlp.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"p\.asmlp\.json: is "):
        load_project(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"p\.asmlp\.json: cannot be read"):
        load_project(tmp_path / "p.asmlp.json")
