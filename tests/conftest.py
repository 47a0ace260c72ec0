"""Settings of all tests."""

from __future__ import annotations

import os

import pytest

# Before torch is imported: the networks of the tests are tiny, so that threads cost more than they
# give, and on a busy machine a hundred times more.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch):
    """Segment alike on every machine: whether blocks were compiled on it does not matter."""
    import napari_asmlp.pipeline.plan  # brings torch, which not all tests need

    monkeypatch.setattr(napari_asmlp.pipeline.plan, "is_compiled", lambda: False)


@pytest.fixture
def native_bf16(monkeypatch):
    """Take this machine for one whose CPU multiplies bf16 by itself."""
    _say_bf16(monkeypatch, native=True)


@pytest.fixture
def emulated_bf16(monkeypatch):
    """Take this machine for one whose CPU only emulates bf16, as most laptops do."""
    _say_bf16(monkeypatch, native=False)


def _say_bf16(monkeypatch, *, native):
    import torch

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: native, raising=False)
