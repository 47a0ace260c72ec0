"""`napari-asmlp benchmark`: a table one can read, whatever the machine."""

from __future__ import annotations

import re

import pytest
import torch

from napari_asmlp.cli import benchmark, main
from napari_asmlp.cli.benchmark import Way
from napari_asmlp.errors import AsmlpError
from napari_asmlp.networks.unet import UNet
from tests.models import small_model


@pytest.fixture
def small(monkeypatch):
    """Windows and a head that take no time."""
    monkeypatch.setattr(benchmark, "_WINDOW", 16)
    monkeypatch.setattr(benchmark, "_HEAD", 32)
    monkeypatch.setattr(benchmark, "_CROP", (1, 16, 16, 16))
    whole = benchmark._whole
    monkeypatch.setattr(benchmark, "_whole", lambda model, _side: whole(model, 24))


def table(text):
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return {row[0]: row[1:] for row in rows[1:]}


def test_a_row_for_each_way(small, capsys):
    assert main(["benchmark", "--quick"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\d{4}-\d\d-\d\d, napari-asmlp .* threads; matrix products \d+ and \d+", said)
    rows = table(said)
    computed = {name: row[2] for name, row in rows.items()}
    assert computed["folded, fp32"] == computed["folded, bf16"] == "0.0"  # 32768
    plain = "the network as it is, windows overlapping by half, fp32"
    assert computed[plain] == "0.1"  # 27 windows of 4096
    assert rows[plain][4] == "1.0"
    assert all(row[1].endswith("%") for name, row in rows.items() if "U-Net" not in name)
    assert re.search(r"a training step \(.*\): as it is \d.* s, .*a plain 3D U-Net \d.* s", said)
    assert re.search(r"24³ voxels from volume to labels: .*network: \d+% .*window: [\d.]+ s", said)


def test_without_a_compiler_the_rest_is_measured(small, capsys, monkeypatch):
    def absent():
        raise AsmlpError("no compiler")

    monkeypatch.setattr(benchmark, "library", absent)
    assert main(["benchmark", "--quick"]) == 0
    said = capsys.readouterr()
    assert "compiled blocks are left out: no compiler" in said.err
    assert not any("compiled" in name for name in table(said.out))


def test_a_head_takes_7_windows_an_axis_where_they_overlap_by_half():
    # 256 voxels, windows of 64 every 32: 0, 32, ..., 192.
    model = small_model()
    assert Way("usual", model.network, overlapping=True).computed(model) == 7**3 * 64**3
    assert Way("ours", model.network).computed(model) == 2 * 2 * 5 * 136 * 136 * 56


def test_unet_keeps_the_extent_and_sees_all_levels():
    network, volume = UNet(2, 3, (4, 6, 8)), torch.randn(1, 2, 8, 12, 16)
    logits = network(volume)
    assert logits.shape == (1, 3, 8, 12, 16)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
