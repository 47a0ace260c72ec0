"""`napari-asmlp teach --project`: all volumes teach, and each gets labels on its own grid."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from napari_asmlp.card import LabelEntry
from napari_asmlp.cli import main
from napari_asmlp.model import load_model, save_model
from napari_asmlp.project import WHOLE, Project, describe_volume, load_project, save_project
from napari_asmlp.teaching import encoder
from tests.models import SMALL, small_model

SHAPES = {"painted": (16, 12, 10), "corrected": (14, 12, 10), "bare": (16, 10, 12)}
BRIGHT = slice(8, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(encoder, "is_there", lambda: False)


@pytest.fixture
def project(tmp_path):
    """Write three volumes with a bright half: two painted slices of background (5) alone, all
    labels with a mistake that was corrected, and nothing."""
    project = Project(background=5, classes=(LabelEntry(2, "bright", "#009e73"),))
    for seed, (name, shape) in enumerate(SHAPES.items()):
        bright = np.zeros(shape, np.uint8)
        bright[BRIGHT] = 2
        noise = np.random.default_rng(seed).standard_normal(shape)
        write(tmp_path / f"{name}.nii.gz", (50 * bright + noise).astype(np.float32))
        painted = np.zeros(shape, np.uint8)
        painted[:8, :, [2, 7]] = 5
        write(tmp_path / f"{name}.labels.nii.gz", painted if name == "painted" else bright)
        entry = describe_volume(
            name,
            [tmp_path / f"{name}.nii.gz"],
            None if name == "bare" else tmp_path / f"{name}.labels.nii.gz",
            WHOLE if name == "corrected" else None,
        )
        project = replace(project, volumes=(*project.volumes, entry))
    return save_project(project, tmp_path / "p.asmlp.json")


def write(path, voxels):
    nib.save(nib.Nifti1Image(voxels, np.diag([1, 2, 1, 1])), path)


def teach(path, *more):
    output = path.parent / "out.safetensors"
    return main(["teach", "--project", str(path), "-o", str(output), "--seconds", "0.01", *more])


def test_every_volume_is_labelled_and_keeps_what_was_annotated(project):
    folder = project.parent / "labels"
    assert teach(project, "--labels-out", str(folder)) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}{suffix}" for name in SHAPES for suffix in (".nii.gz", ".labels.txt")
    )
    for name, shape in SHAPES.items():
        written = nib.load(folder / f"{name}.nii.gz")
        found = np.asarray(written.dataobj)
        assert found.shape == shape and set(np.unique(found)) == {0, 2}
        np.testing.assert_allclose(written.affine, np.diag([1, 2, 1, 1]))
        assert np.mean(found[BRIGHT] == 2) > 0.9 and np.mean(found[:8] == 0) > 0.9
    assert load_model(project.parent / "out.safetensors").card.label_names == {2: "bright"}


def test_it_goes_on_from_the_projects_own_model(project):
    path = save_model(small_model(), project.parent / "first.safetensors")
    save_project(replace(load_project(project), model=path), project, overwrite=True)
    assert teach(project) == 0
    assert load_model(project.parent / "out.safetensors").card.network.widths == SMALL.widths


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["image.nii.gz", "strokes.nii.gz"], "leave out IMAGE"),
        (["--unannotated", "0"], "leave out IMAGE"),
        (["--background", "5"], "leave out IMAGE"),
        (["--labels-out", "LABELS"], "is a file; with --project give a folder"),
        (["--project", "nowhere.asmlp.json"], "nowhere.asmlp.json: cannot be read"),
    ],
)
def test_wrong_usage_ends_in_one_line_and_leaves_nothing(project, capsys, more, words):
    before = sorted(project.parent.iterdir())
    more = [str(project.parent / "bare.nii.gz") if word == "LABELS" else word for word in more]
    assert teach(project, *more) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert sorted(project.parent.iterdir()) == before


def test_without_a_project_image_and_annotations_are_needed(tmp_path, capsys):
    assert main(["teach", "-o", str(tmp_path / "out.safetensors")]) == 2
    assert "give IMAGE and ANNOTATIONS, or --project" in capsys.readouterr().err


def test_one_class_in_all_volumes_is_refused(project, capsys):
    volumes = load_project(project).volumes
    save_project(replace(load_project(project), volumes=volumes[:1]), project, overwrite=True)
    assert teach(project) == 2
    assert "only the value 0 is annotated in the project" in capsys.readouterr().err


def test_labels_that_are_there_are_not_replaced(project, capsys):
    folder = project.parent / "labels"
    folder.mkdir()
    (folder / "bare.nii.gz").write_bytes(b"precious")
    assert teach(project, "--labels-out", str(folder)) == 2
    assert (folder / "bare.nii.gz").read_bytes() == b"precious"
    assert "--overwrite" in capsys.readouterr().err
