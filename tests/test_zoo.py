"""Which models there are, and bringing foreign checkpoints over."""

import pytest
import torch

from napari_asmlp import zoo
from napari_asmlp.errors import ModelError
from napari_asmlp.model import load_model, save_model
from tests.models import small_model
from tests.networks.port import Port
from tests.test_model import harmful_pickle, harmful_zip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_ASMLP_MODELS", str(tmp_path))
    return tmp_path


def test_models_of_the_user_are_found_by_name(folder):
    save_model(small_model(), folder / "mine.safetensors")
    entry = next(entry for entry in zoo.survey()[0] if entry.name == "mine")
    assert (entry.origin, entry.card.name) == ("user", "small")
    assert zoo.load("mine").path == folder / "mine.safetensors"


def test_models_are_found_by_path(tmp_path):
    path = save_model(small_model(), tmp_path / "elsewhere.safetensors")
    assert zoo.load(path).card.name == "small"
    assert zoo.load(str(path)).card.name == "small"


def test_unknown_names_are_answered_with_the_known_ones(folder):
    save_model(small_model(), folder / "mine.safetensors")
    with pytest.raises(ModelError, match=r"'yours'.*mine"):
        zoo.find("yours")


def test_the_bundled_model_is_the_default(folder):
    save_model(small_model(), folder / "hippocampus.safetensors")
    assert zoo.load(zoo.default()).card.name == "hippocampus"


def test_a_damaged_model_of_the_user_does_not_hide_the_others(folder):
    (folder / "broken.safetensors").write_bytes(b"not a model")
    sound, damaged = zoo.survey()
    assert "hippocampus" in [entry.name for entry in sound]
    assert list(damaged) == ["broken"]
    assert "broken.safetensors" in damaged["broken"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_come_over(tmp_path, wrapper, legacy):
    torch.manual_seed(0)
    port = Port(classes=2, depths=(1, 1), patch=2, shift_size=3).eval()
    state = port.state_dict()
    torch.save(
        {wrapper: state} if wrapper else state,
        tmp_path / "port.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    imported = zoo.import_checkpoint(tmp_path / "port.pth", shift_size=3)
    loaded = load_model(save_model(imported, tmp_path / "port.safetensors", half=False))
    volume = torch.randn(1, 1, 8, 12, 4)
    with torch.inference_mode():
        torch.testing.assert_close(
            torch.sigmoid(loaded.network(volume)), port(volume), rtol=0, atol=1e-5
        )
    assert loaded.card.activation == "sigmoid"
    assert len(loaded.card.labels) == 2


@pytest.mark.parametrize("content", [harmful_pickle, harmful_zip])
def test_code_in_a_checkpoint_does_not_run(tmp_path, content):
    (tmp_path / "evil.pt").write_bytes(content(tmp_path))
    with pytest.raises(ModelError, match=r"evil\.pt: holds more than weights"):
        zoo.import_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("content", [b"", b"some text", b"PK\x03\x04 not a zip"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.pt"):
        zoo.import_checkpoint(tmp_path / "bad.pt")


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN or infinity"), (1j, "complex64")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value, word):
    state = Port(patch=2, depths=(1, 1)).state_dict()
    state["head.1.bias"] = torch.tensor([value])
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(ModelError, match=rf"bad\.pt.*{word}"):
        zoo.import_checkpoint(tmp_path / "bad.pt")


def test_a_tensor_is_no_checkpoint(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(ModelError, match="a Tensor, not a state dict"):
        zoo.import_checkpoint(tmp_path / "tensor.pt")
    with pytest.raises(ModelError, match="no such checkpoint"):
        zoo.import_checkpoint(tmp_path / "absent.pt")
