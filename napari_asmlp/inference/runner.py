"""The network on its device, which steps down where memory does not suffice."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_asmlp.devices import DTYPES, autocast, half_precision, resolve_precision
from napari_asmlp.errors import AsmlpError, ModelError
from napari_asmlp.inference.held import LARGEST_LOGIT
from napari_asmlp.inference.memory import is_out_of_memory
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.compiled import compiled
from napari_asmlp.networks.folded import FoldedAsmlp, can_fold
from napari_asmlp.windows import axis_shares, place_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_asmlp.devices import Precision
    from napari_asmlp.inference.held import Floats
    from napari_asmlp.windows import Box

# How a network runs on a device: docs/engine.md compares them.
Engine = Literal["as it is", "folded", "compiled"]

_MOST_PARTS = 8
_PARTS_SHARE = 0.25  # of a part, with its neighbour


@dataclass(frozen=True)
class InferenceSettings:
    """How windows are run.

    Attributes
    ----------
    device : from `devices.resolve_device`
    precision : of the network, from `devices.resolve_precision`; sums are float32 in any case
    batch : windows run at once
    parts : pieces that a window which does not fit into memory runs in; they overlap
    skip_constant : whether a window without contrast (background that was masked away) takes the
        logits of the last one with the same value, which are its own, instead of running
    mirror_axes : axes of the model grid; each window runs in all ways to mirror it along them, and
        the probabilities are averaged
    disagreement : whether the mean entropy of the mirrored windows follows the logits, as one
        output more: a share of the largest there can be
    softmax : whether the outputs of the network are exclusive; matters to the two above
    compiled : on a CPU in fp32 or bf16, whether the blocks are compiled for it first
    """

    device: torch.device
    precision: Precision = "fp32"
    batch: int = 1
    parts: int = 1
    skip_constant: bool = True
    mirror_axes: tuple[int, ...] = ()
    disagreement: bool = False
    softmax: bool = True
    compiled: bool = False


class Runner:
    """Runs windows.

    Attributes
    ----------
    settings : those in force
    skipped : windows that did not run
    seconds : spent in the network
    """

    def __init__(self, network: torch.nn.Module, settings: InferenceSettings) -> None:
        self.settings = settings
        self.skipped = 0
        self.seconds = 0.0
        self._source = network
        self._network = prepared(network, settings)
        self._last_constant: tuple[object, Tensor] | None = None

    def run(self, windows: Sequence[Floats], boxes: Sequence[Box]) -> list[Tensor]:
        """Return the logits (K, x, y, z) of the first windows (C, x, y, z), of one at least.

        They lie in main memory, and within `LARGEST_LOGIT`.
        """
        key = _constant(windows[0]) if self.settings.skip_constant else None
        if key is not None and self._last_constant and self._last_constant[0] == key:
            self.skipped += 1
            return [self._last_constant[1]]
        started = time.monotonic()
        logits = None
        while logits is None:
            logits = self._try(windows[: self.settings.batch], boxes)
        self.seconds += time.monotonic() - started
        if key is not None:
            self._last_constant = key, logits[0]
        return logits

    def _try(self, windows: Sequence[Floats], boxes: Sequence[Box]) -> list[Tensor] | None:
        """Run windows of one shape; None if memory did not suffice and settings stepped down."""
        shape = windows[0].shape
        same = list(itertools.takewhile(lambda window: window.shape == shape, windows))
        try:
            return self._forward(same, boxes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, whose traceback would keep the tensors alive.
        fewer = step_down(replace(self.settings, batch=len(same)))
        if fewer is None or (fewer.parts > 1 and _needs_whole_windows(self._source)):
            raise AsmlpError(
                f"not enough memory to run a window of {'x'.join(map(str, shape[1:]))} voxels:"
                " close other programs or use a model with smaller windows"
            )
        self._last_constant = None
        self._network = prepared(self._source, fewer)
        self.settings = fewer
        return None

    def _forward(self, windows: Sequence[Floats], boxes: Sequence[Box]) -> list[Tensor]:
        """Run windows of one shape at once."""
        # Memory of torch is always aligned alike, so that equal windows run bit for bit alike.
        # Pinned, it travels to a GPU by itself.
        device, precision = self.settings.device, self.settings.precision
        pinned = device.type == "cuda"
        batch = torch.empty((len(windows), *windows[0].shape), pin_memory=pinned)
        for window, voxels in zip(batch, windows, strict=True):
            window.copy_(torch.from_numpy(np.ascontiguousarray(voxels)))
        with torch.inference_mode(), autocast(device, precision):
            output = self._logits(batch.to(device, non_blocking=pinned)).cpu()
        return [_bounded(*pair, precision) for pair in zip(output, boxes, strict=False)]

    def _logits(self, batch: Tensor) -> Tensor:
        """Run a batch, (B, C, x, y, z) -> (B, K, x, y, z) in float32, in all its mirrorings."""
        ways = _mirrorings(self.settings.mirror_axes)
        if len(ways) == 1:
            return self._in_parts(batch)
        total, entropies = torch.zeros(()), torch.zeros(())
        for axes in ways:
            logits = self._in_parts(batch.flip(axes)).flip(axes)
            if not logits.isfinite().all():
                return logits  # which the caller answers for
            chances = _chances(logits, softmax=self.settings.softmax)
            total = total + chances
            if self.settings.disagreement:
                entropies = entropies + _entropy(chances, softmax=self.settings.softmax)
        logits = _logits_of(total / len(ways), softmax=self.settings.softmax)
        if self.settings.disagreement:
            logits = torch.cat([logits, entropies / len(ways)], dim=1)
        return logits

    def _in_parts(self, batch: Tensor) -> Tensor:
        """Run windows as a whole, or in overlapping parts that take less memory."""
        if self.settings.parts == 1:
            return self._checked(batch)
        shape = batch.shape[2:]
        boxes = place_windows(shape, _part(shape, self.settings.parts), _PARTS_SHARE)
        shares = [axis_shares(boxes, axis) for axis in range(3)]
        total = torch.zeros(())
        for box in boxes:
            where = (..., *box.slices)
            logits = self._checked(batch[where])
            if not total.ndim:
                total = logits.new_zeros((*logits.shape[:2], *shape))
            x, y, z = (shares[axis][box.start[axis]] for axis in range(3))
            share = torch.from_numpy(x[:, None, None] * y[:, None] * z).to(logits.device)
            total[where] += logits * share
        return total

    def _checked(self, batch: Tensor) -> Tensor:
        output: Tensor = self._network(batch).float()
        if output.ndim != 5 or (len(output), *output.shape[2:]) != (len(batch), *batch.shape[2:]):
            raise ModelError(
                f"the network gives logits of shape {tuple(output.shape)} for windows of shape"
                f" {tuple(batch.shape)}: it must keep all axes but the second"
            )
        return output


def engine_of(network: torch.nn.Module, settings: InferenceSettings) -> Engine:
    """Return how a network runs with some settings: as what gives its logits fastest.

    It follows from the two alone, not from a trial: two runs with the same settings give the same
    labels to the last bit, and a plan knows beforehand what memory its windows take.
    """
    if settings.device.type != "cpu" or not isinstance(network, Asmlp):
        return "as it is"
    if settings.compiled and settings.precision != "fp16":
        return "compiled"
    return "folded" if can_fold(network) else "as it is"


def prepared(network: torch.nn.Module, settings: InferenceSettings) -> torch.nn.Module:
    """Return what gives a network's logits, on the device of the settings; see `engine_of`.

    Raises
    ------
    AsmlpError
        If it is to be compiled, and there is no C++ compiler.
    """
    network = network.to(settings.device)
    engine = engine_of(network, settings)
    if engine == "as it is" or not isinstance(network, Asmlp):
        return network
    folded, dtype = FoldedAsmlp(network), DTYPES[settings.precision]
    return compiled(folded, dtype) if engine == "compiled" else folded.to(dtype)


def step_down(settings: InferenceSettings) -> InferenceSettings | None:
    """Return settings that need less memory; None if there are none.

    First the batch is halved, then the network runs in half precision where the device does not
    emulate it, then on the CPU, then each window in parts.
    """
    if settings.batch > 1:
        return replace(settings, batch=settings.batch // 2)
    half = half_precision(settings.device)
    if settings.precision == "fp32" and half is not None:
        return replace(settings, precision=half)
    if settings.device.type != "cpu":
        cpu = torch.device("cpu")
        return replace(settings, device=cpu, precision=resolve_precision("auto", cpu))
    if settings.parts < _MOST_PARTS:
        return replace(settings, parts=2 * settings.parts)
    return None


def _needs_whole_windows(network: torch.nn.Module) -> bool:
    """Whether the answer depends on all of a window: parts would give other labels."""
    return isinstance(network, Asmlp) and network.config.norm == "group"


def _part(shape: Sequence[int], parts: int) -> list[int]:
    """Return the shape of a part: the longest side is halved, and again."""
    sides = list(shape)
    while parts > 1:
        longest = sides.index(max(sides))
        sides[longest] = -(-sides[longest] // 2)
        parts //= 2
    return sides


def _bounded(logits: Tensor, box: Box, precision: Precision) -> Tensor:
    """Return the logits of a window, within `LARGEST_LOGIT`; an error if some are not finite."""
    least, most = torch.aminmax(logits)  # which keep a NaN
    if not (least.isfinite() and most.isfinite()):
        raise AsmlpError(
            f"the network gives NaN or infinity in the window {box} of the model grid, in"
            f" {precision}: use --precision fp32, or another model if that does not help"
        )
    if max(most, -least) > LARGEST_LOGIT:
        return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
    return logits


def _constant(window: Floats) -> object | None:
    """Return what the logits of a window without contrast depend on; None with contrast."""
    least = window.min(axis=(1, 2, 3))
    if (least != window.max(axis=(1, 2, 3))).any():
        return None
    return window.shape, tuple(least.tolist())


def _mirrorings(axes: tuple[int, ...]) -> list[list[int]]:
    """Return the axes (of B, C, X, Y, Z) that each way to mirror a window flips; first none."""
    return [
        [2 + axis for axis in chosen]
        for count in range(len(axes) + 1)
        for chosen in itertools.combinations(axes, count)
    ]


def _chances(logits: Tensor, *, softmax: bool) -> Tensor:
    return logits.softmax(dim=1) if softmax else logits.sigmoid()


def _logits_of(chances: Tensor, *, softmax: bool) -> Tensor:
    """Return finite logits of which the probabilities are these."""
    logits = chances.log() if softmax else chances.logit()
    return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)


def _entropy(chances: Tensor, *, softmax: bool) -> Tensor:
    """Return the entropy as a share of the largest, (B, 1, x, y, z)."""
    parts: Tensor = torch.special.entr(chances)
    if softmax:
        return parts.sum(dim=1, keepdim=True) / math.log(max(2, chances.shape[1]))
    parts = parts + torch.special.entr(1 - chances)
    return parts.mean(dim=1, keepdim=True) / math.log(2)
