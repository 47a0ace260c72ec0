"""What follows from data and recipe before anything is learnt."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_asmlp.errors import SettingsError
from napari_asmlp.model import Preprocessing
from napari_asmlp.preprocess import place
from napari_asmlp.provenance import file_hash
from napari_asmlp.training.dataset import Case, Dataset, examined, read_dataset
from napari_asmlp.training.fingerprint import crop_shape, fixed_intensities, target_spacing
from napari_asmlp.training.folds import Split, named_split, split
from napari_asmlp.training.recipe import Recipe
from napari_asmlp.training.samples import PREPROCESSING, SampleFolder, prepare
from napari_asmlp.training.trainer import Stage

_AXIS_CODES = "RAS"


@dataclass(frozen=True)
class TrainPlan:
    """Which cases are learnt from, and how they are brought to the network.

    Attributes
    ----------
    crop : voxels of a training crop
    extents_mm : of the cases trained on, on the model grid
    tilt_degrees : the strongest of these cases
    """

    dataset: Dataset
    split: Split
    preprocessing: Preprocessing
    crop: tuple[int, int, int]
    extents_mm: list[tuple[float, float, float]]
    tilt_degrees: float

    def data(self) -> dict[str, Any]:
        """Return plain values of what is learnt from: a resumed run must find the same."""
        cases = (*self.split.training, *self.split.held_out)
        table = self.dataset.labels
        meaning = {"regions": [list(part) for part in table.regions], "ignore": table.ignore}
        return {
            "label table": {str(value): name for value, name in table.names.items()}
            | {key: value for key, value in meaning.items() if value},
            "crop": list(self.crop),
            "preprocessing": PREPROCESSING.dump_python(self.preprocessing, mode="json"),
            "labels": {case.hash: file_hash(case.labels) for case in cases},
        }


def check_data(plan: TrainPlan, earlier: Mapping[str, Any]) -> None:
    """Raise a `SettingsError` where a run would go on with other data; cases may have come.

    Parameters
    ----------
    earlier : what `TrainPlan.data` gave when the run began
    """
    now = plan.data()
    known = {key: now["labels"].get(key) for key in earlier.get("labels", {})}
    for what, value in (now | {"labels": known}).items():
        if earlier.get(what) != value:
            raise SettingsError(
                f"the data set's {what} changed since the run began, so it cannot be resumed:"
                " bring that back, or begin anew with --overwrite"
            )


def make_train_plan(
    folder: Path,
    volume: int | None,
    recipe: Recipe,
    earlier: Mapping[str, Any],
    splits: Path | None = None,
) -> Generator[Stage, None, TrainPlan]:
    """Examine the cases, split them, and take spacing, crop and intensities from their statistics.

    Parameters
    ----------
    folder, volume : of the data set, see `read_dataset`
    earlier : the split to keep to, see `split`
    splits : file that says which case is on which side, see `named_split`
    """
    dataset = read_dataset(folder, volume)
    if dataset.note:
        yield Stage("reading", 0, len(dataset.cases), dataset.note)
    cases: list[Case] = []
    for case in examined(dataset.cases):
        cases.append(case)
        yield Stage("reading", len(cases), len(dataset.cases))
    if splits is None:
        parts = split(cases, recipe.fold, earlier)
    else:
        parts = named_split(cases, splits, recipe.fold, earlier)
    if parts.note:
        yield Stage("reading", 1, 1, parts.note)
    grids = [case.open_images()[0].grid for case in parts.training]
    preprocessing = Preprocessing(
        spacing=recipe.spacing or target_spacing(grids, _AXIS_CODES),
        axis_codes=_AXIS_CODES,
        fixed=fixed_intensities(parts.training, dataset.channel_names, dataset.labels.ignore),
    )
    placed = [place(grid, preprocessing).model_grid for grid in grids]
    crop = recipe.crop or crop_shape(placed, recipe)
    extents, tilt = [grid.extent_mm for grid in placed], max(grid.tilt_degrees for grid in grids)
    return TrainPlan(dataset, parts, preprocessing, crop, extents, tilt)


def prepare_samples(
    plan: TrainPlan, folder: Path
) -> Generator[Stage, None, tuple[SampleFolder, SampleFolder]]:
    """Bring all cases to the model grid, in a folder; return those to train on and those held out.

    Raises
    ------
    AsmlpError
        Where labels and image do not lie on one grid, or a label is not declared.
    """
    sides: list[SampleFolder] = []
    done, total = 0, len(plan.split.training) + len(plan.split.held_out)
    for cases in (plan.split.training, plan.split.held_out):
        entries: list[tuple[str, str]] = []
        for entry in prepare(folder, cases, plan.dataset.labels, plan.preprocessing):
            entries.append(entry)
            done += 1
            yield Stage("preparing", done, total)
        sides.append(SampleFolder(folder, entries))
    return sides[0], sides[1]
