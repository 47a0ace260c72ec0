"""Which cases a classifier learns from, and which are kept out to score it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from napari_asmlp.errors import SettingsError
from napari_asmlp.training.classifier.dataset import ClassData

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PARTS = 5  # one of which is kept out where the data name no validation cases


@dataclass(frozen=True)
class ClassSplit:
    """Places of cases on either side, (N,) and (M,)."""

    training: NDArray[np.intp]
    kept_out: NDArray[np.intp]


def class_splits(data: ClassData, folds: int, seed: int) -> list[ClassSplit]:
    """Return one split, or `folds` of them that keep each case out once.

    Each class is as frequent on both sides, and no group of cases is on both.

    Raises
    ------
    SettingsError
        Where a class has too few cases, or groups of them.
    """
    validation = np.array([case.side == "validation" for case in data.cases])
    if not folds and validation.any():
        one = ClassSplit(np.flatnonzero(~validation), np.flatnonzero(validation))
        return [_checked(data, one)]
    least, name = min(
        (len({case.group for case in data.cases if case.output == n}), name)
        for n, name in enumerate(data.classes)
    )
    parts = folds or min(_PARTS, least)
    if least < max(parts, 2):
        raise SettingsError(
            f"{data.name}: class {name!r} has {least} cases that are not of one group; to keep some"
            f" out {max(parts, 2)} are needed"
        )
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    groups = [case.group for case in data.cases]
    splits = splitter.split(np.zeros(len(groups)), data.outputs, groups)
    found = [_checked(data, ClassSplit(training, kept_out)) for training, kept_out in splits]
    return found if folds else found[:1]


def _checked(data: ClassData, split: ClassSplit) -> ClassSplit:
    present = set(data.outputs[split.training].tolist())
    for n, name in enumerate(data.classes):
        if n not in present:
            raise SettingsError(f"{data.name}: no case to train on is of the class {name!r}")
    return split
