"""Blocks in C++, compiled on the user's machine when asked for: the same logits, faster still.

Calls of torch compute a layer of a whole tile at a time, and the tile travels between the cores and
their second cache for each. `block.cpp` takes a few tokens through all layers of a block at a time.
It needs a C++ compiler (GCC or Clang), once: compiling takes a few seconds, and the result stays in
the cache folder of the user.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_asmlp.errors import AsmlpError
from napari_asmlp.networks.folded import FoldedAsmlp
from napari_asmlp.networks.tiles import FoldedBlock, FoldedBlocks, FoldedLinear, Scratch, each

FOLDER = Path(__file__).parent
_BLOCK = "block.cpp"
COMPILERS = ("c++", "g++", "clang++")
# No -ffast-math: it would hide NaN, and flush denormals for the whole process.
FLAGS = (
    *("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
# Apple's Clang has no OpenMP: the block then runs on one thread.
OPENMP: tuple[tuple[str, ...], ...] = (("-fopenmp",), ())


class _Linear(ctypes.Structure):
    """`Linear` of block.cpp."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    )


class _Block(ctypes.Structure):
    """`Block` of block.cpp."""

    _fields_ = (
        ("channels", ctypes.c_int64),
        ("shift_size", ctypes.c_int64),
        ("whole", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("gain", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        ("linear_in", _Linear),
        ("branches", _Linear * 3),
        ("linear_out", _Linear),
        ("widen", _Linear),
        ("narrow", _Linear),
    )


class CompiledBlock(nn.Module):
    """A `FoldedBlock` in C++, for tokens of one dtype, float32 or bfloat16."""

    def __init__(self, block: FoldedBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._kept: list[Tensor] = []  # what the addresses below are of
        self._block = _Block(
            len(block.gain),
            block.shift_size,
            block.whole,
            block.normal.eps,
            self._address(block.gain.flatten()),
            self._address(block.offset.flatten()),
            self._linear(block.linear_in),
            (_Linear * 3)(*map(self._linear, each(block.branches, FoldedLinear))),
            *map(self._linear, (block.linear_out, block.widen, block.narrow)),
        )

    def _address(self, values: Tensor) -> int:
        self._kept.append(values.contiguous())
        return self._kept[-1].data_ptr()

    def _linear(self, linear: FoldedLinear) -> _Linear:
        outputs, inputs = linear.weight.shape
        pairs = self._dtype == torch.bfloat16 and bool(library().multiplies_pairs())
        side, rows = library().tile_side() if pairs else 0, library().panel_rows()
        weight = tiles(linear.weight, side) if side else panels(linear.weight, rows, pairs=pairs)
        bias = functional.pad(linear.bias[:, 0], (0, -outputs % (side or rows)))
        return _Linear(self._address(weight), self._address(bias), outputs, inputs)

    def forward(self, tokens: Tensor, scratch: Scratch) -> Tensor:  # noqa: ARG002  # as FoldedBlock
        """(C, X, Y, Z) of the block's dtype -> the same tensor, overwritten."""
        if tokens.dtype != self._dtype or not tokens.is_contiguous():
            raise ValueError(f"tokens are contiguous {self._dtype}, not {tokens.dtype}")
        half = self._dtype == torch.bfloat16
        run = library().run_bfloat16 if half else library().run_float32
        shape = (ctypes.c_int64 * 3)(*tokens.shape[1:])
        address = ctypes.c_void_p(tokens.data_ptr())
        if not run(ctypes.byref(self._block), address, shape, torch.get_num_threads()):
            raise MemoryError("not enough memory for what a compiled block hides")
        return tokens


def compiled(network: FoldedAsmlp, dtype: torch.dtype) -> FoldedAsmlp:
    """Put compiled blocks into a folded network of float32, and convert it to a dtype.

    Parameters
    ----------
    network : FoldedAsmlp
        As made of an `Asmlp`; it is changed.
    dtype : torch.dtype
        float32 or bfloat16.

    Raises
    ------
    AsmlpError
        If there is no C++ compiler, or it cannot compile the blocks.
    """
    for stage in list(network.modules()):
        if isinstance(stage, FoldedBlocks):
            blocks = each(stage.blocks, FoldedBlock)
            stage.blocks = nn.ModuleList(CompiledBlock(block, dtype) for block in blocks)
    return network.to(dtype)


def panels(weight: Tensor, rows: int, *, pairs: bool) -> Tensor:
    """Lay a weight out as products read it, with zeros where it is too small.

    (M, K) -> (M / rows, K, rows) float32, or with `pairs` (M / rows, K / 2, rows, 2) bfloat16.
    """
    outputs, inputs = weight.shape
    height, width = -(-outputs // rows), inputs + inputs % 2 if pairs else inputs
    padded = weight.new_zeros(height * rows, width)
    padded[:outputs, :inputs] = weight
    if not pairs:
        return padded.view(height, rows, width).transpose(1, 2)
    return padded.bfloat16().view(height, rows, width // 2, 2).transpose(1, 2)


def tiles(weight: Tensor, side: int) -> Tensor:
    """Lay a weight out for the matrix unit: as it is, bfloat16, padded to multiples of `side`."""
    outputs, inputs = weight.shape
    return functional.pad(weight, (0, -inputs % side, 0, -outputs % side)).bfloat16()


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled blocks, from the cache where they are there.

    Raises
    ------
    AsmlpError
        If there is no C++ compiler, or it cannot compile them.
    """
    return built(_BLOCK)


@functools.cache
def is_compiled(*sources: str) -> bool:
    """Tell whether sources (the blocks) lie compiled in the cache, so that they only load."""
    compiler = _compiler()
    paths = [FOLDER / name for name in sources or (_BLOCK,)]
    return compiler is not None and _loaded(_name(compiler, paths)) is not None


def built(*sources: str) -> ctypes.CDLL:
    """Return a library of some sources beside this file, from the user's cache if it is there.

    Raises
    ------
    AsmlpError
        If there is no C++ compiler, or it cannot compile them, or the cache is of no use.
    """
    compiler = _compiler()
    if compiler is None:
        raise AsmlpError(
            "compiled blocks need a C++ compiler, and none of"
            f" {', '.join(COMPILERS)} is there: install GCC or Clang, or run without them"
        )
    paths = [FOLDER / name for name in sources]
    name = _name(compiler, paths)
    if (library := _loaded(name)) is not None:
        return library
    folder = _cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_private(folder)
        return ctypes.CDLL(str(_compile(compiler, paths, folder, name)))
    except OSError as error:
        raise AsmlpError(
            f"compiled blocks cannot be kept in {folder} and loaded from there"
            f" ({error.strerror or error}): run without them"
        ) from error


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def _cache() -> Path:
    return platformdirs.user_cache_path("napari-asmlp")


def _loaded(name: str) -> ctypes.CDLL | None:
    """Load what was compiled before; None if it is not there, damaged or cannot be loaded.

    Nothing is loaded that another user of the machine could have put there.
    """
    folder = _cache()
    with contextlib.suppress(OSError):
        _make_private(folder)
        for path in sorted(folder.glob(f"{name}-*.so")):
            # To load half a file would end the process.
            if _is_private(path) and path.name == _full_name(name, path):
                with contextlib.suppress(OSError):
                    return ctypes.CDLL(str(path))
    return None


def _make_private(folder: Path) -> None:
    """Take the right to write in a folder from all but the user.

    Raises
    ------
    OSError
        If it is not there, or is not the user's.
    """
    status = folder.stat()
    if not _is_own(status):
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if _is_shared(status):
        folder.chmod(0o700)


def _is_private(path: Path) -> bool:
    """Tell whether a file is the user's, and nobody else may write it."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and _is_own(status) and not _is_shared(status)


def _is_own(status: os.stat_result) -> bool:
    return os.name == "nt" or status.st_uid == os.getuid()


def _is_shared(status: os.stat_result) -> bool:
    return os.name != "nt" and bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _full_name(name: str, path: Path) -> str:
    """Return the name of a compiled file, which holds a hash of its content."""
    return f"{name}-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.so"


def _name(compiler: str, sources: Sequence[Path]) -> str:
    return f"{sources[0].stem}-{_key(compiler, sources)}"


def _key(compiler: str, sources: Sequence[Path]) -> str:
    """Return what the result depends on: sources, headers, flags, compiler and processor."""
    macros = _run([compiler, "-march=native", "-x", "c++", "-dM", "-E", os.devnull]).stdout
    texts = [path.read_bytes() for path in (*sources, *sorted(FOLDER.glob("*.h")))]
    return hashlib.sha256(b"".join(texts) + repr(FLAGS).encode() + macros).hexdigest()[:16]


def _compile(compiler: str, sources: Sequence[Path], folder: Path, name: str) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary, name)
        for more in OPENMP:
            done = _run([compiler, *FLAGS, *more, *map(str, sources), "-o", str(made)])
            if done.returncode == 0:
                made.chmod(0o700)
                return made.replace(folder / _full_name(name, made))
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    first = next((line for line in lines if "error" in line), lines[0])
    named = ", ".join(map(str, sources))
    raise AsmlpError(f"{compiler} cannot compile {named}: {first}; run without compiled blocks")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)  # a compiler
