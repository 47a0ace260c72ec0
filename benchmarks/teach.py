"""Teaching against filters and a random forest: the same annotation, volume and run.

    python teach.py IMAGE LABELS [--slices 0.3 0.5 0.7 | --strokes 20 | --region] [--seconds 30]

IMAGE and LABELS (the whole truth, 0 background) lie on one grid. Annotated are whole slices across
the third axis of the file, at shares of its length, straight strokes, or one box; the rest is
scored. For each method it gives the mean Dice of the labels, and of teaching each answer with its
second. With `--cpu` seconds are CPU time, for a machine that others use too; run it then with one
thread. With `--part N` the forest labels one of N voxels only, drawn at random, is scored on those,
and its seconds are those that all of them would have taken.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from teach_forest import ForestSettings, filtered, forest

from napari_asmlp import read_volume
from napari_asmlp.teaching import progress as teaching_progress
from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.behind import mean_dice
from napari_asmlp.teaching.loop import TeachSettings, iter_teach
from napari_asmlp.volume import Volume

_STROKE = (24, 3)  # length and width in voxels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--slices", type=float, nargs="+", default=(0.3, 0.5, 0.7))
    parser.add_argument("--strokes", type=int, help="instead of slices")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="count CPU time")
    parser.add_argument("--part", type=int, default=1, metavar="N")
    parser.add_argument("--only", choices=("forest", "teach"))
    parser.add_argument("--region", action="store_true", help="annotate one box instead of slices")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cpu:
        teaching_progress.time.monotonic = time.process_time
    image = read_volume(options.image)
    truth = read_volume(options.labels, kind="labels")
    rows = []
    for seed in range(options.seeds):
        annotation = annotated(truth, options, seed)
        rows += run(image, truth.array(), annotation, options, seed)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    report(rows)


def annotated(truth: Volume, options: argparse.Namespace, seed: int) -> Annotation:
    labels = truth.array()
    values = np.unique(np.append(labels, 0))
    classes = np.searchsorted(values, labels).astype(np.int16)
    seen = np.zeros(labels.shape, bool)
    if options.region:
        middle = [slice(n // 4, 2 * n // 3) for n in labels.shape]
        seen[tuple(middle)] = True
    elif options.strokes is None:
        for share in options.slices:
            seen[:, :, round(share * (labels.shape[2] - 1))] = True
    else:
        draw_strokes(seen, classes, options.strokes, np.random.default_rng(seed))
    return Annotation(
        np.where(seen, classes, UNANNOTATED).astype(np.int16), tuple(map(int, values))
    )


def draw_strokes(
    seen: NDArray[np.bool_], classes: NDArray[np.int16], count: int, rng: np.random.Generator
) -> None:
    """Draw straight strokes in random planes, each class in turn; a stroke is of its class only."""
    kinds = int(classes.max()) + 1
    for number in range(count):
        mine = np.argwhere(classes == number % kinds)
        centre = mine[rng.integers(len(mine))]
        along, wide = rng.permutation(3)[:2]
        reach = np.zeros(3, int)
        reach[along], reach[wide] = _STROKE[0] // 2, _STROKE[1] // 2
        box = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(centre, reach, strict=True))
        seen[box] |= classes[box] == number % kinds


def run(
    image: Volume,
    truth: NDArray[np.unsignedinteger],
    annotation: Annotation,
    options: argparse.Namespace,
    seed: int,
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    values = np.array(annotation.values)
    left = annotation.classes == UNANNOTATED
    clock = time.process_time if options.cpu else time.monotonic

    def add(
        method: str, seconds: float, labels: NDArray[np.unsignedinteger], at: NDArray[np.intp]
    ) -> None:
        kept = left.ravel()[at]
        found = np.searchsorted(values, labels[kept])
        known = np.searchsorted(values, truth.ravel()[at[kept]])
        each = class_dice(found, known, len(values))
        rows.append({"seed": seed, "method": method, "seconds": round(seconds, 1), **each})
        words = " ".join(f"{score:.2f}" for score in each["classes"])
        print(
            f"seed {seed}, {method}: {each['dice']:.3f} ({words}) after {seconds:.1f} s", flush=True
        )

    if options.only != "teach":
        settings = ForestSettings(seed, options.threads, options.part)
        began = clock()
        features = filtered(image.array().astype(np.float32), options.threads)
        filtering = clock() - began
        for position in (False, True):
            began = clock()
            classes, at, more = forest(features, annotation.classes, settings, position=position)
            name = "forest with position" if position else "forest"
            add(name, filtering + clock() - began + more, annotation.written(classes), at)
    everywhere = np.arange(truth.size)
    if options.only != "forest":
        for progress in iter_teach(image, annotation, TeachSettings(options.seconds, seed)):
            if progress.answer:
                name = f"teach: {progress.answer.what}"
                add(name, progress.seconds, progress.answer.labels.array().ravel(), everywhere)
    return rows


def class_dice(
    found: NDArray[np.intp], known: NDArray[np.intp], count: int
) -> dict[str, float | list[float]]:
    each = [
        mean_dice((found == value).astype(int), (known == value).astype(np.int16), 2)
        for value in range(1, count)
        if (known == value).any()
    ]
    return {"dice": float(np.mean(each)), "classes": each}


def report(rows: list[dict[str, object]]) -> None:
    print("\n| method | answers | mean Dice | least | seconds |\n|---|---|---|---|---|")
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        dice = np.array([row["dice"] for row in mine], float)
        seconds = np.mean([float(str(row["seconds"])) for row in mine])
        print(f"| {method} | {len(mine)} | {dice.mean():.3f} | {dice.min():.3f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
