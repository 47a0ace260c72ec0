"""Corrections of a project, put together with the model that is fine-tuned by them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.card import Card, LabelEntry
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.model import Model
from napari_asmlp.pipeline.held_back import Sides, divided, held_back
from napari_asmlp.project import (
    UNKNOWN,
    Project,
    ProjectVolume,
    known_values,
    open_annotations,
    open_image,
)
from napari_asmlp.provenance import file_hash
from napari_asmlp.training.corrections import FIRST, OUTSIDE, REST, Outputs
from napari_asmlp.training.dataset import Case
from napari_asmlp.training.samples import PREPROCESSING, Sample, SampleFolder, on_model_grid, store
from napari_asmlp.training.trainer import Stage
from napari_asmlp.volume import Volume
from napari_asmlp.zoo import PALETTE

_MOST_LABELS, _HIGHEST = 250, 65535


@dataclass(frozen=True)
class Corrections:
    """What a model is fine-tuned by.

    Attributes
    ----------
    corrected : volumes with corrections
    rest : the project's other volumes, which only remind of what the model knew
    values : label values that corrections hold, but 0
    labels : label table of the fine-tuned model: that of the start model, then what is new
    """

    project: Project
    corrected: tuple[ProjectVolume, ...]
    rest: tuple[ProjectVolume, ...]
    values: tuple[int, ...]
    labels: tuple[LabelEntry, ...]
    sides: Sides

    def outputs(self, start: Card) -> Outputs:
        """Return what the outputs of the network mean."""
        output_of = {entry.value: n for n, entry in enumerate(self.labels, start=1)}
        named = frozenset(output_of[value] for value in self.values)
        return Outputs(len(start.labels) + 1, len(self.labels) + 1, named)

    def held(self, entry: ProjectVolume, image: Volume) -> NDArray[np.bool_] | None:
        """Return the voxels (i, j, k) that are checked on and not learnt from; None for none."""
        if entry.hash in self.sides.kept_out:
            return np.ones(image.grid.shape, bool)
        if entry.hash in self.sides.cut and entry.corrected is not None:
            return held_back(image.grid, entry.corrected)
        return None

    def record(self) -> dict[str, Any]:
        """Return plain values of what is learnt from: a resumed run must find the same."""
        return {
            entry.name: [entry.hash, file_hash(entry.annotations), str(entry.corrected)]
            for entry in self.corrected
            if entry.annotations is not None
        }


def read_corrections(
    project: Project, start: Card, records: Sequence[Mapping[str, Any]]
) -> Generator[Stage, None, Corrections]:
    """Look through all corrections.

    Parameters
    ----------
    start : card of the model to fine-tune
    records : of earlier sides, see `held_back.divided`

    Raises
    ------
    AsmlpError
        Where a volume cannot be used, which is named; or there is nothing to learn.
    """
    corrected = tuple(entry for entry in project.volumes if entry.corrected is not None)
    rest = tuple(entry for entry in project.volumes if entry.corrected is None)
    if not corrected:
        raise SettingsError(
            "no volume of the project is marked as corrected; say which are, or which regions"
        )
    values: set[int] = set()
    for done, entry in enumerate(corrected):
        yield Stage("reading", done, len(corrected))
        values |= _values(project, entry, start)
    if not values:
        raise VolumeError("the corrections hold background only: nothing to learn")
    labels = _label_table(project, start, sorted(values))
    cases = [Case(entry.name, entry.images, Path(), hash=entry.hash) for entry in corrected]
    sides = divided(cases, records)
    return Corrections(project, corrected, rest, tuple(sorted(values)), labels, sides)


def iter_samples(
    corrections: Corrections, start: Model, folder: Path, *, with_rest: bool
) -> Generator[Stage, None, SampleFolder]:
    """Bring what is learnt from to the model grid, in a folder.

    Parameters
    ----------
    with_rest : whether volumes without corrections are there, too
    """
    entries = [
        entry for entry in corrections.corrected if entry.hash not in corrections.sides.kept_out
    ]
    entries += corrections.rest if with_rest else ()
    known, found = corrections.record(), []
    for done, entry in enumerate(entries):
        yield Stage("preparing", done, len(entries))
        parts = (
            *map(str, (entry.hash, known.get(entry.name), corrections.labels)),
            str(entry.hash in corrections.sides.cut),
            PREPROCESSING.dump_json(start.card.preprocessing).decode(),
        )
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
        store(folder, key, functools.partial(_sample, corrections, entry, start.card))
        found.append((key, entry.name))
    return SampleFolder(folder, found)


def _sample(corrections: Corrections, entry: ProjectVolume, start: Card) -> Sample:
    """Return a volume with classes as of `training.corrections`."""
    image = _image(entry, start)
    classes = np.full(image.grid.shape, REST, np.uint8)
    if entry.corrected is not None:
        known = known_values(corrections.project, entry, open_annotations(entry, image))
        for number, value in enumerate((0, *(label.value for label in corrections.labels))):
            classes[known == value] = FIRST + number
        held = corrections.held(entry, image)
        if held is not None:
            classes[held & (known != UNKNOWN)] = OUTSIDE
    return on_model_grid(entry.name, image, classes, start.preprocessing)


def _values(project: Project, entry: ProjectVolume, start: Card) -> set[int]:
    """Return the label values that the corrections of a volume hold."""
    known = known_values(project, entry, open_annotations(entry, _image(entry, start)))
    found = set(np.unique(known).tolist())
    if found <= {UNKNOWN}:
        raise VolumeError(f"volume {entry.name!r}: nothing in it counts as corrected")
    if max(found) > _HIGHEST:
        raise VolumeError(
            f"volume {entry.name!r}: label value {max(found)} is over {_HIGHEST}, the highest that"
            " a model can have"
        )
    return found - {UNKNOWN, 0}


def _image(entry: ProjectVolume, start: Card) -> Volume:
    image = open_image(entry)
    if image.channels != start.in_channels:
        raise VolumeError(
            f"volume {entry.name!r}: {image.channels} channels, but model {start.name!r} takes"
            f" {start.in_channels}"
        )
    return image


def _label_table(project: Project, start: Card, values: Sequence[int]) -> tuple[LabelEntry, ...]:
    """Add labels that are new to those of the start model; refuse one value of two names."""
    theirs = {entry.value: entry for entry in start.labels}
    mine = {entry.value: entry for entry in project.classes}
    for value in theirs.keys() & mine.keys() & set(values):
        if theirs[value].name.casefold() != mine[value].name.casefold():
            raise SettingsError(
                f"label value {value} is {theirs[value].name!r} in model {start.name!r} and"
                f" {mine[value].name!r} in the project; give what is new a value of its own"
            )
    new = [value for value in values if value not in theirs]
    if len(theirs) + len(new) > _MOST_LABELS:
        raise SettingsError(
            f"{len(theirs) + len(new)} labels, {len(new)} of them new, are over {_MOST_LABELS}"
        )
    colours = [
        LabelEntry(value, f"label {value}", PALETTE[(len(theirs) + n) % len(PALETTE)])
        for n, value in enumerate(new)
    ]
    added = [
        replace(entry, name=mine[entry.value].name, colour=mine[entry.value].colour)
        if entry.value in mine
        else entry
        for entry in colours
    ]
    return (*start.labels, *added)
