"""What the benchmarks compare with computes the same as what they measure."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_asmlp.networks.asmlp import AsmlpConfig
from tests.networks.test_folded import OURS, PORT, random_network

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("config", [OURS, PORT, replace(PORT, norm="group")])
def test_straightforward_gives_the_same_logits(
    config: AsmlpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from straightforward import Straightforward

    network, volume = random_network(config), torch.randn(1, config.in_channels, 16, 8, 8)
    with torch.inference_mode():
        expected = network(volume)
        got = Straightforward(network)(volume)
    sys.modules.pop("straightforward")
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))
