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


def test_a_row_for_each_way(small, native_bf16, capsys):
    assert main(["benchmark", "--quick"]) == 0
    said = capsys.readouterr().out
    rates = r"matrix products \d+ GFLOP/s in fp32, \d+ GFLOP/s in bf16"
    assert re.search(rf"\d{{4}}-\d\d-\d\d, napari-asmlp .* threads; {rates}", said)
    rows = table(said)
    computed = {name: row[2] for name, row in rows.items()}
    assert computed["folded, fp32"] == computed["folded, bf16"] == "0.0"  # 32768
    plain = "the network as it is, windows overlapping by half, fp32"
    assert computed[plain] == "0.1"  # 27 windows of 4096
    assert rows[plain][4] == "1.0"
    assert all(row[1].endswith("%") for name, row in rows.items() if "U-Net" not in name)
    assert re.search(r"a training step \(.*\): as it is \d.* s, .*a plain 3D U-Net \d.* s", said)
    assert re.search(r"24³ voxels from volume to labels: .*network: \d+% .*window: [\d.]+ s", said)


def test_what_the_cpu_only_emulates_is_left_out_and_said(small, emulated_bf16, capsys):
    assert main(["benchmark", "--quick"]) == 0
    said = capsys.readouterr().out
    assert not any("bf16" in name for name in table(said))
    assert "left out: precision bf16: this CPU only emulates it" in said
    assert "segment runs the network folded in fp32 here" in said
    assert "a training step (fp32" in said


def test_the_faster_way_is_said_where_another_is_taken():
    model = small_model()
    ways = [
        Way("folded, fp32", model.network, "folded", "fp32"),
        Way("compiled, fp32", model.network, "compiled", "fp32"),
        Way("the network as it is", model.network, "as it is", overlapping=True),
    ]
    plan = benchmark._plan(model)
    assert (plan.engine, plan.inference.precision) == ("folded", "fp32")
    assert benchmark._choice(ways, [2.0, 3.0, 4.0], plan).endswith("the fastest a window")
    said = benchmark._choice(ways, [2.0, 1.0, 4.0], plan)
    assert said.endswith("compiled in fp32 took 50% of its time")


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
