"""`napari-asmlp classify` as a user's script meets it."""

import json

import numpy as np
import pytest

from napari_asmlp.cli import main
from napari_asmlp.cli.classify import format_table
from napari_asmlp.io import write_labels, write_volume
from napari_asmlp.model import save_model
from napari_asmlp.pipeline.classification import Item
from napari_asmlp.volume import Volume
from tests.models import small_model
from tests.test_classification import cells, corner_volume, image, model_of


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Run `classify` in a folder of volumes and models; return status, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_ASMLP_MODELS", str(tmp_path / "none"))
    write_volume(image(), "scan.nii.gz")
    write_volume(corner_volume(), "corner.nii.gz")
    write_labels(cells(), "cells.nii.gz")
    save_model(model_of(), "whole.safetensors")
    save_model(model_of("object", 2), "each.safetensors")
    save_model(model_of("mask"), "shape.safetensors")

    def run(*words):
        try:
            status = main(["classify", *(str(word) for word in words)])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_one_volume_as_json(call):
    status, out, err = call("scan.nii.gz", "--model", "whole.safetensors", "--json", "-")
    (item,) = json.loads(out)["items"]
    assert (status, err) == (0, "")
    assert set(item) == {"input", "object", "class", "probabilities"}
    assert (item["input"], item["object"]) == ("scan.nii.gz", None)
    assert item["class"] == max(item["probabilities"], key=item["probabilities"].get)
    assert sum(item["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_each_object_into_a_file(call, tmp_path):
    words = ("scan.nii.gz", "--model", "each.safetensors", "--objects", "cells.nii.gz")
    status, out, _ = call(*words, "--json", "r.json")
    assert (status, out) == (0, "")
    items = json.loads((tmp_path / "r.json").read_text())["items"]
    assert [item["object"] for item in items] == [2, 4, 90]
    status, _, err = call(*words, "--json", "r.json")
    assert status == 2
    assert "--overwrite" in err
    assert call(*words, "--json", "r.json", "--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["scan.nii.gz", "cells.nii.gz", "each.safetensors"])
def test_what_is_read_is_never_written_to(call, tmp_path, name):
    before = (tmp_path / name).read_bytes()
    words = ("scan.nii.gz", "--model", "each.safetensors", "--objects", "cells.nii.gz")
    status, _, err = call(*words, "--json", name, "--overwrite")
    assert status == 2 and "is the input" in err
    assert (tmp_path / name).read_bytes() == before


def test_one_volume_of_several_is_chosen_of_objects_too(call):
    for name, volume in (("scan", image()), ("cells", cells())):
        array = volume.array().astype(np.float32)
        write_volume(Volume(np.stack([0 * array, array], -1), volume.grid), f"{name}4.nii.gz")
    words = ("scan4.nii.gz", "--model", "each.safetensors", "--json", "-", "--volume", "1")
    found = json.loads(call(*words, "--objects", "cells4.nii.gz")[1])["items"]
    assert found == json.loads(call(*words, "--objects", "cells.nii.gz")[1])["items"]
    assert [item["object"] for item in found] == [2, 4, 90]


def test_a_table_for_people(call):
    words = ("scan.nii.gz", "--model", "each.safetensors", "--objects", "cells.nii.gz")
    _, out, _ = call(*words)
    head, *rows = (line.split() for line in out.splitlines())
    assert head == ["input", "object", "class", "confidence", "dull", "bright"]
    assert [row[:2] for row in rows] == [["scan.nii.gz", value] for value in ("2", "4", "90")]
    for row in rows:
        assert float(row[3]) == max(float(p) for p in row[4:])
    assert call(*words, "--quiet")[1] == ""


def test_a_name_from_a_model_file_cannot_steer_the_terminal():
    item = Item("a\x1b[2J.nii", None, "red\nline", {"red\nline": 1.0})
    head, row = format_table([item]).splitlines()
    assert head.endswith("red?line")
    assert row.split()[:2] == ["a?[2J.nii", "red?line"]


def test_connected_pieces_are_objects_of_their_own(call):
    two = np.where(cells().array() > 0, 1, 0).astype(np.uint8)
    write_labels(cells().with_labels(two), "two.nii.gz")
    words = ("scan.nii.gz", "--model", "each.safetensors", "--objects", "two.nii.gz", "--json", "-")
    assert len(json.loads(call(*words)[1])["items"]) == 1
    assert len(json.loads(call(*words, "--connected")[1])["items"]) == 3


def test_one_of_several_fails_and_the_others_are_there(call):
    status, out, err = call(
        "corner.nii.gz", "scan.nii.gz", "--model", "shape.safetensors", "--json", "-"
    )
    assert status == 1
    assert [item["input"] for item in json.loads(out)["items"]] == ["corner.nii.gz"]
    assert "scan.nii.gz: failed" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("none.nii.gz", "--model", "whole.safetensors"), "none.nii.gz"),
        (("scan.nii.gz", "--model", "each.safetensors"), "--objects"),
        (("scan.nii.gz", "--model", "shape.safetensors"), "several values"),
        (("scan.nii.gz", "--connected", "--model", "whole.safetensors"), "--objects LABELS"),
        (("corner.nii.gz", "--model", "each.safetensors", "--objects", "cells.nii.gz"), "grids"),
        (
            (
                "scan.nii.gz",
                "corner.nii.gz",
                "--model",
                "each.safetensors",
                "--objects",
                "cells.nii.gz",
            ),
            "one volume",
        ),
    ],
)
def test_wrong_input_is_one_line(call, words, says):
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_segmenter_is_refused(call):
    save_model(small_model(), "segments.safetensors")
    status, _, err = call("scan.nii.gz", "--model", "segments.safetensors")
    assert status == 2
    assert "segmenter" in err
