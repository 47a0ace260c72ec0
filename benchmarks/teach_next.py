"""Is the slice that is proposed worth painting? Against the middle one, and random ones.

    python teach_next.py --heads DIR [DIR ...]

One slice of each head is painted. Then one more: the axial one that `doubt.where_next` proposes
(and the best of any direction), the middle one, the next one, and three at random. The Dice of the
first answer after each, on all voxels that were not painted in any of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from teach_runs import class_dice
from teach_tasks import Task, find_heads

from napari_asmlp.teaching.annotations import UNANNOTATED, Annotation
from napari_asmlp.teaching.doubt import where_next
from napari_asmlp.teaching.loop import TaughtAnswer, TeachSettings
from napari_asmlp.teaching.teacher import Teacher

FIRST = 0.35  # share of the axis at which the first slice lies
AXIAL, RANDOM = 2, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=Path, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| head | one slice | and | at | mean Dice |\n|---|---|---|---|---|")
    for folder in options.heads:
        head = next(iter(find_heads(folder)))
        for line in compared(head):
            print(line, flush=True)


def compared(head: Task) -> Iterator[str]:
    teacher, first = Teacher(TeachSettings(seconds=0.01)), round(FIRST * head.truth.shape[AXIAL])
    painted = [(AXIAL, first)]
    answer = taught(teacher, head, painted)
    seen = annotated(head.truth, painted) != UNANNOTATED
    proposed = where_next(answer.doubt, seen)
    axial = next(place for place in proposed if place.axis == AXIAL)
    wanted = [
        ("nothing", None),
        ("proposed", (AXIAL, axial.index)),
        ("proposed in any direction", (proposed[0].axis, proposed[0].index)),
        ("middle", (AXIAL, head.truth.shape[AXIAL] // 2)),
        ("next one", (AXIAL, first + 1)),
    ]
    rng, there = np.random.default_rng(0), np.flatnonzero(head.truth.any(axis=(0, 1)))
    wanted += [("random", (AXIAL, int(index))) for index in rng.choice(there, RANDOM)]
    left = annotated(head.truth, painted + [one for _, one in wanted if one]) == UNANNOTATED
    for name, one in wanted:
        now = taught(teacher, head, [*painted, one] if one else painted)
        found = now.labels.array()[left]
        dice = np.mean(list(class_dice(found, head.truth[left])))
        where = "" if one is None else f"axis {one[0]}, {one[1]}"
        yield f"| {head.name} | {first} | {name} | {where} | {dice:.3f} |"


def taught(teacher: Teacher, head: Task, painted: list[tuple[int, int]]) -> TaughtAnswer:
    classes = annotated(head.truth, painted)
    values = tuple(range(int(head.truth.max()) + 1))
    teacher.set_volume("head", head.image, Annotation(classes, values))
    work = teacher.iter_round("head")
    answer = next(now.answer for now in work if now.answer)
    work.close()
    return answer


def annotated(truth: NDArray[np.int16], painted: list[tuple[int, int]]) -> NDArray[np.int16]:
    classes = np.full(truth.shape, UNANNOTATED, np.int16)
    for axis, index in painted:
        plane = tuple(index if n == axis else slice(None) for n in range(3))
        classes[plane] = truth[plane]
    return classes


if __name__ == "__main__":
    main()
