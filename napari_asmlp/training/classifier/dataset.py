"""What a classifier learns from: an .npz in MedMNIST's form, or a CSV of files and their classes.

The .npz holds ``train_images`` (N, X, Y, Z), in a fifth axis channels, ``train_labels`` (N,) or
(N, 1), and perhaps ``val_images`` and ``val_labels``; anything else in it, test cases above all, is
not read. Its volumes have no grid and count as voxels of 1 mm along R, A and S.

The CSV has a header with the columns ``path`` and ``label``, and perhaps

``labels``, ``object`` : a label file on the grid of `path`, and which value in it the row is about
``split`` : ``train``, ``val`` or ``test``; rows of the last are not read
``group`` : rows of one group, such as a patient, are never on both sides; by default those of
    one `path`

Paths count from the folder of the CSV.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_asmlp.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Side = Literal["training", "validation"]
_SIDES: dict[str, Side | None] = {
    "": "training",
    "train": "training",
    "training": "training",
    "val": "validation",
    "validation": "validation",
    "test": None,
}
_OPTIONAL = ("labels", "object", "split", "group")


@dataclass(frozen=True, eq=False)
class ClassCase:
    """A volume or an object, and its class.

    Attributes
    ----------
    name : what messages call it
    output : place of its class among the classes
    group : cases of one group stay on one side
    array : (X, Y, Z) or (X, Y, Z, C) of an .npz; else there is a path
    labels, object : label file and value, where it is about an object
    """

    name: str
    output: int
    side: Side
    group: str
    array: NDArray[Any] | None = None
    path: Path | None = None
    labels: Path | None = None
    object: int | None = None


@dataclass(frozen=True)
class ClassData:
    """Cases, and the names of the classes in the order of the network's outputs."""

    name: str
    classes: tuple[str, ...]
    cases: tuple[ClassCase, ...]

    def __post_init__(self) -> None:
        """Refuse data with nothing to tell apart."""
        counts = np.bincount([case.output for case in self.cases], minlength=len(self.classes))
        if len(self.cases) and (counts > 0).sum() < 2:
            only = self.classes[int(counts.argmax())]
            raise SettingsError(
                f"{self.name}: all {len(self.cases)} cases are of the class {only!r}; a classifier"
                " needs two"
            )
        for name, count in zip(self.classes, counts, strict=True):
            if not count:
                raise SettingsError(f"{self.name}: holds no case of the class {name!r}")

    @property
    def outputs(self) -> NDArray[np.int64]:
        """Place of each case's class, (N,)."""
        return np.array([case.output for case in self.cases], np.int64)


def read_class_data(path: Path, classes: Sequence[str] = ()) -> ClassData:
    """Read what there is to learn from; volumes of a CSV are read later.

    Parameters
    ----------
    path : an .npz or a CSV
    classes : names in the order of the network's outputs; by default those of the data

    Raises
    ------
    SettingsError
        Saying the file and the line, where data and classes are unusable.
    """
    if len(set(classes)) != len(classes) or "" in classes:
        raise SettingsError(f"classes {','.join(classes)!r}: give each a name of its own")
    if not path.is_file():
        raise SettingsError(f"{path}: there is no such file; give an .npz or a CSV")
    if path.suffix == ".npz":
        return _from_npz(path, tuple(classes))
    if path.suffix == ".csv":
        return _from_csv(path, tuple(classes))
    raise SettingsError(f"{path.name}: give an .npz in MedMNIST's form, or a CSV of path,label")


def _from_npz(path: Path, classes: tuple[str, ...]) -> ClassData:
    try:
        with np.load(path, allow_pickle=False) as file:
            sides: dict[Side, str] = {"training": "train"}
            if "val_images" in file:
                sides["validation"] = "val"
            arrays = {
                side: (file[f"{key}_images"], file[f"{key}_labels"]) for side, key in sides.items()
            }
    except KeyError as error:
        raise SettingsError(f"{path.name}: {error.args[0]}; see `train-classifier -h`") from error
    except ValueError as error:  # numpy's advice would be to run the code in it
        raise SettingsError(
            f"{path.name}: not a readable .npz: damaged, or not of numbers"
        ) from error
    except (OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise SettingsError(f"{path.name}: not a readable .npz: {error}") from error
    cases: list[ClassCase] = []
    for side, (images, labels) in arrays.items():
        outputs = _npz_outputs(path.name, sides[side], images, labels)
        for n, (image, output) in enumerate(zip(images, outputs.tolist(), strict=True)):
            name = f"{sides[side]}_images[{n}]"
            cases.append(ClassCase(f"{path.name} {name}", output, side, name, array=image))
    if not cases:
        raise SettingsError(f"{path.name}: holds no case")
    count = 1 + max(case.output for case in cases)
    if classes and count > len(classes):
        raise SettingsError(
            f"{path.name}: holds the class {count - 1}, but only {len(classes)} have names"
            f" ({', '.join(classes)}, counted from 0)"
        )
    return ClassData(path.name, classes or tuple(map(str, range(count))), tuple(cases))


def _npz_outputs(
    name: str, key: str, images: NDArray[Any], labels: NDArray[Any]
) -> NDArray[np.int64]:
    """Return the classes of images, (N,); raises `SettingsError` where they do not fit."""
    if images.ndim not in (4, 5):
        raise SettingsError(
            f"{name}: {key}_images has shape {images.shape}; volumes are (N, X, Y, Z), with"
            " channels in a fifth axis"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images):
        raise SettingsError(
            f"{name}: {key}_labels has shape {labels.shape} for {len(images)} images"
        )
    if labels.dtype.kind not in "iub" or (
        len(labels) and not 0 <= labels.min() <= labels.max() < 1000
    ):
        raise SettingsError(f"{name}: {key}_labels: classes are whole numbers from 0 to 999")
    return labels.astype(np.int64)


def _from_csv(path: Path, classes: tuple[str, ...]) -> ClassData:
    rows = _rows(path)
    known = classes or tuple(sorted({row["label"] for _, row in rows}, key=_by_number))
    cases = [_row_case(path, line, row, known) for line, row in rows]
    return ClassData(path.name, known, tuple(cases))


def _by_number(name: str) -> tuple[bool, int, str]:
    """Order numbers by their value, before words."""
    return (False, int(name), "") if name.isdecimal() else (True, 0, name)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return lines and their values but for those of test cases."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            missing = [name for name in ("path", "label") if name not in header]
            if missing:
                raise SettingsError(
                    f"{path.name}: its first line names no column {' or '.join(map(repr, missing))}"
                    f" (it has {', '.join(header) or 'none'})"
                )
            reader.fieldnames = header
            rows = [(reader.line_num, _checked_row(path, reader.line_num, row)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path.name}: not a readable CSV: {error}") from error
    rows = [(line, row) for line, row in rows if _SIDES[row["split"]] is not None]
    if not rows:
        raise SettingsError(f"{path.name}: holds no case")
    return rows


def _checked_row(path: Path, line: int, row: Mapping[str | None, Any]) -> dict[str, str]:
    where = f"{path.name}, line {line}"
    if None in row or None in row.values():
        raise SettingsError(f"{where}: has another number of values than the first line has names")
    values = {str(key): str(value).strip() for key, value in row.items()}
    values = dict.fromkeys(_OPTIONAL, "") | values
    for name in ("path", "label"):
        if not values[name]:
            raise SettingsError(f"{where}: no {name}")
    values["split"] = values["split"].lower()
    if values["split"] not in _SIDES:
        raise SettingsError(f"{where}: split {values['split']!r}: say train, val or test")
    if bool(values["labels"]) != bool(values["object"]):
        raise SettingsError(f"{where}: an object needs both, a file in `labels` and its value")
    if values["object"] and not (values["object"].isdecimal() and int(values["object"]) > 0):
        raise SettingsError(f"{where}: object {values['object']!r}: a label value from 1 up")
    return values


def _row_case(path: Path, line: int, row: Mapping[str, str], classes: tuple[str, ...]) -> ClassCase:
    where, label = f"{path.name}, line {line}", row["label"]
    if label not in classes:
        raise SettingsError(f"{where}: class {label!r} is none of {', '.join(classes)}")
    files = {name: path.parent / row[name] for name in ("path", "labels") if row[name]}
    for file in files.values():
        if not file.exists():
            raise SettingsError(f"{where}: there is no file {file}")
    side = _SIDES[row["split"]]
    return ClassCase(
        where,
        classes.index(label),
        side or "training",
        row["group"] or str(files["path"].resolve()),
        path=files["path"],
        labels=files.get("labels"),
        object=int(row["object"]) if row["object"] else None,
    )
