"""Run the network over the windows of a volume and hand on finished slabs of scores.

Each window adds ``share * logits`` to the sums of the voxels it covers, where the shares of all
windows in a voxel sum up to 1 (`windows.axis_shares`), so that a sum is a weighted mean. Only the
planes of the current layer of windows are held (see the figure in `windows`); the sums live in
main memory, and the device holds one batch of windows at a time.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_asmlp.devices import DTYPES, autocast, half_precision, resolve_precision
from napari_asmlp.errors import AsmlpError, ModelError
from napari_asmlp.networks.asmlp import Asmlp
from napari_asmlp.networks.folded import FoldedAsmlp, can_fold
from napari_asmlp.windows import axis_shares, finished_planes

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_asmlp.devices import Precision
    from napari_asmlp.windows import Box

    Logits = NDArray[np.float32]

# A voxel of a turned volume is summed up in another order of windows, and must still get the same
# label. Float32 adds whole numbers exactly, in any order, below 2**24: so contributions are
# counted in steps of 2**-12, and logits bounded by 2**11, which leaves a factor of 2 in hand for
# rounding. A difference of 2**11 between logits is certainty many times over.
_STEPS = 2.0**12
_LARGEST_LOGIT = 2.0**11

_OUT_OF_MEMORY = ("not enough memory", "DefaultCPUAllocator", "out of memory")


@dataclass(frozen=True)
class InferenceSettings:
    """How windows are run.

    Attributes
    ----------
    device : from `devices.resolve_device`
    precision : of the network, from `devices.resolve_precision`; sums are float32 in any case
    batch : windows run at once
    multiple_of : unit that windows are padded to, both sides alike, with the least value of each
        channel of the volume, as training pads its crops
    skip_constant : whether a window without contrast (background that was masked away) takes the
        logits of the last one with the same value, which are its own, instead of running
    """

    device: torch.device
    precision: Precision = "fp32"
    batch: int = 1
    multiple_of: int = 1
    skip_constant: bool = True


@dataclass(frozen=True)
class Step:
    """What is known after a window.

    Attributes
    ----------
    done, total : windows
    skipped : windows among those done that did not run
    finished : lowest plane along the slab axis, and scores (K, X, Y, Z) of the planes that no
        later window touches; None but after the last window of a layer
    settings : those in force, as running out of memory changes them
    """

    done: int
    total: int
    skipped: int
    finished: tuple[int, Logits] | None
    settings: InferenceSettings


def iter_slabs(
    network: torch.nn.Module,
    image: Logits,
    boxes: Sequence[Box],
    slab_axis: int,
    settings: InferenceSettings,
) -> Generator[Step, None, None]:
    """Run a network over all windows of a volume.

    Closing the generator stops before the next batch of windows and frees the sums.

    Parameters
    ----------
    network : torch.nn.Module
        (B, C, X, Y, Z) float32 -> logits (B, K, X, Y, Z). Moved to the device of the settings.
    image : float32 array (C, X, Y, Z)
        On the model grid.
    boxes : sequence of Box
        All windows, as `windows.place_windows` gives them for `slab_axis`.
    slab_axis : int
        Axis of the volume along which slabs are finished.
    settings : InferenceSettings
        Taken back by a step where memory does not suffice, see `step_down`.

    Yields
    ------
    Step
        After each window.

    Raises
    ------
    AsmlpError
        If the network gives NaN or infinity, or one window alone does not fit into memory.
    ModelError
        If its logits do not have the shape of the window.
    """
    was_training = network.training
    network.eval()
    runner = _Runner(network, image, settings)
    sums = _RollingSums(boxes, slab_axis)
    done = 0
    try:
        while done < len(boxes):
            for logits in runner.run(boxes[done : done + runner.settings.batch]):
                finished = sums.add(done, logits)
                done += 1
                yield Step(done, len(boxes), runner.skipped, finished, runner.settings)
    finally:
        network.train(was_training)


class _RollingSums:
    """Weighted sums of logits, (K, X, Y, Z), of the planes that the current layer touches."""

    def __init__(self, boxes: Sequence[Box], slab_axis: int) -> None:
        self._boxes = boxes
        self._axis = slab_axis
        self._finished = finished_planes(boxes, slab_axis)
        self._shares = [axis_shares(boxes, axis) for axis in range(3)]
        self._shape = [max(box.stop[axis] for box in boxes) for axis in range(3)]
        self._planes = range(0)
        self._sums = np.zeros((0, 0, 0, 0), np.float32)  # in steps of 1 / _STEPS

    def add(self, n: int, logits: Logits) -> tuple[int, Logits] | None:
        """Add the logits (K, x, y, z) of window n; return first plane and scores it finishes."""
        box = self._boxes[n]
        self._roll(range(box.start[self._axis], box.stop[self._axis]), len(logits))
        x, y, z = (self._shares[axis][box.start[axis]] for axis in range(3))
        parts = logits.clip(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        parts *= x[:, None, None] * y[:, None] * z
        parts *= _STEPS
        where = [slice(None), *box.slices]
        where[1 + self._axis] = slice(None)
        self._sums[tuple(where)] += np.rint(parts, out=parts)
        return self._released(self._finished[n])

    def _roll(self, planes: range, channels: int) -> None:
        """Hold these planes: those held already keep their sums, the others start at 0."""
        if planes == self._planes:
            return
        shape = [channels, *self._shape]
        shape[1 + self._axis] = len(planes)
        fresh = np.zeros(shape, np.float32)
        both = range(max(planes.start, self._planes.start), min(planes.stop, self._planes.stop))
        if both:
            fresh[self._index(both, planes)] = self._sums[self._index(both, self._planes)]
        self._planes, self._sums = planes, fresh

    def _released(self, planes: range) -> tuple[int, Logits] | None:
        if not planes:
            return None
        return planes.start, self._sums[self._index(planes, self._planes)] / np.float32(_STEPS)

    def _index(self, planes: range, held: range) -> tuple[slice, ...]:
        index = [slice(None)] * 4
        index[1 + self._axis] = slice(planes.start - held.start, planes.stop - held.start)
        return tuple(index)


class _Runner:
    """The network on its device, which steps down where memory does not suffice."""

    def __init__(
        self, network: torch.nn.Module, image: Logits, settings: InferenceSettings
    ) -> None:
        self.settings = settings
        self.skipped = 0
        self._source = network
        self._network = prepared(network, settings)
        self._image = image
        self._least = torch.from_numpy(image.min(axis=(1, 2, 3)))
        self._last_constant: tuple[object, Logits] | None = None

    def run(self, boxes: Sequence[Box]) -> list[Logits]:
        """Return the logits (K, x, y, z) of the first boxes, of one at least."""
        key = self._constant(boxes[0]) if self.settings.skip_constant else None
        if key is not None and self._last_constant and self._last_constant[0] == key:
            self.skipped += 1
            return [self._last_constant[1]]
        logits = None
        while logits is None:
            logits = self._try(boxes[: self.settings.batch])
        if key is not None:
            self._last_constant = key, logits[0]
        return logits

    def _constant(self, box: Box) -> object | None:
        """Return what the logits of a window without contrast depend on; None with contrast."""
        window = self._image[(slice(None), *box.slices)]
        least = window.min(axis=(1, 2, 3))
        if (least != window.max(axis=(1, 2, 3))).any():
            return None
        return box.shape, tuple(least.tolist())

    def _try(self, boxes: Sequence[Box]) -> list[Logits] | None:
        """Run windows of one shape; None if memory did not suffice and settings stepped down."""
        same = list(itertools.takewhile(lambda box: box.shape == boxes[0].shape, boxes))
        try:
            return self._forward(same)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Outside the handler, whose traceback would keep the tensors alive.
        fewer = step_down(replace(self.settings, batch=len(same)))
        if fewer is None:
            raise AsmlpError(
                f"not enough memory to run a window of {'x'.join(map(str, same[0].shape))} voxels:"
                " close other programs or use a model with smaller windows"
            )
        self._last_constant = None
        self._network = prepared(self._source, fewer)
        self.settings = fewer
        return None

    def _forward(self, boxes: Sequence[Box]) -> list[Logits]:
        """Run windows of one shape at once."""
        batch, inner = self._padded(boxes)
        device, precision = self.settings.device, self.settings.precision
        with torch.inference_mode(), autocast(device, precision):
            output = self._network(batch.to(device)).float().cpu().numpy()
        if output.ndim != 5 or (len(output), *output.shape[2:]) != (len(boxes), *batch.shape[2:]):
            raise ModelError(
                f"the network gives logits of shape {output.shape} for windows of shape"
                f" {tuple(batch.shape)}: it must keep all axes but the second"
            )
        logits = [window[(slice(None), *inner)] for window in output]
        for box, window in zip(boxes, logits, strict=True):
            if not np.isfinite(window).all():
                raise AsmlpError(
                    f"the network gives NaN or infinity in the window {box} of the model grid, in"
                    f" {precision}: use --precision fp32, or another model if that does not help"
                )
        return logits

    def _padded(self, boxes: Sequence[Box]) -> tuple[torch.Tensor, tuple[slice, slice, slice]]:
        """Return windows (B, C, X, Y, Z), and where in the padded volume they lie."""
        unit = self.settings.multiple_of
        a, b, c = boxes[0].shape
        sizes = [-(-n // unit) * unit for n in (a, b, c)]
        i, j, k = ((size - n) // 2 for size, n in zip(sizes, (a, b, c), strict=True))
        inner = (slice(i, i + a), slice(j, j + b), slice(k, k + c))
        # Memory of torch is always aligned alike, so that equal windows run bit for bit alike.
        batch = torch.empty((len(boxes), len(self._image), *sizes))
        batch[:] = self._least[:, None, None, None]
        for box, window in zip(boxes, batch, strict=True):
            voxels = np.ascontiguousarray(self._image[(slice(None), *box.slices)])
            window[(slice(None), *inner)] = torch.from_numpy(voxels)
        return batch, inner


def prepared(network: torch.nn.Module, settings: InferenceSettings) -> torch.nn.Module:
    """Return what gives a network's logits fastest: itself on its device, or folded for a CPU."""
    network = network.to(settings.device)
    if settings.device.type != "cpu" or not isinstance(network, Asmlp):
        return network
    return FoldedAsmlp(network).to(DTYPES[settings.precision]) if can_fold(network) else network


def step_down(settings: InferenceSettings) -> InferenceSettings | None:
    """Return settings that need less memory; None if there are none.

    First the batch is halved, then the network runs in half precision, then on the CPU.
    """
    if settings.batch > 1:
        return replace(settings, batch=settings.batch // 2)
    if settings.precision == "fp32":
        return replace(settings, precision=half_precision(settings.device))
    if settings.device.type != "cpu":
        cpu = torch.device("cpu")
        return replace(settings, device=cpu, precision=resolve_precision("auto", cpu))
    return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(part in text for part in _OUT_OF_MEMORY)
