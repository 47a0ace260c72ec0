"""What a network that learnt anatomy and shapes from made-up volumes says about a volume.

It is an `Asmlp` (`src_resources/encoder.py` trains it). Its features of a token are the logits of
all it was taught and the normalised tokens before its head, which a linear layer made of both
gives at once: so it runs like any other network.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_asmlp.devices import DTYPES, resolve_precision
from napari_asmlp.errors import ModelError
from napari_asmlp.grid import Grid
from napari_asmlp.model import load_model, segmenter
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled import compiled, is_compiled
from napari_asmlp.networks.folded import FoldedAsmlp
from napari_asmlp.networks.tiles import each
from napari_asmlp.teaching.maps import Map

PATH = Path(__file__).with_name("encoder.safetensors")
LOOKING_MM, TAUGHT_MM = 2.0, 1.0  # spacing at which it looks for features, and is taught
_LEAST_MM, _MOST_MM = 0.4, 4.0  # voxel sizes that heads are scanned with
_MOST_VOXELS = 40_000_000  # that it looks at
_TILE, _HALO = 160, 32  # voxels of a piece that runs at once, and around it


def is_there() -> bool:
    """Tell whether the package has the network."""
    return PATH.is_file()


@functools.cache
def pretrained_network() -> Asmlp:
    """Load the network; raises `ModelError` if it is missing or damaged."""
    network = segmenter(load_model(PATH)).network
    if not isinstance(network, Asmlp):
        raise ModelError(f"{PATH.name}: holds no AS-MLP")
    return network


def working_spacing(grid: Grid, millimetres: float) -> tuple[float, float, float]:
    """Return the spacing that a volume is shown to a network with.

    So many mm where voxels are of the size that heads are scanned with; the smallest voxel side
    for all else, such as cells, since their scale says nothing. A very large volume is shown
    coarser.
    """
    least, most = min(grid.spacing), max(grid.spacing)
    side = millimetres if least >= _LEAST_MM and most <= _MOST_MM else least
    x, y, z = grid.extent_mm
    side = max(side, (x * y * z / _MOST_VOXELS) ** (1 / 3))
    return (side, side, side)


def with_features(network: Asmlp) -> Asmlp:
    """Return a network whose outputs are the logits, then the normalised tokens."""
    (linear,) = each(network.head, nn.Linear)
    width, count = linear.in_features, linear.out_features
    wider = Asmlp(replace(network.config, out_channels=count + width))
    state = network.state_dict()
    state["head.1.weight"] = torch.cat([linear.weight.detach(), torch.eye(width)])
    state["head.1.bias"] = torch.cat([linear.bias.detach(), torch.zeros(width)])
    wider.load_state_dict(state)
    return wider.eval()


class Encoder:
    """Runs a network over a volume for its tokens.

    Parameters
    ----------
    network : Asmlp
        Its weights are copied.
    features : bool
        Whether the normalised tokens follow the logits.
    """

    def __init__(self, network: Asmlp, *, features: bool = True) -> None:
        precision = resolve_precision("auto", torch.device("cpu"))
        folded = FoldedAsmlp(with_features(network) if features else network)
        dtype = DTYPES[precision]
        self._runs = compiled(folded, dtype) if is_compiled() else folded.to(dtype)
        self._dtype, self._config = dtype, network.config

    def map(self, image: NDArray[np.float32], shape: tuple[int, int, int]) -> Map:
        """Return the tokens of an image on the model grid as a map of a volume of some shape."""
        patch, seen = self._config.patch_size, image.shape[-3:]
        x, y, z = (patch * n / m for n, m in zip(shape, seen, strict=True))
        return Map(self.tokens(image), (x, y, z))

    def tokens(self, image: NDArray[np.float32]) -> Tensor:
        """Return features of tokens, a piece of the volume at a time.

        Parameters
        ----------
        image : (X, Y, Z) or (C, X, Y, Z) float32
            Standardised, on the model grid.

        Returns
        -------
        float16 (F, x, y, z)
            Each token covers ``patch_size`` voxels along each axis; the last may reach beyond
            the volume.
        """
        patch, unit = self._config.patch_size, self._config.multiple_of
        image = image.reshape(-1, *image.shape[-3:])
        shape = [-(-n // unit) * unit for n in image.shape[1:]]
        padding = [(0, whole - n) for whole, n in zip(shape, image.shape[1:], strict=True)]
        padded = torch.from_numpy(np.pad(image, [(0, 0), *padding], mode="edge"))
        count = self._runs.head.linear.weight.shape[0]
        found = torch.empty(count, *(n // patch for n in shape), dtype=torch.float16)
        with torch.inference_mode():
            for inner, outer in _pieces(shape, _TILE, _HALO):
                piece = padded[(slice(None), *(slice(a, b) for a, b in outer))].to(self._dtype)
                tokens = self._runs.token_logits(piece.contiguous())
                cut = [
                    slice((a - c) // patch, (b - c) // patch)
                    for (a, b), (c, _) in zip(inner, outer, strict=True)
                ]
                place = [slice(a // patch, b // patch) for a, b in inner]
                found[(slice(None), *place)] = tokens[(slice(None), *cut)].half()
        return found


Span = tuple[int, int]


def _pieces(shape: Sequence[int], tile: int, halo: int) -> Iterator[tuple[list[Span], list[Span]]]:
    """Yield boxes that fill a volume, and the same with what the network sees around them."""
    spans = []
    for length in shape:
        count = -(-length // (tile + halo))  # a volume a little larger than a tile runs at once
        step = -(-length // (count * 32)) * 32
        spans.append([(a, min(a + step, length)) for a in range(0, length, step)])
    for inner in itertools.product(*spans):
        outer = [
            (max(0, a - halo), min(length, b + halo))
            for (a, b), length in zip(inner, shape, strict=True)
        ]
        yield list(inner), outer
