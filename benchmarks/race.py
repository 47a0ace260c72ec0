"""An honest race: AS-MLP, U-Net and MLP-Mixer under one harness, with equal training time.

``python benchmarks/race.py DATASET --out FOLDER`` trains each entry with each seed, scores it on
the fold kept out, prints a table in Markdown, and with ``--plot`` draws Dice against training time.
All entries share data, folds, augmentation, loss, batch, precision, the shape of the schedule and
the budget; an entry has its network, its optimiser and its rate of learning. What was finished in
FOLDER is not repeated and what was begun is gone on with: give the same command again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from race_networks import NETWORKS, OPTIMISERS, Entry
from race_report import fill, plot, table
from race_run import PRECISION, Run, read_data, write_json

from napari_asmlp.errors import AsmlpError, SettingsError
from napari_asmlp.training.recipe import RECIPE, read_recipe

HERE = Path(__file__).parent
RECIPE_FILE = HERE.parent / "src_resources" / "hippocampus.toml"
ENTRIES = ("asmlp_compiled-muon", "asmlp-muon", "unet-muon", "unet-adamw", "mixer8-muon")
AVERAGE = 0.99  # decay of the moving average of the weights, which is scored for every entry


def settings(chosen: argparse.Namespace) -> dict[str, Any]:
    """What all runs in a folder share: the data set, and the recipe with its budget."""
    recipe = read_recipe(chosen.recipe)
    recipe = replace(
        recipe,
        crop=tuple(chosen.crop) if chosen.crop else recipe.crop,
        minutes=chosen.minutes,
        precision=PRECISION,
        ema=AVERAGE,
        patience=None,
    )
    if recipe.crop is None:
        raise SettingsError(f"{chosen.recipe}: a race needs a crop in its recipe")
    return {
        "dataset": str(chosen.dataset.resolve()),
        "recipe": RECIPE.dump_python(recipe, mode="json"),
    }


def open_folder(folder: Path, wanted: dict[str, Any]) -> None:
    """Begin a race, or go on with one of the same settings."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "race.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != wanted:
        raise SettingsError(f"{folder} holds a race with other settings; give another --out")
    write_json(file, wanted)


@dataclass
class Worker:
    """A run under way: its process, and the core it has to itself."""

    run: Run
    core: int | None
    process: subprocess.Popen[bytes]


def commands(run: Run) -> list[str]:
    """The phases that a run still has before it."""
    if run.file(".json").exists():
        return []
    return ["score"] if run.file(".train.json").exists() else ["train", "score"]


def start(run: Run, core: int | None) -> Worker:
    phase = commands(run)[0]
    words = [sys.executable, HERE / "race_run.py", phase, run.folder, str(run.entry), str(run.seed)]
    if core is not None:
        words += ["--core", str(core)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with run.file(".log").open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in words], stdout=log, stderr=log, env=os.environ | threads
        )
    say(f"{run.name}: {phase}")
    return Worker(run, core, process)


def run_all(runs: list[Run], jobs: int) -> list[Run]:
    """Run what is not done, so many at once; returns those that failed."""
    waiting, failed = [run for run in runs if commands(run)], []
    free: list[int | None] = list(cores(jobs))
    busy: list[Worker] = []
    try:
        while waiting or busy:
            while waiting and free:
                busy.append(start(waiting.pop(0), free.pop(0)))
            time.sleep(0.2)
            for worker in [w for w in busy if w.process.poll() is not None]:
                busy.remove(worker)
                free.append(worker.core)
                if worker.process.returncode:
                    failed.append(worker.run)
                    say(f"{worker.run.name}: failed, see {worker.run.file('.log')}")
                elif commands(worker.run):
                    waiting.insert(0, worker.run)
    finally:
        for worker in busy:
            worker.process.terminate()
    return failed


def cores(jobs: int) -> Iterator[int | None]:
    """A core for each of several jobs, as far as the system says which there are."""
    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for job in range(jobs):
        yield known[job] if 1 < jobs <= len(known) else None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Help)
    parser.add_argument("dataset", type=Path, help="folder with dataset.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument(
        "--networks",
        type=Entry.parse,
        nargs="+",
        default=[Entry.parse(text) for text in ENTRIES],
        metavar="NETWORK-OPTIMISER[@RATE]",
        help=f"networks: {', '.join(NETWORKS)}; optimisers: {', '.join(OPTIMISERS)}",
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU minutes of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one fold each")
    parser.add_argument("--recipe", type=Path, default=RECIPE_FILE, help="crop, AS-MLP, data")
    parser.add_argument(
        "--crop", type=int, nargs=3, help="voxels that a step sees, not the recipe's"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one core each")
    parser.add_argument("--plot", type=Path, help="SVG to draw")
    parser.add_argument("--docs", type=Path, help="page whose table to replace")
    return parser.parse_args(words)


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def main(words: list[str] | None = None) -> int:
    chosen = arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        shared = settings(chosen)
        open_folder(chosen.out, shared)
        reasons = {entry: entry.missing() for entry in chosen.networks}
        runs = [
            Run(chosen.out, entry, seed)
            for seed in chosen.seeds
            for entry, reason in reasons.items()
            if reason is None
        ]
        if any("train" in commands(run) for run in runs):
            read_data(chosen.dataset, chosen.out / "samples", runs[0].recipe)  # once, for all
    except AsmlpError as error:
        say(f"race: {error}")
        return 2
    failed = run_all(runs, chosen.jobs)
    results = [json.loads(path.read_text()) for run in runs if (path := run.file(".json")).exists()]
    report = table(results, {str(entry): reason for entry, reason in reasons.items() if reason})
    print(report)
    write_json(chosen.out / "results.json", {"results": results})
    if chosen.plot and results:
        plot(results, chosen.plot)
    if chosen.docs:
        fill(chosen.docs, report)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
