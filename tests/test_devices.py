"""Names of devices and precisions, on machines that have them and that do not."""

from __future__ import annotations

import pytest
import torch

from napari_asmlp.devices import (
    emulation_note,
    half_precision,
    native_precisions,
    resolve_device,
    resolve_precision,
)
from napari_asmlp.errors import SettingsError

CPU = torch.device("cpu")


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(SettingsError, match="'gpu' is none of auto, cpu, cuda, mps"):
        resolve_device("gpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_an_absent_device_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=f"device '{name}' is not there"):
        resolve_device(name)
    assert resolve_device("auto") == CPU


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_precision_of_a_cpu_needs_native_bf16(native, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert resolve_precision("auto", CPU) == expected
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert resolve_precision("auto", CPU) == "fp32"


@pytest.mark.parametrize(
    ("avx512", "amx", "native"),
    [
        (False, False, ("fp32",)),
        (True, False, ("fp32", "bf16")),
        (False, True, ("fp32", "bf16")),
        (True, True, ("fp32", "bf16")),
    ],
)
def test_native_precisions_of_a_cpu(avx512, amx, native, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert native_precisions(CPU) == native
    assert half_precision(CPU) == (native[1] if len(native) > 1 else None)
    assert (emulation_note("bf16", CPU) is None) == ("bf16" in native)
    assert emulation_note("auto", CPU) is None  # never emulated


@pytest.mark.parametrize(("bf16", "half"), [(True, "bf16"), (False, "fp16")])
def test_native_precisions_of_a_gpu(bf16, half, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    cuda = torch.device("cuda")
    assert half_precision(cuda) == half
    assert resolve_precision("auto", cuda) == half
    assert ("bf16" in native_precisions(cuda)) == bf16
    assert half_precision(torch.device("mps")) == "fp16"


@pytest.mark.usefixtures("emulated_bf16")
def test_what_is_emulated_is_named_with_what_auto_takes():
    note = emulation_note("bf16", CPU)
    assert note is not None
    assert "precision bf16: this CPU only emulates it" in note
    assert "precision auto takes fp32" in note


def test_precisions():
    assert resolve_precision("auto", torch.device("mps")) == "fp32"
    assert [resolve_precision(name, CPU) for name in ("fp32", "bf16", "fp16")] == [
        "fp32",
        "bf16",
        "fp16",
    ]
    with pytest.raises(SettingsError, match="precision 'int8' is none of auto, fp32, bf16, fp16"):
        resolve_precision("int8", CPU)
