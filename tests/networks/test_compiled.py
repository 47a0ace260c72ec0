"""Compiled blocks give the logits of the network they were made from."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_asmlp.errors import AsmlpError
from napari_asmlp.networks import compiled as module
from napari_asmlp.networks.asmlp import AsmlpConfig
from napari_asmlp.networks.compiled import compiled, library, panels, tiles
from napari_asmlp.networks.folded import FoldedAsmlp
from napari_asmlp.networks.tiles import Scratch
from tests.networks.test_folded import GROUP, OURS, PORT, random_network

try:
    library()
    reason = ""
except AsmlpError as error:
    reason = str(error)
needs_compiler = pytest.mark.skipif(bool(reason), reason=reason)

ODD = AsmlpConfig(1, 2, widths=(7, 9), encoder_blocks=(2, 1), decoder_blocks=(1,), shift_size=3)


@pytest.fixture
def no_library(monkeypatch, tmp_path):
    """Nothing is compiled yet, and the cache is empty."""
    monkeypatch.setattr(module.platformdirs, "user_cache_path", lambda _name: tmp_path)
    library.cache_clear()
    yield tmp_path
    library.cache_clear()
    module.is_compiled.cache_clear()


@needs_compiler
@pytest.mark.parametrize(
    "config", [OURS, PORT, ODD, replace(OURS, shift_size=1), replace(OURS, shift_size=4), *GROUP]
)
@pytest.mark.parametrize("shape", [(12, 7, 9), (4, 4, 70), (3, 40, 4)])
def test_same_logits(config: AsmlpConfig, shape: tuple[int, int, int]) -> None:
    network, volume = random_network(config), torch.randn(2, config.in_channels, *shape)
    with torch.inference_mode():
        expected = network(volume)
        got = compiled(FoldedAsmlp(network), torch.float32)(volume)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@needs_compiler
@pytest.mark.parametrize("config", [OURS, ODD, *GROUP])
def test_in_bfloat16_it_is_no_worse_than_calls_of_torch(config: AsmlpConfig) -> None:
    network, volume = random_network(config), torch.randn(1, config.in_channels, 8, 12, 16)
    with torch.inference_mode():
        expected = network(volume)
        got = compiled(FoldedAsmlp(network), torch.bfloat16)(volume)
        eager = FoldedAsmlp(network).to(torch.bfloat16)(volume)
    assert got.dtype == torch.bfloat16
    errors = [float((logits - expected).abs().mean()) for logits in (got, eager)]
    assert errors[0] < 1.1 * errors[1]


@needs_compiler
def test_not_a_number_stays_one() -> None:
    network, volume = random_network(OURS), torch.zeros(1, 2, 8, 8, 8)
    with torch.no_grad():
        network.encoder[0][0].mlp[0].weight[0, 0] = torch.nan
    with torch.inference_mode():
        assert compiled(FoldedAsmlp(network), torch.float32)(volume).isnan().any()


@needs_compiler
@pytest.mark.parametrize("config", [OURS, *GROUP])
def test_as_many_threads_as_one_likes(config: AsmlpConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(config)
    volume = torch.randn(1, config.in_channels, 8, 8, 8)
    folded = compiled(FoldedAsmlp(network), torch.float32)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        with torch.inference_mode():
            results.append(folded(volume))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_panels_of_a_weight() -> None:
    weight = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert panels(weight, 2, pairs=False).tolist() == [
        [[1, 4], [2, 5], [3, 6]],
        [[7, 0], [8, 0], [9, 0]],
    ]
    assert panels(weight, 2, pairs=True).tolist() == [
        [[[1, 2], [4, 5]], [[3, 0], [6, 0]]],
        [[[7, 8], [0, 0]], [[9, 0], [0, 0]]],
    ]


def test_tiles_of_a_weight() -> None:
    weight = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    laid = tiles(weight, 4)
    assert laid.dtype == torch.bfloat16
    assert laid.tolist() == [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]]


def test_without_a_compiler_it_says_so(no_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _name: None)
    with pytest.raises(AsmlpError, match=r"need a C\+\+ compiler, and none of c\+\+, g\+\+"):
        library()


@needs_compiler
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    no_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLAGS", ("--no-such-flag",))
    with pytest.raises(AsmlpError, match="no-such-flag"):
        library()
    assert not list(no_library.iterdir())


@needs_compiler
def test_it_is_compiled_once(no_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library()
    library.cache_clear()
    commands: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(
        module.subprocess, "run", lambda words, **more: commands.append(words) or run(words, **more)
    )
    library()
    assert ["-dM" in words for words in commands] == [True]
    assert len(list(no_library.iterdir())) == 1


@needs_compiler
@pytest.mark.parametrize("content", [b"", b"no library", None])
def test_a_damaged_file_in_the_cache_is_compiled_again(
    no_library: Path, content: bytes | None
) -> None:
    library()
    (path,) = no_library.iterdir()
    whole = path.read_bytes()
    path.unlink()  # not written over: this process has it mapped
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    library.cache_clear()
    module.is_compiled.cache_clear()
    assert not module.is_compiled()
    library()
    assert path.read_bytes() == whole
    module.is_compiled.cache_clear()
    assert module.is_compiled()


@needs_compiler
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_nothing_is_loaded_that_another_user_could_have_written(
    no_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library()
    (path,) = no_library.iterdir()
    assert path.stat().st_mode & 0o777 == 0o700

    def loads() -> bool:
        module.is_compiled.cache_clear()
        return module.is_compiled()

    no_library.chmod(0o777)
    assert loads()  # the file is the user's own and nobody else's to write
    assert no_library.stat().st_mode & 0o777 == 0o700
    path.chmod(0o722)
    assert not loads()
    path.chmod(0o700)
    link = path.rename(path.with_suffix(".kept"))
    path.symlink_to(link)
    assert not loads()
    link.replace(path)
    assert loads()
    monkeypatch.setattr(module.os, "getuid", lambda: path.stat().st_uid + 1)
    assert not loads()
    library.cache_clear()
    with pytest.raises(AsmlpError, match="it belongs to another user"):
        library()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_too_little_memory_is_an_error_and_not_the_end(dtype: torch.dtype) -> None:
    network = compiled(FoldedAsmlp(random_network(OURS)), dtype)
    block = next(one for one in network.modules() if isinstance(one, module.CompiledBlock))
    tokens = torch.empty(8, 4, 1 << 20, 1 << 20, dtype=dtype, device="meta")  # takes no memory
    with pytest.raises(MemoryError, match="compiled block"):
        block(tokens, Scratch(tokens))


@needs_compiler
def test_a_cache_that_cannot_be_written_is_named(no_library: Path, monkeypatch) -> None:
    file = no_library / "cache"
    file.touch()
    monkeypatch.setattr(module.platformdirs, "user_cache_path", lambda _name: file)
    with pytest.raises(AsmlpError, match=r"cannot be kept in .*cache and loaded .*without them"):
        library()
