"""What is shipped is what its recipe says, and its page holds the figures of its card."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import pytest
from PIL import Image

from napari_asmlp.model import load_model, save_model
from napari_asmlp.pipeline.scoring import score, scored_model
from napari_asmlp.provenance import file_hash
from napari_asmlp.teaching import encoder
from napari_asmlp.training.dataset import examined, read_dataset
from napari_asmlp.zoo import BUNDLED
from tests.blobs import AFFINE, ball, write_dataset
from tests.models import small_model

SOURCES = Path(__file__).parents[1] / "src_resources"


@pytest.fixture
def scripts(monkeypatch):
    """Let tests import what lies in `src_resources`."""
    monkeypatch.syspath_prepend(SOURCES)
    yield
    for name in ("hippocampus", "model_card", "failures"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("recipe", "shipped"),
    [
        ("hippocampus.toml", BUNDLED / "hippocampus.safetensors"),
        ("encoder.toml", encoder.PATH),
    ],
)
def test_the_shipped_file_is_that_of_its_recipe(recipe, shipped):
    text = (SOURCES / recipe).read_text()
    assert re.findall(r"^# Shipped file: (sha256:\w{64})$", text, re.MULTILINE) == [
        file_hash(shipped)
    ]


def finished(steps):
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


@pytest.fixture
def shipped(tmp_path):
    """Return a model with scores, whose split says what was kept out."""
    cases = tuple(examined(read_dataset(write_dataset(tmp_path / "balls", count=3)).cases))
    model = scored_model(small_model(), finished(score(small_model(), cases)))
    about = {
        "recipe": {"fold": "2/5", "dataset_hash": "sha256:0"},
        "split": {"kept_out": [case.hash for case in cases]},
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"napari-asmlp": "1", "torch": "2"},
    }
    return save_model(replace(model, card=replace(model.card, **about)), tmp_path / "m.safetensors")


def test_the_page_holds_scores_hash_and_pictures(scripts, shipped, tmp_path, monkeypatch):
    import model_card

    words = ["model_card.py", str(shipped), str(tmp_path / "balls"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    model_card.main()
    text = (tmp_path / "hippocampus.md").read_text()
    card = load_model(shipped).card
    mean = card.scores["mean"]["all"]
    assert f"{mean['dice']:.3f}" in text and f"{mean['hd95_mm']:.2f}" in text
    assert file_hash(shipped) in text and "2026-01-02" in text
    assert f"{card.calibration['ece_before']:.3f}" in text
    assert len(re.findall(r"^\| ball_\d \| 2/5 \|", text, re.MULTILINE)) == 3
    picture = tmp_path / "images" / "hippocampus_failures.png"
    assert picture.stat().st_size < 200_000
    with Image.open(picture) as image:
        assert image.height > 3 * 12 * 5  # three cases, the lowest panel of 12 mm


def test_a_case_that_was_not_kept_out_is_refused(scripts, shipped, tmp_path, monkeypatch):
    """Its name alone says nothing."""
    import model_card

    for n in range(3):
        image = nibabel.Nifti1Image(ball(7 + n)[0], AFFINE)
        nibabel.save(image, tmp_path / "balls" / "imagesTr" / f"ball_{n}.nii.gz")
    words = ["model_card.py", str(shipped), str(tmp_path / "balls"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="is not what fold 2/5 kept out under this name"):
        model_card.main()
    assert not (tmp_path / "hippocampus.md").exists()


def one_fold(name, dice, temperature, error, voxels):
    measures = dict.fromkeys(
        ("ece_after", "ece_found_before", "ece_found_after", "risk", "risk_coverage_area"), 0.0
    )
    scores = {"dice": dice, "hd95_mm": 1.0, "assd_mm": 1.0, "volume_mm3": 1, "reference_mm3": 1}
    return {
        "scores": {"cases": {name: {"1": scores}}},
        "calibration": measures
        | {"cases": 1, "voxels": voxels, "temperature": temperature, "least_area": 0.0}
        | {"ece_before": error},
    }


def test_the_card_of_the_final_model_has_the_scores_of_the_folds(scripts):
    import hippocampus

    model = small_model(training_data="crops: 3 cases, 0 kept out")
    reports = [one_fold("a", 0.8, 1.0, 0.1, 100), one_fold("b", 0.6, 4.0, 0.4, 200)]
    card = hippocampus.with_scores(model, reports).card
    assert card.mean_dice == pytest.approx(0.7)
    assert card.temperature == pytest.approx(2.0)
    assert card.calibration["ece_before"] == pytest.approx(0.3)
    assert card.training_data.startswith("crops: 3 cases, 0 kept out; scores are of 2 cases")
    assert card.training_data.endswith("(2 of 5 folds)")
