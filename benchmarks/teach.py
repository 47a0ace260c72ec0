"""Teaching against filters and a random forest: the same annotation, volume and run.

    python teach.py --heads DIR [DIR ...] --nuclei DIR --hippocampus DIR -o RESULTS

Each folder is one that `teach_tasks.py` knows, and what is not given is left out. Written are
`teach.csv` (each answer: its seconds and Dice), `teach.svg` (Dice against seconds and against
strokes) and `teach.md` (the table, which is also printed).

| task | annotated | seconds |
|---|---|---|
| slices | three whole slices of each head; one seed of all but the first head | 30; once 300 |
| strokes | on the first head 20 of each seed; 10 and 40 of the first seed, for the curve | 20 |
| nuclei | one box | 30; once 120 |
| hippocampus | see `teach_hippocampus.py` | its own |
| memory | 512 x 512 x 300 voxels, three slices | 60 |

With `--cpu` seconds are CPU time, for a machine that others use too; run it then with one thread.
The forests label one of `--part` voxels, drawn at random; their seconds are those of all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from teach_report import plot, table, write_csv
from teach_runs import Row, Trial, run_forests, run_teach, use_cpu_time
from teach_tasks import find_heads, nuclei, with_region, with_slices, with_strokes

TASKS = ("slices", "strokes", "nuclei", "hippocampus", "memory")
SHORT, LONG, BRIEF, CELLS_LONG = 30.0, 300.0, 20.0, 120.0
STROKES, CURVE = 20, (10, 40)
MAPS = 1  # synthetic heads at most, of those in a folder
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=Path, nargs="+", default=[])
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--hippocampus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="an existing folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="count CPU time")
    parser.add_argument("--part", type=int, default=4, metavar="N")
    parser.add_argument("--only", choices=TASKS, nargs="+", default=TASKS)
    parser.add_argument("--quick", action="store_true", help="one seed, no long runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cpu:
        use_cpu_time()
    options.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    rows: list[Row] = []
    for row in all_rows(options):
        each = " ".join(f"{dice:.2f}" for dice in row.classes)
        where = f"{row.task}, {row.annotated}, seed {row.seed}, {row.method}"
        print(f"{where}: {row.dice:.3f} ({each}) after {row.seconds:.1f} s", flush=True)
        rows.append(row)
    if rows:
        lines = list(table(rows))
        write_csv(rows, options.output / "teach.csv")
        (options.output / "teach.md").write_text("\n".join(lines) + "\n")
        plot(rows, options.output / "teach.svg")
        print("\n" + "\n".join(lines))
    for script, arguments in separate(options):
        print(f"\n{script}", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *arguments], check=True)


def all_rows(options: argparse.Namespace) -> Iterator[Row]:
    for trial, seconds in trials(options):
        forests = run_forests(trial, options.threads, options.part)
        yield from chain(forests, run_teach(trial, seconds))


def trials(options: argparse.Namespace) -> Iterator[tuple[Trial, float]]:
    """Yield what is run, and for how many seconds."""
    seeds = range(1 if options.quick else options.seeds)
    heads = [
        head
        for folder in options.heads
        for number, head in enumerate(find_heads(folder))
        if number < (1 if options.quick else MAPS)
    ]
    long = not options.quick
    if "slices" in options.only:
        for number, head in enumerate(heads):
            for seed in seeds if number == 0 else seeds[:1]:
                seconds = LONG if long and number == seed == 0 else SHORT
                annotation = with_slices(head.truth, seed)
                yield Trial(head, annotation, "3 slices", 3, seed), seconds
    if "strokes" in options.only:
        for head in heads[:1]:
            amounts = [(STROKES, seed) for seed in seeds] + [(n, 0) for n in CURVE if long]
            for amount, seed in amounts:
                annotation = with_strokes(head.truth, seed, amount)
                yield Trial(head, annotation, f"{amount} strokes", amount, seed), BRIEF
    if "nuclei" in options.only and options.nuclei:
        stack = nuclei(options.nuclei)
        for seed in seeds:
            seconds = CELLS_LONG if long and seed == 0 else SHORT
            yield Trial(stack, with_region(stack.truth, seed), "one box", 0, seed), seconds


def separate(options: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Yield scripts that run in a process of their own, with their arguments."""
    threads = ["--threads", str(options.threads)]
    if "hippocampus" in options.only and options.hippocampus:
        cpu = ["--cpu"] if options.cpu else []
        seeds = ["--seeds", "1" if options.quick else str(options.seeds)]
        yield "teach_hippocampus.py", [str(options.hippocampus), *threads, *cpu, *seeds]
    if "memory" in options.only:
        size = ["192", "192", "128"] if options.quick else []
        yield "teach_memory.py", [*size, *threads]


if __name__ == "__main__":
    main()
