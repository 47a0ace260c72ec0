"""One edit of a label array as what it changed, compressed, so that it can be undone and kept.

A `Step` holds runs of voxels (where, how many, old value, new value) counted along the memory of
the array, and delta-coded. It speaks of the array in the axis order of its volume, whatever a
viewer shows of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.edit.change import Change
from napari_asmlp.edit.runs import (
    Box,
    Coded,
    Order,
    Runs,
    code,
    decode,
    runs_between,
    runs_of_places,
)
from napari_asmlp.edit.runs import unpack as unpack_parts
from napari_asmlp.errors import GridError, VolumeError

Kind = Literal["edit", "prediction"]
Labels = NDArray[np.integer[Any]]

_OVERHEAD = 500  # bytes that a step takes in memory beside its runs


@dataclass(frozen=True)
class Layout:
    """How the voxels of an array are counted: ``C`` with the last axis fastest, ``F`` the first.

    Raises
    ------
    VolumeError
        If there is no such array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Order = "C"

    def __post_init__(self) -> None:
        if self.dtype.kind not in "iu" or self.order not in ("C", "F") or not self.shape:
            raise VolumeError(f"no label array has the layout {self}")

    @classmethod
    def of(cls, labels: Labels) -> Layout:
        """Return that of an array, along its memory where that is possible."""
        first = labels.flags.f_contiguous and not labels.flags.c_contiguous
        return cls(labels.shape, labels.dtype.newbyteorder("="), "F" if first else "C")

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    def zeros(self) -> Labels:
        """Return an array of this layout, 0 everywhere."""
        return np.zeros(self.shape, self.dtype, order=self.order)


@dataclass(frozen=True)
class Step:
    """One undoable difference of a label array.

    Parameters
    ----------
    title
        What the edit is called in a menu: ``Undo smooth``.
    kind
        Whether a person made it, or a model.
    layout
        Of the array that it was made on.
    parts
        Its runs, compressed; each holds about as many voxels as are written at once.
    """

    title: str
    kind: Kind
    layout: Layout
    parts: tuple[Coded, ...]

    @classmethod
    def between(
        cls,
        before: Labels,
        after: Labels,
        title: str = "edit",
        kind: Kind = "edit",
        boxes: Sequence[Box] | None = None,
    ) -> Step:
        """Return the difference of two arrays of one shape, counted along the memory of `before`.

        Parameters
        ----------
        boxes
            Where to compare them, if not everywhere; they do not overlap.

        Raises
        ------
        GridError
            If the shapes differ.
        """
        if before.shape != after.shape:
            raise GridError(f"labels of {before.shape} and {after.shape} voxels cannot be compared")
        layout = Layout.of(before)
        parts: list[Coded] = []
        for box in [tuple(slice(0, size) for size in after.shape)] if boxes is None else boxes:
            runs = runs_between(before[box], after[box], box, layout.shape, layout.order)
            parts += code(runs, layout.dtype)
        return cls(title, kind, layout, tuple(parts))

    @classmethod
    def of_change(
        cls, change: Change, labels: Labels, title: str = "edit", kind: Kind = "edit"
    ) -> Step:
        """Return what a change is about to do to an array (i, j, k)."""
        layout = Layout.of(labels)
        before = labels[change.region]
        after = before.copy(order="K")
        after[change.mask] = change.values
        runs = runs_between(before, after, change.region, layout.shape, layout.order)
        return cls(title, kind, layout, tuple(code(runs, layout.dtype)))

    @classmethod
    def of_all(cls, labels: Labels) -> Step:
        """Return the difference of an array from one that is 0 everywhere."""
        layout = Layout.of(labels)
        zeros = np.broadcast_to(layout.dtype.type(0), labels.shape)
        everything = tuple(slice(0, size) for size in labels.shape)
        runs = runs_between(zeros, labels, everything, layout.shape, layout.order)
        return cls("base", "edit", layout, tuple(code(runs, layout.dtype)))

    @classmethod
    def of_voxels(
        cls, layout: Layout, voxels: tuple[NDArray[np.int64], Labels, Labels], title: str
    ) -> Step:
        """Return the edit of single voxels by a person.

        Parameters
        ----------
        voxels : (places, old, new)
            1D arrays in the order of time: a place may occur again, its first old and its last new
            value count.
        """
        runs = runs_of_places(*voxels)
        return cls(title, "edit", layout, tuple(code([runs], layout.dtype)))

    @property
    def count(self) -> int:
        """Number of voxels that differ."""
        return sum(part.voxels for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory."""
        return _OVERHEAD + sum(len(part.data) for part in self.parts)

    def apply(self, labels: Labels, *, undo: bool = False) -> Iterator[None]:
        """Write the new values into an array, or the old ones; yields after each part.

        Raises
        ------
        GridError
            If the array has another shape than that of the step.
        VolumeError
            If it is read-only.
        """
        if labels.shape != self.layout.shape:
            raise GridError(
                f"an edit of {self.layout.shape} voxels does not fit labels of {labels.shape}"
            )
        if not labels.flags.writeable:
            raise VolumeError("these labels are read-only: duplicate the layer and edit the copy")
        for runs in self.runs():
            places = runs.places()
            values = np.repeat(runs.old if undo else runs.new, runs.length)
            put(labels, self.layout.order, places, values)
            yield

    def on(self, layout: Layout) -> Step:
        """Return the same step, counted along another order.

        Raises
        ------
        GridError
            If that is the layout of another array.
        """
        if layout == self.layout:
            return self
        if (layout.shape, layout.dtype) != (self.layout.shape, self.layout.dtype):
            raise GridError(
                f"an edit of {self.layout.shape} voxels ({self.layout.dtype}) does not fit labels"
                f" of {layout.shape} ({layout.dtype})"
            )
        parts: list[Coded] = []
        for runs in self.runs():
            index = np.unravel_index(runs.places(), layout.shape, self.layout.order)
            places = np.ravel_multi_index(index, layout.shape, order=layout.order)
            old, new = np.repeat(runs.old, runs.length), np.repeat(runs.new, runs.length)
            parts += code([runs_of_places(places, old, new)], layout.dtype)
        return replace(self, layout=layout, parts=tuple(parts))

    def runs(self) -> Iterator[Runs]:
        """Return its runs, part by part."""
        return (decode(part, self.layout.dtype) for part in self.parts)

    def to_bytes(self) -> bytes:
        """Return the step as bytes, without its layout, which is that of the array."""
        title = self.title.encode(errors="backslashreplace")[:255]
        head = bytes([self.kind == "prediction", len(title)]) + title
        return head + b"".join(part.to_bytes() for part in self.parts)

    @classmethod
    def from_bytes(cls, data: bytes, layout: Layout) -> Step:
        """Read what `to_bytes` returned; every number in it is checked.

        Raises
        ------
        VolumeError
            If the bytes are damaged, or speak of voxels that the array does not have.
        """
        if len(data) < 2 or data[0] > 1 or len(data) < 2 + data[1]:
            raise VolumeError("an edit in it is damaged")
        start = 2 + data[1]
        title = data[2:start].decode(errors="replace")
        parts = tuple(unpack_parts(data[start:], layout.dtype, layout.size))
        return cls(title, "prediction" if data[0] else "edit", layout, parts)


def put(labels: Labels, order: Order, places: NDArray[np.int64], values: Labels) -> None:
    """Write values at places counted along an order of an array, in place."""
    if labels.flags.c_contiguous if order == "C" else labels.flags.f_contiguous:
        flat = cast("Labels", labels.reshape(-1, order=order))  # a view
        flat[places] = values
    else:
        labels[np.unravel_index(places, labels.shape, order)] = values
