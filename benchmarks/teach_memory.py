"""The most memory that teaching takes: `python teach_memory.py [X Y Z] [--seconds S]`.

On a made-up abdomen with three annotated slices, in a process of its own. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
import torch
from phantom import SHAPE, SPACING, phantom
from teach_tasks import with_slices

from napari_asmlp.grid import Grid
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.volume import Volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", type=int, nargs="*", default=SHAPE)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth, voxels = phantom(tuple(options.shape))
    image = Volume(voxels.astype(np.int16), Grid(voxels.shape, np.diag([*SPACING, 1])))
    del voxels
    annotation = with_slices(truth, seed=0)
    before, began, answers = _peak(), time.monotonic(), []
    for now in iter_teach(image, annotation, TeachSettings(options.seconds)):
        if now.answer:
            found = now.answer.labels.array()
            answers.append([now.answer.what, round(now.seconds, 1), _dice(found, truth)])
    print(
        json.dumps(
            {
                "shape": list(truth.shape),
                "peak_gb": round(_peak(), 2),
                "before_gb": round(before, 2),
                "seconds": round(time.monotonic() - began, 1),
                "answers": answers,
            }
        )
    )


def _peak() -> float:
    """Return the largest resident size so far, in GB (of 1e9 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    counts = np.zeros((8, 8), np.int64)
    for true, mine in zip(truth, found, strict=True):  # a plane at a time: little memory
        counts += np.bincount((true * 8 + mine).ravel(), minlength=64).reshape(8, 8)
    each = [2 * counts[v, v] / (counts[v].sum() + counts[:, v].sum()) for v in range(1, 6)]
    return round(float(np.mean(each)), 3)


if __name__ == "__main__":
    main()
