"""From what the panel says to jobs that can run beside it; no window."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, SettingsError
from napari_asmlp.evaluate import iter_score_labels
from napari_asmlp.measure import (
    ADDED,
    RELABELLED,
    REMOVED,
    changes,
    iter_measure,
)
from napari_asmlp.viewer.layers import check_same_grid, labels_on, volume_of
from napari_asmlp.viewer.tasks import Job

if TYPE_CHECKING:
    from napari_asmlp.model import LabelEntry

Scores = Mapping[str, Mapping[str, float | None]]

_CHANGES = (  # as colour-blind people tell them apart too
    (ADDED, "added", "#009e73"),
    (REMOVED, "removed", "#d55e00"),
    (RELABELLED, "other label", "#56b4e9"),
)


@dataclass(frozen=True)
class Compared:
    """What comparing two labels layers found.

    Attributes
    ----------
    scores : by label value, as text: ``dice``, ``hd95_mm``, ``assd_mm``
    changes : uint8 (i, j, k), see `napari_asmlp.measure.changes`
    """

    scores: Scores
    changes: NDArray[np.uint8]


def measuring(layer: Labels, image: Image | None, *, objects: bool) -> Job:
    """Return the job that measures a labels layer as it is when it runs.

    Raises
    ------
    AsmlpError
        If a layer is no volume, or the two lie on different grids.
    """
    labels = volume_of(layer)
    if image is not None:
        check_same_grid(layer, image)
    voxels = None if image is None else volume_of(image)
    return Job(
        f"measurements of {layer.name}", lambda: iter_measure(labels, voxels, objects=objects)
    )


def comparison(layer: Labels, other: Labels | None) -> Job:
    """Return the job that compares a labels layer with another one, the reference.

    Raises
    ------
    AsmlpError
        If there is no other, a layer is no volume, or the two lie on different grids.
    """
    if other is None or other is layer:
        raise SettingsError("choose another labels layer to compare with")
    labels, reference = volume_of(layer), volume_of(other)
    if not labels.grid.same_as(reference.grid):
        raise GridError(
            f"labels {layer.name!r} and {other.name!r} lie on different grids"
            f" ({labels.grid.difference(reference.grid)}): compare labels of one image"
        )

    def work() -> Generator[tuple[int, int], None, Compared]:
        scores = yield from iter_score_labels(labels, reference)
        return Compared(scores, changes(labels.array(), reference.array()))

    return Job(f"comparison of {layer.name}", work)


def changes_layer(layer: Labels, other: Labels, found: NDArray[np.uint8]) -> Labels:
    """Return a layer that shows what was added to and removed from another one."""
    entries = _entries()
    return labels_on(layer, found, entries, f"{layer.name} against {other.name}")


def _entries() -> list[LabelEntry]:
    from napari_asmlp.model import LabelEntry  # and with it torch

    return [LabelEntry(*each) for each in _CHANGES]
