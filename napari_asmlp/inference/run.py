"""The walk over the windows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_asmlp.inference.held import HeldImage, RollingSums
from napari_asmlp.inference.memory import enough_memory
from napari_asmlp.inference.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import torch

    from napari_asmlp.inference.held import Floats, ImagePlanes
    from napari_asmlp.inference.runner import InferenceSettings
    from napari_asmlp.windows import Box


@dataclass(frozen=True)
class Step:
    """What is known after a window.

    Attributes
    ----------
    done, total : windows
    skipped : windows among those done that did not run
    finished : lowest plane along the slab axis, and scores (K, X, Y, Z) of planes that no later
        window touches; None but after the last window of a layer. The scores are a view of the
        sums, which the next window changes.
    settings : those in force, as running out of memory changes them
    network_seconds, stitch_seconds : spent in the network so far, and in summing up
    """

    done: int
    total: int
    skipped: int
    finished: tuple[int, Floats] | None
    settings: InferenceSettings
    network_seconds: float
    stitch_seconds: float


def iter_slabs(
    network: torch.nn.Module,
    image: ImagePlanes | Floats,
    boxes: Sequence[Box],
    slab_axis: int,
    settings: InferenceSettings,
    first: int = 0,
) -> Generator[Step, None, None]:
    """Run a network over the windows of a volume.

    Closing the generator stops before the next batch of windows and frees the sums.

    Parameters
    ----------
    network : (B, C, X, Y, Z) float32 -> logits (B, K, X, Y, Z); moved to the settings' device
    image : float32 (C, X, Y, Z), or planes of it, on the model grid
    boxes : all windows, as `windows.place_windows` gives them for `slab_axis`
    slab_axis : axis of the volume along which slabs are finished
    settings : taken back by a step where memory does not suffice, see `step_down`
    first : window to begin with; planes it finishes that earlier windows touch lack their share

    Yields
    ------
    Step
        After each window.

    Raises
    ------
    AsmlpError
        If the network gives NaN or infinity, or memory does not suffice for one window alone, the
        sums or the image.
    ModelError
        If its logits do not have the shape of the window.
    """
    was_training = network.training
    network.eval()
    held = HeldImage(image, slab_axis)
    runner = Runner(network, settings)
    sums = RollingSums(boxes, slab_axis)
    done, stitching = first, 0.0
    try:
        while done < len(boxes):
            batch = boxes[done : done + runner.settings.batch]
            with enough_memory("the planes of the image that a layer of windows touches"):
                held.hold(_span(batch, slab_axis))
                windows = [held.window(box) for box in batch]
            for logits in runner.run(windows, batch):
                started = time.monotonic()
                with enough_memory(f"the sums of {len(logits)} outputs over a layer of windows"):
                    sums.add(done, logits)
                stitching += time.monotonic() - started
                done += 1
                finished = sums.released(done - 1)
                yield _step(done, len(boxes), finished, runner, stitching)
    finally:
        network.train(was_training)


def _step(
    done: int, total: int, finished: tuple[int, Floats] | None, runner: Runner, stitching: float
) -> Step:
    skipped, settings = runner.skipped, runner.settings
    return Step(done, total, skipped, finished, settings, runner.seconds, stitching)


def _span(boxes: Sequence[Box], axis: int) -> range:
    return range(min(box.start[axis] for box in boxes), max(box.stop[axis] for box in boxes))
