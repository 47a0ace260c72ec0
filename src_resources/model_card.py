"""Write the page of the bundled `hippocampus`: what it is, how well it does, and where it fails.

    python src_resources/model_card.py MODEL DATASET [--reports FOLDER] [--out docs]

Scores are those on cases kept out of training: of the model's own card, or with --reports of each
fold that `src_resources/hippocampus.py` trained (reports and models of folds lie in one folder).
Writes OUT/hippocampus.md and OUT/images/hippocampus_failures.png. Every figure on the page is read
from card and reports; the prose stands below.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from failures import Failure, draw

from napari_asmlp.evaluate import summarise
from napari_asmlp.io.files import replacing
from napari_asmlp.model import Model, load_model
from napari_asmlp.pipeline import segment
from napari_asmlp.provenance import file_hash
from napari_asmlp.training.dataset import Case, examined, read_case, read_dataset

WORST = 4  # cases that are shown
DOCS = Path(__file__).parents[1] / "docs"
PICTURE = "hippocampus_failures.png"
REPEAT = "python src_resources/hippocampus.py DATASET FOLDER"

USE = """## What it is for
It labels the anterior and the posterior hippocampus in a T1-weighted MRI crop of one side, left or
right, whatever its orientation and intensity scale: for research, to be looked at and corrected by
a person. In napari: panel *Segment*. Without: `napari-asmlp segment scan.nii.gz -o labels.nii.gz
--model hippocampus --region ...`.

## What it is not for
- Diagnosis, treatment, or any decision about a patient. It is no medical device.
- Whole heads: it was trained on crops, and the more there is around the hippocampus, the worse are
  its labels ([docs/engine.md](engine.md) has figures, of version 0.1). Give it a region.
- Other contrasts (T2, FLAIR), CT, children, tumours, resections, strong atrophy: none was in its
  data, as far as these say.
- Subfields: anterior and posterior are all that it knows, divided as the raters of its data did.

What noise, bias fields, other spacings and orientations cost:
[docs/experiments.md](experiments.md).
"""
SUBJECTS = """Some subjects of this data set have two crops, and it holds no subject numbers. So a
case that was kept out may share its subject with one that was learnt from, and the figures below
may be somewhat better than those on new subjects."""


@dataclass(frozen=True)
class Fold:
    """Cases kept out of a training, and what the model of that training did on them."""

    name: str
    model: Path
    hash: str
    scores: Mapping[str, Any]
    calibration: Mapping[str, Any]
    kept_out: frozenset[str]  # hashes; empty where the model does not say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--reports", type=Path, help="folder with reports and models of the folds")
    parser.add_argument("--out", type=Path, default=DOCS, help="default: docs")
    options = parser.parse_args()
    model = load_model(options.model)
    folds = read_folds(model, options.reports)
    failures = worst_cases(folds, options.dataset)
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    picture = draw(failures, model.card.labels)
    with replacing(options.out / "images" / PICTURE, overwrite=True) as temporary:
        picture.save(temporary, optimize=True)
    with replacing(options.out / "hippocampus.md", overwrite=True) as temporary:
        temporary.write_text(page(model, folds, failures), encoding="utf-8")
    print(f"written: {options.out / 'hippocampus.md'}, {options.out / 'images' / PICTURE}")


def read_folds(model: Model, reports: Path | None) -> list[Fold]:
    """Return the folds of the reports, or that of the model's own card."""
    card = model.card
    if reports is None:
        out = frozenset(card.split.get("kept_out", ()))
        name = str(card.recipe.get("fold", "1/1"))
        own = Fold(name, model.path, model.hash, card.scores, card.calibration, out)
        if not card.scores:
            sys.exit(f"{model.path}: no case was kept out; give --reports")
        return [own]
    folds = [fold_of(path, model) for path in sorted(reports.glob("*.json"))]
    found = [fold for fold in folds if fold is not None]
    if not found:
        sys.exit(f"{reports}: no report of a fold")
    return found


def fold_of(path: Path, model: Model) -> Fold | None:
    """Read a report; None if it is of no fold. It has to be of the model's recipe and data."""
    report = json.loads(path.read_text(encoding="utf-8"))
    if report.get("command") != "train" or not report["scores"]:
        return None
    expected = {k: v for k, v in model.card.recipe.items() if k not in ("fold", "dataset_hash")}
    found = {key: value for key, value in report["recipe"].items() if key != "fold"}
    if found != expected or report["dataset"]["hash"] != model.card.recipe["dataset_hash"]:
        different = sorted(key for key in expected if found.get(key) != expected[key])
        sys.exit(f"{path}: of another recipe or data set than the model ({', '.join(different)})")
    return Fold(
        report["recipe"]["fold"],
        path.parent / Path(report["model"]["path"]).name,
        report["model"]["hash"],
        report["scores"],
        report["calibration"],
        frozenset(report["split"]["kept_out"]),
    )


def worst_cases(folds: Sequence[Fold], dataset: Path) -> list[Failure]:
    """Segment the cases of the lowest Dice again, each by the model that had not seen it."""
    cases = {case.name: case for case in read_dataset(dataset).cases}
    scored = [(fold, name, one) for fold in folds for name, one in fold.scores["cases"].items()]
    scored.sort(key=lambda row: mean_dice(row[2]))
    return [failure(fold, cases[name], mean_dice(one)) for fold, name, one in scored[:WORST]]


def failure(fold: Fold, case: Case, dice: float) -> Failure:
    (known,) = examined([case])
    if fold.kept_out and known.hash not in fold.kept_out:
        sys.exit(f"{case.name}: is not what fold {fold.name} kept out under this name")
    if file_hash(fold.model) != fold.hash:
        sys.exit(f"{fold.model}: is not the model of the report")
    image, reference = read_case(case)
    return Failure(case.name, dice, image, reference, segment(image, load_model(fold.model)))


def mean_dice(scores: Mapping[str, Mapping[str, float | None]]) -> float:
    known = [one["dice"] for one in scores.values() if one["dice"] is not None]
    return float(np.mean(known))


def page(model: Model, folds: Sequence[Fold], failures: Sequence[Failure]) -> str:
    card = model.card
    parts = [
        f"# The bundled model `{card.name}`\n\n{card.summary}.\n\nThis page is written by"
        " `src_resources/model_card.py`; change that, not this.\n",
        USE,
        f"## Data and licence\n{card.training_data}.\n\n{card.attribution}. Licence of the"
        f" weights: {card.licence}.\n\n{split_text(model, folds)}\n\n{SUBJECTS}\n",
        "## Scores\n" + "\n".join(score_table(folds, card.label_names)) + "\n",
        "\n".join(failure_text(failures)) + "\n",
        "## Calibration\n" + "\n".join(calibration_table(folds, card.temperature)) + "\n",
        "## The file, and how to make it again\n" + "\n".join(file_text(model)) + "\n",
        "## Every case\n" + "\n".join(case_table(folds, card.label_names)),
    ]
    return "\n".join(parts) + "\n"


def split_text(model: Model, folds: Sequence[Fold]) -> str:
    cases = sum(len(fold.scores["cases"]) for fold in folds)
    if [fold.hash for fold in folds] == [model.hash]:
        return f"{cases} cases were kept out of training; all scores are of these."
    parts = ", ".join(fold.name for fold in folds)
    own = len(model.card.scores.get("cases", ()))
    fewer = f" The card in the file has earlier scores, of {own} cases." if 0 < own < cases else ""
    return (
        f"The shipped model learnt from all cases. Scores are of other models of the same recipe,"
        f" one for each part of the cases that was kept out ({parts}): {cases} cases, each scored"
        " once, by the model that had not seen it. Which case is in which part follows from a hash"
        f" of its voxels ([docs/training.md](training.md)).{fewer}"
    )


def score_table(folds: Sequence[Fold], names: Mapping[int, str]) -> Iterator[str]:
    """A row for each fold, and one for all cases; Dice and HD95 of each label and their mean."""
    columns = [*names.values(), "mean"]
    heads = [f"Dice {name}" for name in columns] + [f"HD95 {name}, mm" for name in columns]
    yield f"| fold | cases | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 2) + "|"
    every = summarise({k: v for fold in folds for k, v in fold.scores["cases"].items()})
    rows = [(fold.name, fold.scores) for fold in folds] if len(folds) > 1 else []
    for name, scores in [*rows, ("all", every)]:
        labels = [scores["mean"][str(value)] for value in names] + [scores["mean"]["all"]]
        cells = [shown(one["dice"], 3) for one in labels]
        cells += [shown(one["hd95_mm"], 2) for one in labels]
        yield f"| {name} | {len(scores['cases'])} | {' | '.join(cells)} |"
    dice = np.array([mean_dice(scores) for scores in every["cases"].values()])
    low, middle = np.percentile(dice, (5, 50))
    yield (
        f"\nOver cases, the mean Dice of a case has a median of {middle:.3f}; 5 % lie below"
        f" {low:.3f}, the lowest is {dice.min():.3f}. HD95 is the larger of the two directed 95th"
        " percentiles of surface distances."
    )


def failure_text(failures: Sequence[Failure]) -> Iterator[str]:
    listed = ", ".join(f"{one.name} ({one.dice:.3f})" for one in failures)
    yield "## Where it fails"
    yield (
        f"The {len(failures)} cases of the lowest mean Dice: {listed}. White is the outline of the"
        " reference, colours that of the prediction, in planes through the middle of the"
        " reference.\n"
    )
    yield f"![Outlines of reference and prediction in the worst cases](images/{PICTURE})"


def calibration_table(folds: Sequence[Fold], temperature: float) -> Iterator[str]:
    keys = (
        ("temperature", "temperature", 2),
        ("ece_before", "error before", 3),
        ("ece_after", "after", 3),
        ("ece_found_before", "where labelled, before", 3),
        ("ece_found_after", "after", 3),
        ("risk_coverage_area", "area under risk–coverage", 4),
        ("least_area", "least possible", 4),
    )
    measured = [fold for fold in folds if fold.calibration]
    if not measured:
        yield "Not measured for this model."
        return
    yield f"| fold | {' | '.join(title for _, title, _ in keys)} |"
    yield "|---" * (len(keys) + 1) + "|"
    for fold in measured:
        cells = [shown(fold.calibration.get(key), digits) for key, _, digits in keys]
        yield f"| {fold.name} | {' | '.join(cells)} |"
    yield (
        f"\nThe card's temperature is {temperature:g}. Errors are expected calibration errors over"
        " voxels where reference or prediction is not background, or where the prediction is not;"
        " [docs/training.md](training.md) says how they are measured."
    )


def file_text(model: Model) -> Iterator[str]:
    weights = Model(model.card, model.network).hash
    size = model.path.stat().st_size / 1e6
    parameters = sum(p.numel() for p in model.network.parameters()) / 1e6
    yield f"- `{model.path.name}`, {size:.1f} MB, {parameters:.2f} million parameters"
    yield f"- file: `{model.hash}`"
    yield f"- weights alone: `{weights}`"
    versions = model.card.versions
    yield f"- trained {model.card.created[:10]}, napari-asmlp {versions['napari-asmlp']},"
    yield f"  torch {versions['torch']}"
    yield f"- images learnt from: `{model.card.recipe['dataset_hash']}`"
    yield "\nThe recipe is `src_resources/hippocampus.toml`; folds, model and this page:\n"
    yield f"    {REPEAT}"
    yield "    python src_resources/model_card.py FOLDER/hippocampus.safetensors DATASET \\"
    yield "        --reports FOLDER"
    yield "\nOn the same machine, with as many threads, the weights come out the same."


def case_table(folds: Sequence[Fold], names: Mapping[int, str]) -> Iterator[str]:
    heads = [f"{what} {name}" for name in names.values() for what in ("Dice", "HD95")]
    yield "<details><summary>Dice and HD95 in mm</summary>\n"
    yield f"| case | fold | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 2) + "|"
    rows = ((name, fold.name, one) for fold in folds for name, one in fold.scores["cases"].items())
    for name, fold, scores in sorted(rows, key=lambda row: row[0]):
        cells = []
        for value in names:
            one = scores.get(str(value), {})
            cells += [shown(one.get("dice"), 3), shown(one.get("hd95_mm"), 1)]
        yield f"| {name} | {fold} | {' | '.join(cells)} |"
    yield "\n</details>"


def shown(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
