"""Compare predicted labels with reference labels, file by file: pairs of volumes to one table.

A *case* is one pair of files; its *scores* are the measures of one label in it. The result has the
form that `CLI.md` promises and is plain JSON: a measure that has no value is None.

- A label that is empty on both sides of a case has no scores there and stays out of the means.
- A label that is empty on one side has Dice 0, volumes, and no distances.

Of the model's *doubts*, probabilities or uncertainty, it says what they are worth, over the voxels
where prediction or reference is not background; see `napari_asmlp.calibration`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_asmlp import io
from napari_asmlp.calibration import Reliability, RiskCoverage
from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.measure import boxes_of, dice, surface_distances, volume_mm3, voxel_mm3

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from napari_asmlp.grid import Grid
    from napari_asmlp.volume import Labels, Volume

    Scores = dict[str, float | None]
    Case = dict[str, Scores]  # keyed by label value, as text

MEASURES = ("dice", "hd95_mm", "assd_mm", "volume_mm3", "reference_mm3")
_DECIMALS = {"dice": 4, "hd95_mm": 2, "assd_mm": 3, "volume_mm3": 1, "reference_mm3": 1}
_NO_SCORES: Scores = dict.fromkeys(MEASURES)


@dataclass(frozen=True)
class Doubts:
    """What a model wrote about its own predictions: files, or folders with the same names.

    Attributes
    ----------
    probabilities : of each output, as channels
    uncertainty : from 0 to 1; of several channels the first
    """

    probabilities: Path | None = None
    uncertainty: Path | None = None


def evaluate(
    predictions: Path,
    references: Path,
    *,
    volume: int | None = None,
    doubts: Doubts | None = None,
    ignore: int | None = None,
) -> dict[str, Any]:
    """Score predicted labels against reference labels.

    Parameters
    ----------
    predictions, references : Path
        Two folders, whose volumes are paired by name without suffix, or two files, which are a
        pair whatever their names.
    volume : int, optional
        Which volume of 4D files.
    doubts : Doubts, optional
        To be judged as well.
    ignore : int, optional
        Value of reference voxels that nobody annotated: they are left out.

    Returns
    -------
    dict
        ``{"cases": {name: {label: scores}}, "mean": {label: scores, "all": scores}}`` where scores
        are those of `MEASURES`, and "all" is the mean over the means of the labels. With `doubts`
        also ``"calibration"``: voxels, and of what is there the expected calibration error
        (``ece``), the share of errors (``risk``) and the ``risk_coverage_area``. Where a file
        names its labels also ``"names"``, by label, a reference's before a prediction's; and
        ``"notes"`` on files that were read with reservations.

    Raises
    ------
    SettingsError
        A path does not exist, a file has no partner, two files of a folder have one name.
    VolumeError
        A file cannot be opened (such as a link to a file that is not there), is not a label
        volume, or a folder holds no volumes.
    GridError
        The two files of a pair lie on different grids.
    """
    steps = iter_evaluate(predictions, references, volume=volume, doubts=doubts, ignore=ignore)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return dict(end.value)


def iter_evaluate(
    predictions: Path,
    references: Path,
    *,
    volume: int | None = None,
    doubts: Doubts | None = None,
    ignore: int | None = None,
) -> Generator[tuple[int, int], None, dict[str, Any]]:
    """Do what `evaluate` does, yielding (cases done, cases in all) before the first and after each.

    Everything about names is checked before the first yield.
    """
    pairs = _pairs(predictions, references)
    io.check_volumes([file for pair in pairs.values() for file in pair])
    judge = None if doubts is None else _Judge(predictions, doubts)
    cases: dict[str, Case] = {}
    names: dict[int, str] = {}
    notes: list[str] = []
    yield 0, len(pairs)
    for name, files in pairs.items():
        predicted, expected = without(ignore, *_read_pair(*files, volume))
        cases[name] = score_labels(predicted, expected)
        names = {**predicted.label_names, **expected.label_names, **names}
        notes += [*predicted.notes, *expected.notes]
        if judge is not None:
            judge.take(name, predicted, expected)
        yield len(cases), len(pairs)
    result = summarise(cases) | ({} if judge is None else {"calibration": judge.found()})
    known = {label: names[int(label)] for label in _scored(result) if int(label) in names}
    return result | ({"names": known} if known else {}) | ({"notes": notes} if notes else {})


def summarise(cases: Mapping[str, Case]) -> dict[str, Any]:
    """Return what `evaluate` returns: scores of each label in each case, and their means."""
    labels = sorted({label for case in cases.values() for label in case}, key=int)
    complete = {
        name: {label: case.get(label, dict(_NO_SCORES)) for label in labels}
        for name, case in cases.items()
    }
    return {"cases": complete, "mean": _means(complete.values(), labels)}


def format_table(result: dict[str, Any]) -> str:
    """Lay out a result of `evaluate` as plain text: a row per case and label, then the means."""
    header = ("case", "label", *MEASURES)
    rows = [header]
    titles = {label: f"{label} {name}" for label, name in result.get("names", {}).items()}
    for name, case in (*result["cases"].items(), ("mean", result["mean"])):
        rows += [(name, titles.get(label, label), *_texts(s)) for label, s in case.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    means = len(lines) - len(result["mean"])
    rule = "-" * len(lines[0])
    table = [lines[0], rule, *lines[1:means], rule, *lines[means:]]
    for name, value in result.get("calibration", {}).items():
        if value is not None:
            table.append(f"{name}: {value:.4g}")
    return "\n".join(table)


def _scored(result: Mapping[str, Any]) -> list[str]:
    """Return the labels, as text, that a result has scores of."""
    return [label for label in result["mean"] if label != "all"]


def _pairs(predictions: Path, references: Path) -> dict[str, tuple[Path, Path]]:
    """Case name to (prediction, reference), in order of names."""
    predicted, expected = _by_name(predictions), _by_name(references)
    if not (predictions.is_dir() or references.is_dir()):
        return {io.base_name(predictions): (predictions, references)}
    lonely = sorted(predicted.keys() ^ expected.keys())
    if lonely:
        name = lonely[0]
        path, other = (
            (predicted[name], references) if name in predicted else (expected[name], predictions)
        )
        more = f" ({len(lonely) - 1} more without one)" if len(lonely) > 1 else ""
        raise SettingsError(f"{path}: no file of that name in {other}{more}; add or remove one")
    return {name: (predicted[name], expected[name]) for name in sorted(predicted)}


def _by_name(path: Path) -> dict[str, Path]:
    if not os.path.lexists(path):
        raise SettingsError(f"{path}: no such file or folder")
    found: dict[str, Path] = {}
    for file in io.volumes_in(path) if path.is_dir() else [path]:
        name = io.base_name(file)
        if name in found:
            raise SettingsError(f"{found[name]} and {file}: same name twice; keep one of them")
        found[name] = file
    return found


def _read_pair(prediction: Path, reference: Path, volume: int | None) -> tuple[Volume, Volume]:
    predicted = io.read_volume(prediction, volume=volume, kind="labels")
    expected = io.read_volume(reference, volume=volume, kind="labels")
    if not predicted.grid.same_as(expected.grid):
        raise GridError(
            f"{prediction} and {reference} lie on different grids"
            f" ({predicted.grid.difference(expected.grid)}); bring them to the same one"
        )
    return predicted, expected


class _Judge:
    """Gathers what doubts are worth, case by case."""

    def __init__(self, predictions: Path, doubts: Doubts) -> None:
        def paired(path: Path | None) -> dict[str, Path]:
            if path is None:
                return {}
            found = {name: other for name, (_, other) in _pairs(predictions, path).items()}
            io.check_volumes(list(found.values()))
            return found

        self._probabilities = paired(doubts.probabilities)
        self._uncertainty = paired(doubts.uncertainty)
        self._reliability, self._curve = Reliability(), RiskCoverage()
        self._voxels = 0

    def take(self, name: str, prediction: Volume, reference: Volume) -> None:
        """Take a case in."""
        predicted, expected = prediction.array(), reference.array()
        where = (predicted > 0) | (expected > 0)
        right = predicted[where] == expected[where]
        self._voxels += right.size
        if path := self._probabilities.get(name):
            self._reliability.add(_read_doubts(path, prediction)[where].max(axis=-1), right)
        if path := self._uncertainty.get(name):
            found = _read_doubts(path, prediction)[where][:, 0]
            self._curve.add(np.rint(255 * found).astype(np.uint8), ~right)

    def found(self) -> dict[str, Any]:
        """Return the figures, None where there is nothing to say."""
        return {
            "voxels": self._voxels,
            "ece": self._reliability.error,
            "risk": self._curve.risk,
            "risk_coverage_area": self._curve.area,
        }


def _read_doubts(path: Path, prediction: Volume) -> Any:
    """Read numbers from 0 to 1 on the grid of a prediction, (i, j, k, channels)."""
    volume = io.read_volume(path)
    if not volume.grid.same_as(prediction.grid):
        raise GridError(
            f"{path} and {prediction.path} lie on different grids"
            f" ({volume.grid.difference(prediction.grid)})"
        )
    values = volume.array()
    if values.min() < 0 or values.max() > 1.001:  # rounding of what is stored as integers
        raise VolumeError(
            f"{path}: {values.min():g} to {values.max():g}; probabilities and uncertainties lie"
            " between 0 and 1"
        )
    return values if values.ndim == 4 else values[..., np.newaxis]


def without(ignore: int | None, prediction: Volume, reference: Volume) -> tuple[Volume, Volume]:
    """Return both with background in the reference's voxels to ignore, which no score then sees."""
    expected = reference.array()
    if ignore is None or not (left_out := expected == ignore).any():
        return prediction, reference
    masked = [np.where(left_out, 0, labels.array()) for labels in (prediction, reference)]
    return replace(prediction, data=masked[0]), replace(reference, data=masked[1])


def score_labels(
    prediction: Volume, reference: Volume, regions: Mapping[int, Sequence[int]] | None = None
) -> Case:
    """Return the scores of every label that occurs in one of two volumes on the same grid.

    Parameters
    ----------
    regions : label values that each of these comprises, to score regions in place of labels
    """
    if regions:
        return _score_regions(prediction, reference, regions)
    steps = iter_score_labels(prediction, reference)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return dict(end.value)


def iter_score_labels(
    prediction: Volume, reference: Volume
) -> Generator[tuple[int, int], None, Case]:
    """Do what `score_labels` does, yielding (labels done, labels in all) before each."""
    predicted, expected = prediction.array(), reference.array()
    boxes = _boxes(predicted, expected)
    case: Case = {}
    for value, box in boxes.items():
        yield len(case), len(boxes)
        case[str(value)] = _scores(predicted[box] == value, expected[box] == value, reference.grid)
    return case


def _score_regions(
    prediction: Volume, reference: Volume, regions: Mapping[int, Sequence[int]]
) -> Case:
    """Return the scores of every region that occurs, under the label value it is written as."""
    case: Case = {}
    for value, members in regions.items():
        pair = [np.isin(labels.array(), members) for labels in (prediction, reference)]
        if box := boxes_of((pair[0] | pair[1]).astype(np.uint8)).get(1):
            case[str(value)] = _scores(pair[0][box], pair[1][box], reference.grid)
    return case


def _scores(found: NDArray[np.bool_], wanted: NDArray[np.bool_], grid: Grid) -> Scores:
    """Return the measures of a label in two boxes of a grid."""
    voxel = voxel_mm3(grid.affine)
    distances = surface_distances(found, wanted, grid.spacing)
    return {
        "dice": dice(found, wanted),
        "hd95_mm": distances.hausdorff95,
        "assd_mm": distances.average,
        "volume_mm3": volume_mm3(found, voxel),
        "reference_mm3": volume_mm3(wanted, voxel),
    }


def _boxes(*arrays: Labels) -> dict[int, tuple[slice, ...]]:
    """Return the box around each label in all arrays together: most labels are small."""
    boxes: dict[int, tuple[slice, ...]] = {}
    for array in arrays:
        for value, box in boxes_of(array).items():
            other = boxes.get(value, box)
            boxes[value] = tuple(
                slice(min(a.start, b.start), max(a.stop, b.stop))
                for a, b in zip(box, other, strict=True)
            )
    return dict(sorted(boxes.items()))


def _means(cases: Iterable[Case], labels: list[str]) -> Case:
    cases = list(cases)
    means = {label: _mean(case[label] for case in cases) for label in labels}
    return {**means, "all": _mean(means.values())}


def _mean(scores: Iterable[Scores]) -> Scores:
    """Mean of each measure over those that have it, None where none has."""
    scores = list(scores)
    known = {m: [value for s in scores if (value := s[m]) is not None] for m in MEASURES}
    return {m: float(np.mean(values)) if values else None for m, values in known.items()}


def _texts(scores: Scores) -> Iterator[str]:
    for measure in MEASURES:
        value = scores[measure]
        yield "-" if value is None else f"{value:.{_DECIMALS[measure]}f}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)])
