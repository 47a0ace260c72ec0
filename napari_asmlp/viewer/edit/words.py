"""How the panel calls planes, slices and changes: as they are shown, not as in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_asmlp.edit import Change
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Orientation
from napari_asmlp.viewer.edit.table import title_of
from napari_asmlp.viewer.layers import AXIS_LABELS, volume_of

if TYPE_CHECKING:
    from napari.layers import Labels

_PLANES = ("axial", "coronal", "sagittal")  # across the layer's axes S, A and R
_MOST_NAMED = 4  # labels in the text of a change


def plane_titles(layer: Labels | None) -> tuple[str, str, str]:
    """Return how the planes across a layer's axes are called: by anatomy only where it has one."""
    if layer is None or layer.ndim != len(AXIS_LABELS) or tuple(layer.axis_labels) == AXIS_LABELS:
        return _PLANES
    first, second, third = layer.axis_labels
    if first.startswith("-"):  # napari counts unnamed axes from the end
        return "axis 0", "axis 1", "axis 2"
    return f"{first} axis", f"{second} axis", f"{third} axis"


def slice_title(layer: Labels, across: int, shown: int) -> str:
    """Return how a slice is called: ``axial slice 3``, or ``slice 3 of the z axis``."""
    plane = plane_titles(layer)[across]
    if plane in _PLANES:
        return f"{plane} slice {shown}"
    return f"slice {shown} of {plane if plane.startswith('axis') else f'the {plane}'}"


def as_shown(text: str, layer: Labels) -> str:
    """Return a tool's message with the file's slices and axes in it called as they are shown."""
    turn, planes = turn_of(layer), plane_titles(layer)

    def slice_shown(found: re.Match[str]) -> str:
        across = turn.axes.index(int(found[2]))
        shown = source_slice(layer, across, int(found[1]))  # turning is its own inverse
        return slice_title(layer, across, shown)

    def axis_shown(found: re.Match[str]) -> str:
        plane = planes[turn.axes.index(int(found[1]))]
        return f"the {plane} direction" if plane in _PLANES else plane

    by_slice = re.split(r"(slice \d+ of axis [0-2])", text)
    return "".join(
        re.sub(r"slice (\d+) of axis ([0-2])", slice_shown, part)
        if n % 2
        else re.sub(r"axis ([0-2])", axis_shown, part)
        for n, part in enumerate(by_slice)
    )


def turn_of(layer: Labels) -> Orientation:
    """Return how the axes of the file are turned to those of the layer.

    Raises
    ------
    SettingsError
        If the layer is no volume.
    """
    return volume_of(layer).grid.orientation("".join(AXIS_LABELS))


def source_slice(layer: Labels, across: int, shown: int) -> int:
    """Return the index in the file of a slice counted as the slider counts, or the other way round.

    Raises
    ------
    SettingsError
        If the layer has no such slice.
    """
    size = layer.data.shape[across]
    if not 0 <= shown < size:
        raise SettingsError(f"{slice_title(layer, across, shown)}: give one from 0 to {size - 1}")
    return size - 1 - shown if turn_of(layer).flips[across] else shown


def change_text(change: Change, names: Mapping[int, str], done: bool = False) -> str:
    """Return a change in one line: ``30 voxels would change: +20 anterior, −10 posterior``."""
    if not change.count:
        return "Nothing to change" if done else "No voxel would change"
    gained, lost = change.gained, change.lost
    values = sorted({*gained, *lost} - {0}, key=lambda v: -gained.get(v, 0) - lost.get(v, 0))
    parts = []
    for value in values[:_MOST_NAMED]:
        counts = [f"+{gained[value]:,}"] if value in gained else []
        counts += [f"−{lost[value]:,}"] if value in lost else []
        parts.append(f"{' '.join(counts)} {title_of(value, names)}")
    if len(values) > _MOST_NAMED:
        parts.append(f"and {len(values) - _MOST_NAMED} more")
    voxels = "1 voxel" if change.count == 1 else f"{change.count:,} voxels"
    return f"{voxels} {'changed' if done else 'would change'}: {', '.join(parts)}"
