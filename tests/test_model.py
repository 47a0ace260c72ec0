"""Model files: what is written comes back, and what is wrong is said."""

import io
import json
import pickle
import struct
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from napari_asmlp.errors import ModelError, OutputError
from napari_asmlp.model import LabelEntry, load_model, read_card, save_model
from tests.models import SMALL, small_model


@pytest.fixture
def saved(tmp_path):
    return save_model(small_model(), tmp_path / "small.safetensors")


def rewrite_card(path, change):
    """Apply `change` to the card's JSON in a model file."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    card = json.loads(header["__metadata__"]["napari_asmlp_card"])
    change(card)
    header["__metadata__"]["napari_asmlp_card"] = json.dumps(card)
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + size :])


def test_a_saved_model_comes_back(saved):
    original, loaded = small_model(), load_model(saved)
    assert loaded.card == original.card
    assert read_card(saved) == original.card
    volume = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(
            loaded.network(volume), original.network(volume), rtol=0, atol=2e-2
        )


def test_full_precision_comes_back_exactly(tmp_path):
    model = small_model()
    loaded = load_model(save_model(model, tmp_path / "m.safetensors", half=False))
    for ours, theirs in zip(
        model.network.state_dict().values(), loaded.network.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_hash_is_that_of_the_file(saved):
    loaded = load_model(saved)
    assert loaded.hash.startswith("sha256:")
    assert loaded.hash == load_model(saved).hash
    assert loaded.hash != small_model(seed=1).hash


def test_an_existing_file_is_kept(saved):
    before = saved.read_bytes()
    with pytest.raises(Exception, match="exists already"):
        save_model(small_model(seed=1), saved)
    assert saved.read_bytes() == before
    save_model(small_model(seed=1), saved, overwrite=True)
    assert saved.read_bytes() != before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda card: card.update(window=[0, 8, 8]), "window.0"),
        (lambda card: card.update(surprise=1), "surprise"),
        (lambda card: card.pop("labels"), "labels"),
        (lambda card: card["network"].update(widths=[4, 8, 16]), "3 widths"),
        (lambda card: card["network"].update(widths=[4, 16]), "do not fit the card"),
        (lambda card: card["network"].update(widths=[10**7, 10**7]), "do not fit the card"),
        (lambda card: card["labels"].pop(), "1 labels for 3 softmax outputs"),
        (lambda card: card["labels"][0].update(colour="red"), "labels.0.colour"),
        (lambda card: card["labels"][0].update(value=2), "occurs twice"),
        (lambda card: card.update(architecture="unet"), "architecture"),
        (lambda card: card["network"].update(widths=[10**9, 10**9]), "do not fit the card"),
        (lambda card: card.update(window=[10**6, 8, 8]), "window.0"),
        (lambda card: card["labels"][0].update(value=2**40), "labels.0.value"),
        (lambda card: card["preprocessing"].update(axis_codes="RRR"), "'RRR'"),
        (lambda card: card["preprocessing"].update(clip=[99, 1]), "clip"),
        (lambda card: card["preprocessing"].update(spacing=[1e-9, 1, 1]), "spacing.0"),
    ],
)
def test_a_wrong_card_is_refused(saved, change, word):
    rewrite_card(saved, change)
    with pytest.raises(ModelError, match=word) as caught:
        load_model(saved)
    assert "small.safetensors" in str(caught.value)


class Surprise:
    """Would write a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def harmful_pickle(tmp_path):
    return pickle.dumps(Surprise(tmp_path / "opened"))


def harmful_zip(tmp_path):
    stream = io.BytesIO()
    torch.save({"weights": Surprise(tmp_path / "opened")}, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        harmful_pickle,
        harmful_zip,
        lambda _: b"",
        lambda _: b"\x00" * 7,
        lambda _: b"not a model at all, but a text of some length",
        lambda _: struct.pack("<Q", 2**60) + b"{}",
    ],
)
def test_another_file_of_that_name_is_refused_and_runs_nothing(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content(tmp_path))
    with pytest.raises(ModelError, match=r"model\.safetensors: not a whole safetensors file"):
        load_model(path)
    assert not (tmp_path / "opened").exists()


def test_a_truncated_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_model(saved)


def test_safetensors_of_something_else_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="no card"):
        read_card(path)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model"])
def test_other_suffixes_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match="models import"):
        load_model(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="no such model file"):
        load_model(tmp_path / "absent.safetensors")


def test_a_full_disk_is_said(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        with pytest.raises(OutputError, match="cannot be written"):
            save_model(small_model(), tmp_path / "m.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_weights_that_float16_cannot_hold_are_not_written(tmp_path):
    model = small_model()
    with torch.no_grad():
        model.network.embedding.projection.bias[0] = 1e6
    with pytest.raises(ModelError, match=r"embedding\.projection\.bias"):
        save_model(model, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scores", "dice"),
    [
        ({}, None),
        ({"mean": {"1": {"dice": 0.5}}}, None),
        ({"mean": {"all": {"dice": None}}}, None),
        ({"mean": {"all": {"dice": 0.875}}, "cases": {}}, 0.875),
        ({"mean": 3}, None),
    ],
)
def test_the_dice_of_a_card(scores, dice):
    assert small_model(scores=scores).card.mean_dice == dice


def test_damaged_weights_are_refused(tmp_path):
    state = small_model().network.state_dict()
    state["embedding.projection.bias"][0] = float("nan")
    path = save_model(small_model(), tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(state, path, metadata=metadata)
    with pytest.raises(ModelError, match=r"m\.safetensors: damaged: embedding\.projection\.bias"):
        load_model(path)


def test_sigmoid_models_have_a_label_for_each_output():
    labels = tuple(LabelEntry(n, f"class {n}", "#123456") for n in (1, 2, 3))
    card = small_model(activation="sigmoid", labels=labels).card
    assert card.label_names == {1: "class 1", 2: "class 2", 3: "class 3"}
    with pytest.raises(ModelError, match="2 labels for 3 sigmoid outputs"):
        replace(card, labels=labels[:2], network=SMALL)
