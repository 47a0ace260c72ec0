"""What all tools share: the checks of what they are given, the labels to edit, and the rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, ClassVar, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_asmlp.edit.change import (
    LARGEST_VALUE,
    Box,
    Change,
    Labels,
    Mask,
    Target,
    among,
    bounding_box,
    difference,
    placed,
    slabs,
    within,
)
from napari_asmlp.errors import GridError, SettingsError, VolumeError

Spacing = tuple[float, float, float]
Image = NDArray[Any]

Connectivity = Literal[6, 8, 18, 26]  # 8 in 2D


class Tool(ABC):
    """An edit of labels, as a value: its fields are the settings, calling it computes the change.

    Attributes
    ----------
    title
        What a menu calls it.
    needs_image
        Whether it looks at the image under the labels.
    """

    title: ClassVar[str]
    needs_image: ClassVar[bool] = False

    def __call__(
        self, labels: Labels, target: Target, spacing: Spacing, image: Image | None = None
    ) -> Change:
        """Compute what the edit would alter; nothing is altered yet.

        Parameters
        ----------
        labels : integer array (i, j, k)
            Not negative, up to 65,535; 0 is background.
        target
            What may be edited.
        spacing : mm per voxel along i, j, k
        image : array (i, j, k)
            Only for tools that need one.

        Raises
        ------
        VolumeError
            The labels are no 3D array of whole numbers from 0 to 65,535 in memory.
        GridError
            The image has another shape than the labels.
        SettingsError
            A setting is out of range, or the label to edit is empty or locked.
        """
        _check_labels(labels)
        _check_target(labels, target)
        require(
            all(isfinite(mm) and mm > 0 for mm in spacing),
            f"spacing {tuple(spacing)}: give three positive lengths in mm",
        )
        if self.needs_image:
            _check_image(image, labels)
        return self._change(Scope(labels, target, spacing, image))

    @abstractmethod
    def _change(self, scope: Scope) -> Change:
        """Compute the change for checked input."""


@dataclass(frozen=True, eq=False)
class Scope:
    """The checked input of a tool, and the rules on what may change."""

    labels: Labels
    target: Target
    spacing: Spacing
    image: Image | None = None

    @property
    def window(self) -> Box:
        """The part of the array to look at and to edit: all of it, or one plane."""
        i, j, k = (slice(0, n) for n in self.labels.shape)
        if self.target.plane is None:
            return i, j, k
        axis, index = self.target.plane
        plane = slice(index, index + 1)
        return (plane, j, k) if axis == 0 else (i, plane, k) if axis == 1 else (i, j, plane)

    @property
    def flat_axis(self) -> int | None:
        """The axis across the plane, of length 1 in every box of it; None in 3D."""
        return self.target.plane[0] if self.target.plane else None

    def boxes(self) -> dict[int, Box]:
        """Return the bounding box of each label to edit, in order of its value.

        Raises
        ------
        SettingsError
            There is none.
        """
        value, locked = self.target.value, self.target.locked
        if value is not None:
            return {value: self.box_of(value)}
        found = label_boxes(self.labels, self.window)
        boxes = {value: box for value, box in found.items() if value not in locked}
        if not boxes:
            raise self._nothing_to_edit()
        return boxes

    def box_of(self, value: int) -> Box:
        """Return the bounding box of a label.

        Raises
        ------
        SettingsError
            It is empty.
        """
        return self.voxels_of(value)[0]

    def voxels_of(self, value: int) -> tuple[Box, Mask]:
        """Return the bounding box of a label, and which of its voxels have it.

        Raises
        ------
        SettingsError
            It is empty.
        """
        return self._found(self.labels[self.window] == value, value)

    def check_present(self, value: int) -> None:
        """Raise a SettingsError unless a label has a voxel."""
        labels = self.labels[self.window]
        if not any((labels[slab] == value).any() for slab in slabs(labels)):
            raise self._nothing_to_edit(value)

    def selected(self) -> tuple[Box, Mask]:
        """Return the bounding box of all labels to edit, and which of its voxels have one.

        Raises
        ------
        SettingsError
            There is none.
        """
        labels = self.labels[self.window]
        return self._found(self.has_label_to_edit(labels), self.target.value)

    def has_label_to_edit(self, labels: Labels) -> Mask:
        """Tell which of some voxels have a label to edit."""
        value, locked = self.target.value, self.target.locked
        mask: Mask = labels != 0 if value is None else labels == value
        if value is None and locked:
            mask &= ~among(labels, locked)
        return mask

    def reach(self, mm: float) -> tuple[int, int, int]:
        """Return how many voxels a distance spans at most along each axis, 0 across a plane."""
        i, j, k = (
            0 if axis == self.flat_axis else ceil(mm / step)
            for axis, step in enumerate(self.spacing)
        )
        return i, j, k

    def draft(self, box: Box) -> Draft:
        """Return a copy of the labels of a box to draw the edit into."""
        return Draft(self, box, self.labels[box].copy())

    def turned(self, box: Box, mask: Mask, to: int) -> Change:
        """Return the change of the voxels of a mask to one value; none of them may be locked."""
        old = self.labels[box]
        if to in self.target.locked:
            mask = np.zeros_like(mask)
        return difference(box, old, np.broadcast_to(old.dtype.type(to), old.shape), mask)

    def permitted(self, old: Labels, new: Labels, *, overwrite: bool) -> Mask:
        """Tell for each voxel whether it may turn from `old` to `new`."""
        locked = self.target.locked
        keep = ~(among(old, locked) | among(new, locked))
        if self.target.value is not None and not overwrite:
            keep &= (old == 0) | (old == self.target.value)
        return keep

    def _found(self, mask: Mask, value: int | None = None) -> tuple[Box, Mask]:
        """Cut a mask of the window to its bounding box; raise where it is empty."""
        if not mask.any():
            raise self._nothing_to_edit(value)
        tight = bounding_box(mask)
        return placed(tight, self.window), mask[tight]

    def _nothing_to_edit(self, value: int | None = None) -> SettingsError:
        if value is not None:
            return SettingsError(
                f"label {value} is empty{self._where}: choose another label, or paint some of it"
            )
        if self.labels[self.window].any():
            return SettingsError(f"every label{self._where} is locked: unlock one to edit it")
        return SettingsError(f"there are no labels{self._where}: paint or segment first")

    @property
    def _where(self) -> str:
        plane = self.target.plane
        return f" in slice {plane[1]} of axis {plane[0]}" if plane else ""


@dataclass(frozen=True, eq=False)
class Draft:
    """The labels of a box as an edit would have them, before the rules on what may change."""

    scope: Scope
    box: Box
    new: Labels

    def at(self, box: Box) -> Labels:
        """Return a view of the draft in a box of the array that lies within the draft's."""
        return self.new[within(box, self.box)]

    def change(self, *, overwrite: bool | None = None) -> Change:
        """Return what the draft alters, as far as locked and other labels let it.

        Parameters
        ----------
        overwrite
            In place of the target's own.
        """
        target = self.scope.target
        overwrite = target.overwrite if overwrite is None else overwrite
        old = self.scope.labels[self.box]
        changed = self.new != old
        if target.locked or (target.value is not None and not overwrite):
            allowed = self.scope.permitted(old[changed], self.new[changed], overwrite=overwrite)
            if not allowed.all():
                changed[changed] = allowed
        return difference(self.box, old, self.new, changed)


def label_boxes(labels: Labels, window: Box) -> dict[int, Box]:
    """Return the bounding box of each label that occurs in a window of the array, by value."""
    found = ndimage.find_objects(labels[window])
    return {
        value: placed(box, window) for value, box in enumerate(found, start=1) if box is not None
    }


def pieces_of(labels: Labels | Mask, connectivity: Connectivity) -> NDArray[Any]:
    """Return the connected pieces of a mask, or of each label, numbered from 1."""
    # cc3d 4.1.1 joins wrong pieces of a bool array across corners, or fails: give it no bool
    plain: NDArray[Any] = labels.view(np.uint8) if labels.dtype == bool else labels
    pieces: NDArray[Any] = cc3d.connected_components(plain, connectivity=connectivity)
    return pieces


def require(right: bool, otherwise: str) -> None:
    """Raise a SettingsError unless something is right."""
    if not right:
        raise SettingsError(otherwise)


def require_length(mm: float, what: str) -> None:
    """Raise a SettingsError unless a length is a positive number of mm."""
    require(isfinite(mm) and mm > 0, f"{what} {mm:g} mm: give a positive length")


def require_value(value: int, labels: Labels) -> None:
    """Raise a SettingsError unless a label value fits the array."""
    largest = _largest_value(labels)
    require(
        0 <= value <= largest,
        f"label {value} does not fit this layer of {labels.dtype}: give one from 0 to {largest}",
    )


def require_axis(axis: int) -> None:
    """Raise a SettingsError unless an axis is 0, 1 or 2."""
    require(axis in (0, 1, 2), f"axis {axis}: give 0, 1 or 2")


def _largest_value(labels: Labels) -> int:
    return min(LARGEST_VALUE, int(np.iinfo(labels.dtype).max))


def _check_labels(labels: Labels) -> None:
    if not isinstance(labels, np.ndarray):
        raise VolumeError(f"labels held by {type(labels).__name__}: load them into memory first")
    if labels.ndim != 3:
        raise VolumeError(f"labels of shape {labels.shape}: only 3D labels can be edited")
    if labels.dtype.kind not in "ui":
        raise VolumeError(f"labels of {labels.dtype}: convert them to whole numbers first")
    if not labels.size:
        raise VolumeError(f"labels of shape {labels.shape} hold no voxel")
    if labels.dtype.kind == "u" and labels.dtype.itemsize <= 2:
        return
    # read as unsigned, negative numbers are the largest: one look finds both
    if labels.view(labels.dtype.str.replace("i", "u")).max() <= _largest_value(labels):
        return
    lowest = labels.min()
    if lowest < 0:
        raise VolumeError(f"label {lowest} is negative: labels run from 0 to {LARGEST_VALUE}")
    raise VolumeError(
        f"label {labels.max()} is too large: renumber the labels, {LARGEST_VALUE} at most"
    )


def _check_target(labels: Labels, target: Target) -> None:
    value = target.value
    if value is not None:
        require(value != 0, "label 0 is the background: choose a label to edit")
        require_value(value, labels)
        require(value not in target.locked, f"label {value} is locked: unlock it to edit it")
    if target.plane is not None:
        axis, index = target.plane
        require_axis(axis)
        last = labels.shape[axis] - 1
        require(0 <= index <= last, f"slice {index} of axis {axis}: give one from 0 to {last}")


def _check_image(image: Image | None, labels: Labels) -> None:
    if image is None:
        raise SettingsError("this tool looks at the image: choose an image layer")
    if image.shape != labels.shape:
        raise GridError(
            f"an image of shape {image.shape} does not lie on labels of shape {labels.shape}"
        )
