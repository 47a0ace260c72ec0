"""Model files of classifiers: there and back, hostile cards, and jobs for the other kind."""

import json
import struct
from dataclasses import replace

import pytest
import torch

from napari_asmlp import zoo
from napari_asmlp.cli import main
from napari_asmlp.errors import ModelError
from napari_asmlp.model import (
    Card,
    ClassEntry,
    ClassifierCard,
    ClassifierInput,
    Measurement,
    classifier,
    load_model,
    read_card,
    save_model,
    segmenter,
)
from tests.models import small_classifier, small_model

CARD = small_classifier().card


@pytest.fixture
def path(tmp_path):
    return save_model(small_classifier(), tmp_path / "small.safetensors", half=False)


def rewritten(path, **changes):
    """Write other values into a model file's card."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    card = json.loads(header["__metadata__"]["napari_asmlp_card"])
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        (card[section] if section else card)[name] = value
    header["__metadata__"]["napari_asmlp_card"] = json.dumps(card)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return path


def test_a_classifier_comes_back_as_it_was(path):
    model, before = load_model(path), small_classifier()
    volume = torch.randn(2, *(before.card.in_channels, *before.card.network.input_size))
    assert model.card == before.card == read_card(path)
    assert model.card.class_names == ("round", "long")
    torch.testing.assert_close(model.network(volume), before.network(volume))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network__depth": 10**9}, "network.depth"),
        ({"network__width": 10**12}, "network.width"),
        ({"network__width": 8192, "network__token_width": 8192}, "do not fit the card"),
        ({"network__input_size": [10**6] * 3}, "network.input_size"),
        ({"network__patch_size": 3}, "multiple of the patch size"),
        ({"classes": [{"name": "a", "colour": "#000000"}]}, "1 classes for 2 outputs"),
        ({"classes": [{"name": "a", "colour": "#000000"}] * 2}, "occurs twice"),
        ({"input__what": "volume"}, "only a shape"),
        ({"input__spacing": [0, 1, 1]}, "input.spacing"),
        ({"temperature": 0}, "temperature"),
        ({"architecture": "transformer"}, "architecture.*'asmlp', 'mixer'"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_cards_that_cannot_be_are_refused_where_they_are_wrong(path, changes, words):
    with pytest.raises(ModelError, match=words) as caught:
        load_model(rewritten(path, **changes))
    assert str(caught.value).startswith("small.safetensors: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": ClassifierInput("object", thickness=True)}, "2 channels for .* 'object'"),
        ({"input": ClassifierInput("mask")}, "2 channels for .* 'mask'"),
        ({"classes": (ClassEntry("a", "#000000"),)}, "1 classes"),
        (
            {
                "input": ClassifierInput("mask", measurements=(Measurement("volume", 0, 1),)),
                "network": replace(CARD.network, mirror_axes=(0,)),
            },
            "would mirror its measurements",
        ),
    ],
)
def test_cards_are_checked_where_they_are_made(changes, words):
    with pytest.raises(ModelError, match=words):
        replace(CARD, **changes)


def test_inputs_that_cannot_be_are_refused():
    with pytest.raises(ModelError, match="'RRA'"):
        ClassifierInput(axis_codes="RRA")
    with pytest.raises(ModelError, match="lower percentile"):
        ClassifierInput(clip=(90, 10))
    with pytest.raises(ModelError, match="only a shape"):
        ClassifierInput(measurements=(Measurement("volume", 0, 1),))


def test_each_kind_does_its_own_job_only():
    one, other = small_model(), small_classifier()
    assert segmenter(one) is one
    assert classifier(other) is other
    with pytest.raises(ModelError, match=r"'small' is a classifier \(round, long\), not a segmen"):
        segmenter(other)
    with pytest.raises(ModelError, match=r"'small' is a segmenter \(front, back\), not a class"):
        classifier(one)


def test_the_default_is_of_the_kind_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "BUNDLED", tmp_path)
    one = save_model(small_model(), tmp_path / "a.safetensors")
    other = save_model(small_classifier(), tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"damaged")
    assert zoo.default() == zoo.default(Card) == one
    assert zoo.default(ClassifierCard) == other
    save_model(small_classifier(), tmp_path / "d.safetensors")
    with pytest.raises(ModelError, match=r"--model b\|d"):
        zoo.default(ClassifierCard)


def test_the_zoo_loads_one_kind_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_ASMLP_MODELS", str(tmp_path))
    save_model(small_classifier(), tmp_path / "shapes.safetensors")
    assert zoo.load_classifier("shapes").card.class_names == ("round", "long")
    with pytest.raises(ModelError, match="not a segmenter"):
        zoo.load_segmenter("shapes")


def test_the_command_line_shows_and_verifies_a_classifier(path, capsys):
    assert main(["models", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "round (#e69f00), long (#56b4e9)",
        "a shape: all voxels",
        "8x8x8 voxels",
        "mixer",
    ):
        assert words in shown
    assert main(["models", "verify", str(path)]) == 0
    assert "ran on 8x8x8 voxels" in capsys.readouterr().err


def test_a_classifier_does_not_segment(path, tmp_path, capsys):
    words = ["segment", str(path), "-o", str(tmp_path / "l.nii.gz"), "--model", str(path)]
    assert main(words) == 2
    assert "is a classifier (round, long), not a segmenter" in capsys.readouterr().err
