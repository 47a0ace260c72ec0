"""Data sets on disk: their cases, and what is wrong with them."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_asmlp.errors import AsmlpError, GridError, SettingsError, VolumeError
from napari_asmlp.io import read_volume
from napari_asmlp.training.dataset import (
    IGNORED,
    LabelTable,
    class_indices,
    examined,
    read_case,
    read_dataset,
)
from tests.blobs import AFFINE, write_dataset


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "balls")


def test_cases_of_the_decathlon_layout(folder):
    dataset = read_dataset(folder)
    assert dataset.name == "Balls"
    assert [case.name for case in dataset.cases] == ["ball_0", "ball_1", "ball_2", "ball_3"]
    assert dataset.labels.names == {1: "Back", 2: "Front"}


def test_cases_of_the_nnunet_layout(folder):
    for image in (folder / "imagesTr").iterdir():
        name = image.name.removesuffix(".nii.gz")
        image.rename(image.with_name(f"{name}_0000.nii.gz"))
    second = folder / "imagesTr" / "ball_1_0000.nii.gz"
    for n in range(4):
        nibabel.save(nibabel.load(second), folder / "imagesTr" / f"ball_{n}_0001.nii.gz")
    table = {"background": 0, "Back": 1, "Front": 2}
    (folder / "dataset.json").write_text(json.dumps({"labels": table, "file_ending": ".nii.gz"}))
    dataset = read_dataset(folder)
    assert dataset.labels.names == {1: "Back", 2: "Front"}
    image, _ = read_case(dataset.cases[0])
    assert image.channels == 2


def test_cases_of_one_file_name_are_told_apart(folder):
    """In folders of their own, as a scan of each patient."""
    index = json.loads((folder / "dataset.json").read_text())
    for n, entry in enumerate(index["training"][:2]):
        for key in ("image", "label"):
            old = folder / entry[key]
            new = old.parent / f"patient_{n}" / "scan.nii.gz"
            new.parent.mkdir()
            entry[key] = str(old.rename(new).relative_to(folder))
    (folder / "dataset.json").write_text(json.dumps(index))
    assert [case.name for case in read_dataset(folder).cases] == [
        "imagesTr/patient_0/scan.nii.gz",
        "imagesTr/patient_1/scan.nii.gz",
        "ball_2",
        "ball_3",
    ]


def test_labels_of_nnunet_that_are_there_twice_are_refused(tmp_path):
    for room, name in (("imagesTr", "x_0000.nii"), ("labelsTr", "x.nii"), ("labelsTr", "x.mgz")):
        (tmp_path / room).mkdir(exist_ok=True)
        (tmp_path / room / name).touch()
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "a": 1}}')
    with pytest.raises(SettingsError, match=r"x\.mgz and x\.nii: one name"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("x_0000.nii x_0002.nii", "x_0001 of 3 channels of x is missing"),
        ("x_0001.nii", "x_0000 of 2 channels of x is missing"),
        ("x_0000.nii x_0000.mgz", "channel 0000 of x is there twice"),
    ],
)
def test_channels_of_nnunet_are_counted_from_zero(tmp_path, listed, files, said):
    for room in ("imagesTr", "labelsTr"):
        (tmp_path / room).mkdir()
    content = {"labels": {"background": 0, "a": 1}}
    if listed:
        content["training"] = [{"image": "imagesTr/x.nii", "label": "labelsTr/x.nii"}]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (tmp_path / "labelsTr" / "x.nii").touch()
    for name in files.split():
        (tmp_path / "imagesTr" / name).touch()
    with pytest.raises(VolumeError, match=said):
        read_dataset(tmp_path)


def test_cases_of_the_first_nnunet_layout(folder):
    """It lists NAME.nii.gz, and stores NAME_0000.nii.gz and so on."""
    for image in sorted((folder / "imagesTr").iterdir()):
        first = image.rename(image.with_name(image.name.replace(".", "_0000.", 1)))
        first.with_name(image.name.replace(".", "_0001.", 1)).write_bytes(first.read_bytes())
    dataset = read_dataset(folder)
    assert [case.name for case in dataset.cases] == ["ball_0", "ball_1", "ball_2", "ball_3"]
    assert [path.name for path in dataset.cases[1].images] == [
        "ball_1_0000.nii.gz",
        "ball_1_0001.nii.gz",
    ]
    (folder / "imagesTr" / "ball_9_0000.nii.gz").write_bytes(b"x")
    with pytest.raises(SettingsError, match=r"ball_9_0000\.nii\.gz: not listed"):
        read_dataset(folder)


def test_the_hash_is_of_the_voxels(folder):
    """Renamed, recompressed, with another header or stored as another type: the same image."""
    first, second, *_ = read_dataset(folder).cases
    image = nibabel.load(first.images[0])
    shifted = nibabel.Nifti1Image(np.asarray(image.dataobj).astype(np.float64), np.eye(4))
    nibabel.save(shifted, second.images[0].with_name("other.nii"))
    copy = replace(first, images=(second.images[0].with_name("other.nii"),))
    hashes = [case.hash for case in examined([first, copy, second])]
    assert hashes[0] == hashes[1] != hashes[2]


def test_images_with_other_channels_are_refused(folder):
    first, second, *_ = read_dataset(folder).cases
    array = np.asarray(nibabel.load(second.images[0]).dataobj)
    nibabel.save(nibabel.Nifti1Image(np.stack([array] * 2, -1), AFFINE), second.images[0])
    with pytest.raises(VolumeError, match=r"ball_1.*2 channels, but ball_0.*has 1.*--volume"):
        list(examined([first, second]))
    pairs = replace(first, images=(first.images[0], second.images[0]))
    with pytest.raises(VolumeError, match=r"ball_1.*holds 2 volumes, but is one channel of 2"):
        read_case(pairs)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_with_holes_is_refused(folder, value):
    case = read_dataset(folder).cases[1]
    array = np.asarray(nibabel.load(case.images[0]).dataobj).copy()
    array[3, 4, 5] = value
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), case.images[0])
    with pytest.raises(VolumeError, match=r"ball_1\.nii\.gz: holds NaN or infinity"):
        list(examined([case]))


@pytest.mark.parametrize("key", ["modality", "channel_names"])
def test_channels_have_names(folder, key):
    break_index(folder, lambda c: c.update({key: {"0": "CT", "1": "T2"}}))
    assert read_dataset(folder).channel_names == ("CT", "T2")


def test_labels_on_another_grid_are_refused(folder):
    case = read_dataset(folder).cases[0]
    labels = np.asarray(nibabel.load(case.labels).dataobj)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2, 1, 1, 1])), case.labels)
    with pytest.raises(GridError, match=r"ball_0\.nii\.gz.*different grids"):
        read_case(case)


def break_index(folder, change):
    index = folder / "dataset.json"
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))


def test_a_listed_file_outside_is_refused_from_within_the_data_set(folder, monkeypatch):
    monkeypatch.chdir(folder)
    break_index(folder, lambda c: c["training"][0].update(image="../elsewhere.nii.gz"))
    with pytest.raises(SettingsError, match="outside the data set"):
        read_dataset(Path())


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda f: (f / "dataset.json").unlink(), "cannot be read"),
        (lambda f: (f / "dataset.json").write_text("{"), "not JSON"),
        (lambda f: (f / "dataset.json").write_text("[]"), "no table of labels"),
        (lambda f: (f / "imagesTr" / "ball_2.nii.gz").unlink(), "ball_2.*does not exist"),
        (lambda f: break_index(f, lambda c: c.update(training=[])), "no training cases"),
        (lambda f: break_index(f, lambda c: c["training"].append({"image": "x"})), "no pair"),
        (
            lambda f: break_index(
                f, lambda c: c["training"].append({"image": "../../x", "label": "x"})
            ),
            "outside the data set",
        ),
        (lambda f: break_index(f, lambda c: c.update(labels={"0": "background"})), "1 to 254"),
        (lambda f: break_index(f, lambda c: c["labels"].update(x="name")), "not a number"),
        (lambda f: break_index(f, lambda c: c["labels"].update({"99999": "far"})), "99999"),
        (lambda f: break_index(f, lambda c: c["labels"].update(ignore=2)), "2 means 'ignore' and"),
        (
            lambda f: break_index(f, lambda c: c["labels"].update(both=[1, 2])),
            "regions_class_order",
        ),
        (
            lambda f: break_index(
                f, lambda c: c.update(labels={"a": [1, 2], "b": 2}, regions_class_order=[1, 1])
            ),
            "2 different label values, one for each of a, b",
        ),
        (
            lambda f: break_index(
                f, lambda c: c.update(labels={"a": [1, 2], "b": 2}, regions_class_order=[1, 3])
            ),
            r"'b' would be written as 3, which is none of its label values \[2\]",
        ),
        (lambda f: break_index(f, lambda c: c["labels"].update(a=[0, 1])), "0 is background"),
        (lambda f: break_index(f, lambda c: c.update(labels={"a": 1, "b": 1})), "one number"),
        (lambda f: break_index(f, lambda c: c["training"].pop()), r"ball_3.*not listed"),
        (lambda f: break_index(f, lambda c: c["training"].append(c["training"][0])), "twice"),
        (
            lambda f: break_index(f, lambda c: c["training"][0].update(image="a\0b")),
            "no name of a file",
        ),
    ],
)
def test_a_broken_data_set_is_refused(folder, damage, word):
    damage(folder)
    with pytest.raises(AsmlpError, match=word):
        read_dataset(folder)


@pytest.mark.parametrize("room", ["imagesTr", "labelsTr"])
@pytest.mark.parametrize("layout", ["listed", "named"])
def test_a_link_to_nothing_is_named(folder, room, layout):
    """As git-annex leaves it where the content was not fetched."""
    if layout == "named":
        break_index(folder, lambda c: c.pop("training"))
        for image in (folder / "imagesTr").iterdir():
            image.rename(image.with_name(image.name.replace(".", "_0000.", 1)))
    path = next((folder / room).glob("ball_1*"))
    path.unlink()
    path.symlink_to("../../gone")
    with pytest.raises(VolumeError, match=rf"{path.name}: is a link to a file that is not there"):
        read_dataset(folder)


def test_a_listed_link_out_of_the_data_set_keeps_its_name(folder, tmp_path):
    """git-annex keeps the content elsewhere, under the name of its hash."""
    image = folder / "imagesTr" / "ball_1.nii.gz"
    image.symlink_to(image.rename(tmp_path / "MD5E-s9--1.nii.gz"))
    case = read_dataset(folder).cases[1]
    assert (case.name, case.images) == ("ball_1", (image,))


@pytest.mark.parametrize(("stated", "said"), [(4, ""), (None, ""), (5, "numTraining 5, but 4")])
def test_the_number_of_cases_is_compared(folder, stated, said):
    break_index(folder, lambda c: c.update(numTraining=stated))
    note = read_dataset(folder).note
    assert said in note
    assert bool(note) == bool(said)


MEANT = {
    "decathlon": ({"0": "background", "2": "b", "1": "a"}, LabelTable({1: "a", 2: "b"})),
    "nnunet": ({"background": 0, "b": 2, "a": 1}, LabelTable({1: "a", 2: "b"})),
    "ignore": ({"background": 0, "a": 1, "ignore": 2}, LabelTable({1: "a"}, ignore=2)),
    "ignore of the decathlon": ({"1": "a", "7": "Ignore"}, LabelTable({1: "a"}, ignore=7)),
    "regions": (
        {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
        LabelTable({1: "whole", 2: "core", 3: "enhancing"}, ((1, 2, 3), (2, 3), (3,)), 4),
    ),
}


@pytest.mark.parametrize("layout", MEANT)
def test_label_tables(folder, layout):
    labels, expected = MEANT[layout]
    break_index(folder, lambda c: c.update(labels=labels, regions_class_order=[1, 2, 3]))
    assert read_dataset(folder).labels == expected


def test_classes_of_regions_and_ignored_voxels(folder):
    table = LabelTable({5: "all", 6: "inner"}, ((2, 4, 9), (4, 9)), 7)
    image = read_volume(read_dataset(folder).cases[0].images[0])
    values = np.resize([0, 2, 4, 9, 7], image.grid.shape)
    classes = class_indices(image.with_labels(values), table)
    assert classes.ravel()[:5].tolist() == [0, 1, 2, 3, IGNORED]
    assert table.region_classes == ((1, 2, 3), (2, 3))
    assert (table.outputs, table.absent({1})) == (2, ["inner"])
    with pytest.raises(VolumeError, match=r"label value 5 is not .*0, 2, 4, 9, 7"):
        class_indices(image.with_labels(values + 5), table)


@pytest.mark.parametrize(
    "content", [b'{"labels":' + b"[" * 100_000, b'{"a":' + b"9" * 5000, b"\xff"]
)
def test_an_index_that_no_parser_takes_is_refused(folder, content):
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(SettingsError, match=r"dataset\.json: not JSON"):
        read_dataset(folder)
