"""`napari-asmlp fine-tune`: a better model from corrections of its labels."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from napari_asmlp.cli import common_options
from napari_asmlp.cli.console import Console
from napari_asmlp.devices import DEVICES
from napari_asmlp.errors import SettingsError
from napari_asmlp.io.files import check_distinct, check_file, replacing
from napari_asmlp.pipeline.fine_tune import (
    FINE_TUNING,
    FineTuned,
    FineTuneJob,
    iter_fine_tune,
    summary_of,
)
from napari_asmlp.training.trainer import Stage, TrainProgress

_MOST_SEED = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.set_defaults(run=run)
    common_options(parser)
    parser.add_argument("project", type=Path, help="project file (.asmlp.json) with corrections")
    parser.add_argument(
        "--init", required=True, metavar="NAME|FILE", help="model whose labels were corrected"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.safetensors")
    parser.add_argument(
        "--minutes",
        type=float,
        default=FINE_TUNING.minutes,
        metavar="M",
        help=f"learn for this long (default: {FINE_TUNING.minutes:g})",
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="learn from corrections alone; labels that they do not hold may go",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="auto takes a GPU if there is one"
    )
    parser.add_argument("--resume", action="store_true", help="go on after a kill or a cancel")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.json", help="Dice before and after, label by label"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Fine-tune, then say whether the model got better."""
    if not (math.isfinite(options.minutes) and options.minutes > 0):
        raise SettingsError(f"--minutes {options.minutes:g}: give a time over 0")
    if not 0 <= options.seed <= _MOST_SEED:
        raise SettingsError(f"--seed {options.seed}: give a whole number from 0 to {_MOST_SEED}")
    job = FineTuneJob(
        options.project,
        options.output,
        options.init,
        replace(FINE_TUNING, minutes=options.minutes, seed=options.seed),
        options.forget,
        options.device,
        options.resume,
        options.overwrite,
    )
    if options.report:
        check_distinct([options.output, options.report])
        check_file(options.report, overwrite=options.overwrite, inputs=[options.project])
    try:
        tuned = console.follow(_telling(console, iter_fine_tune(job)), job.output.name)
    except KeyboardInterrupt:
        if job.checkpoint.exists():
            console.note(f"stopped; go on with --resume (state: {job.checkpoint})")
        raise
    if options.report:
        with replacing(options.report, overwrite=options.overwrite) as temporary:
            temporary.write_text(json.dumps(tuned.report, indent=1) + "\n", encoding="utf-8")
    console.note(f"{job.output}: {summary_of(tuned)}")
    return 0


def _telling(
    console: Console, work: Generator[TrainProgress | Stage, None, FineTuned]
) -> Generator[TrainProgress | Stage, None, FineTuned]:
    """Pass progress on, and say the notes in it."""
    with closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                tuned: FineTuned = stop.value
                return tuned
            if isinstance(progress, Stage) and progress.note:
                console.note(progress.note)
            else:
                yield progress
