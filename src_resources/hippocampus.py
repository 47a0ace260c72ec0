"""Train the bundled `hippocampus`: on five folds for its scores, then on all cases for its weights.

    python src_resources/hippocampus.py DATASET FOLDER [--only 1/5 | all] [--threads 1]

May be ended at any time and given again: what is done is kept, and a training under way goes on.
With --only it trains one fold, or the model of all cases, so that they can run side by side. Once
the latter and at least one fold are there it writes FOLDER/hippocampus.safetensors: weights learnt
from all cases, and on the card scores, temperature and calibration of the folds that are done.
`model_card.py` writes its page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_asmlp.cli import main as napari_asmlp
from napari_asmlp.evaluate import summarise
from napari_asmlp.model import Model, load_model, save_model

RECIPE = Path(__file__).with_name("hippocampus.toml")
FOLDS = tuple(f"{n}/5" for n in range(1, 6))
MEASURES = (
    "ece_before",
    "ece_after",
    "ece_found_before",
    "ece_found_after",
    "risk",
    "risk_coverage_area",
    "least_area",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=(*FOLDS, "all"))
    parser.add_argument("--threads", default="1", help="more are faster, and give other weights")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    for fold in [options.only] if options.only else [*FOLDS, "all"]:
        train(options.dataset, report_of(options.folder, fold), fold, options.threads)
    last = report_of(options.folder, "all")
    done = [path for fold in FOLDS if (path := report_of(options.folder, fold)).exists()]
    if done and last.exists():
        found = [json.loads(path.read_text(encoding="utf-8")) for path in done]
        finished = with_scores(load_model(last.with_suffix(".safetensors")), found)
        path = save_model(finished, options.folder / "hippocampus.safetensors", overwrite=True)
        print(f"{path}; to ship it, say in the recipe:\n# Shipped file: {load_model(path).hash}")


def report_of(folder: Path, fold: str) -> Path:
    return folder / f"fold_{fold.partition('/')[0]}.json"


def train(dataset: Path, report: Path, fold: str, threads: str) -> None:
    """Train, or go on with it; nothing happens where the report tells that it is done."""
    if report.exists():
        return
    output = report.with_suffix(".safetensors")
    words = ["train", str(dataset), "-o", str(output), "--recipe", str(RECIPE), "--fold", fold]
    words += ["--report", str(report), "--threads", threads]
    begun = (output.with_name(f".{output.stem}.training") / "checkpoint.pt").exists()
    status = napari_asmlp([*words, "--resume" if begun else "--overwrite"])
    if status:
        sys.exit(status)


def with_scores(model: Model, reports: Sequence[Mapping[str, Any]]) -> Model:
    """Put on the card what models of the same recipe did on cases they had not seen.

    The temperature is the geometric mean of the folds'; measures of calibration are means over
    folds, by their numbers of voxels.
    """
    found = [report["calibration"] for report in reports]
    voxels = [one["voxels"] for one in found]
    temperature = float(f"{np.exp(np.mean([np.log(one['temperature']) for one in found])):.4g}")
    calibration = {
        "cases": sum(one["cases"] for one in found),
        "folds": len(found),
        "voxels": sum(voxels),
        "temperature": temperature,
    }
    for name in MEASURES:
        mean = np.average([one[name] for one in found], weights=voxels)
        calibration[name] = round(float(mean), 4)
    cases = {name: one for report in reports for name, one in report["scores"]["cases"].items()}
    card = replace(
        model.card,
        name="hippocampus",
        scores=summarise(cases),
        temperature=temperature,
        calibration=calibration,
        training_data=f"{model.card.training_data}; scores are of {len(cases)} cases, each by a"
        f" model of the same recipe that had not seen it ({len(found)} of 5 folds)",
    )
    return replace(model, card=card, path=None)


if __name__ == "__main__":
    main()
