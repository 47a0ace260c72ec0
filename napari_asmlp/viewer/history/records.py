"""The file of a journal: what it says, record by record, and how the labels come out of it again.

After a magic line come records, each with its kind, its length and a checksum:

====  ==========================================================================
H     header (JSON): the layer, its grid and look, the process that writes
B     base: all labels at that moment, as a step from zeros; history begins anew
C     commit: a step
U, R  undo, redo
P     past: a step that the base holds already
F     future: the latest past step had been undone, and could be redone
S     saved: how many changes a file now holds
E     end: the layer has been closed
====  ==========================================================================

A base is the labels between two edits, and each edit is one record, so that whatever is replayed up
to some record is a state that was. Reading stops at the first record that is cut off or damaged,
which is where the writing process was killed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from napari_asmlp.edit.history import History
from napari_asmlp.edit.runs import Order
from napari_asmlp.edit.step import Layout, Step
from napari_asmlp.errors import VolumeError

MAGIC = b"napari-asmlp journal 1\n"
HEADER, BASE, PAST, FUTURE, COMMIT, UNDO, REDO, SAVED, END = (
    bytes([kind]) for kind in b"HBPFCURSE"
)

_HEAD = struct.Struct("<cQI")
_NUMBER = struct.Struct("<Q")
_LARGEST_HEADER = 2**22  # bytes
_MOST_VOXELS = 2**36


def _writable(text: Any) -> Any:
    """Escape what UTF-8 cannot hold, as in names of files in an older encoding."""
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


_Text = Annotated[str, BeforeValidator(_writable)]
_Size = Annotated[int, Field(gt=0)]
Colour = tuple[float, float, float, float]
_Four = tuple[float, float, float, float]


class CutOffError(VolumeError):
    """A journal ends before it holds any labels."""


class Header(BaseModel):
    """What a layer is, beside its voxels, and who keeps its journal.

    Parameters
    ----------
    shape, dtype, order
        Of the labels, in the axis order of their volume.
    affine
        Of their grid; None if the layer is no volume.
    path, path_kind
        The file that the layer belongs to, ``image`` or ``labels``.
    names, colours, locked
        Of label values.
    unsaved
        Whether the base itself is worth keeping: a result that no file holds.
    pid, started
        The process that writes, and when it began (s since 1970; 0 if not known).
    created
        When the journal began (s since 1970).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: _Text
    shape: Annotated[tuple[_Size, ...], Field(min_length=1, max_length=8)]
    dtype: Annotated[str, Field(pattern=r"^[<|>][iu][1248]$")]
    order: Order
    affine: tuple[_Four, _Four, _Four, _Four] | None = None
    scale: tuple[float, ...] = ()
    translate: tuple[float, ...] = ()
    units: tuple[_Text, ...] = ()
    path: _Text | None = None
    path_kind: str = "image"
    names: dict[int, _Text] = {}
    colours: dict[int, Colour] = {}
    locked: tuple[int, ...] = ()
    unsaved: bool = False
    pid: int
    started: float = 0.0
    created: float = 0.0

    @property
    def layout(self) -> Layout:
        """How the voxels are counted.

        Raises
        ------
        VolumeError
            If there can be no such array.
        """
        layout = Layout(self.shape, np.dtype(self.dtype), self.order)
        if layout.size > _MOST_VOXELS:
            raise VolumeError(f"labels of {self.shape} voxels are too many")
        return layout


class Tally:
    """Counts the changes of labels, and knows whether they are as they were when last saved.

    Changes are past steps, commits, undos and redos. Undoing what was done leads back to the labels
    of the base, or of the file that was written, so that nothing would be lost.
    """

    def __init__(self) -> None:
        self.saved = 0
        self._depths = [0]  # steps that can be undone, after each change
        self._clean: int | None = 0  # the depth at which nothing would be lost

    @property
    def total(self) -> int:
        """How many changes there have been."""
        return len(self._depths) - 1

    @property
    def is_clean(self) -> bool:
        """Whether all is as it was in the base, or in a file."""
        return self._depths[-1] == self._clean

    def note(self, kind: bytes) -> None:
        """Count a change."""
        depth = self._depths[-1]
        if kind in (UNDO, FUTURE):
            depth -= 1
        elif kind in (PAST, COMMIT, REDO):
            if kind == COMMIT and self._clean is not None and self._clean > depth:
                self._clean = None  # what could be redone cannot be any more
            depth += 1
        if kind == FUTURE:  # is no change, but says how the latest ones ended
            self._depths[-1] = depth
        else:
            self._depths.append(depth)

    def replaced(self) -> None:
        """Note that the labels have been replaced by others, which no file holds."""
        self._depths.append(0)
        self._clean = None

    def save(self, changes: int) -> None:
        """Note that a file holds the labels as they were after so many changes."""
        self.saved = changes
        since = self._depths[min(changes, self.total) :]
        # who went below that and on from there would have made it unreachable
        self._clean = since[0] if min(since) == since[0] else None


@dataclass(frozen=True)
class Summary:
    """What a journal holds, found without reading its voxels.

    Parameters
    ----------
    header
        The latest.
    tally
        Its changes, and whether a file holds them.
    ended
        Whether the layer has been closed.
    """

    path: Path
    header: Header
    tally: Tally
    ended: bool

    @property
    def changes(self) -> int:
        """How many changes no file holds."""
        return 0 if self.tally.is_clean else max(0, self.tally.total - self.tally.saved)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it holds what no file does."""
        return self.changes > 0 or (self.header.unsaved and not self.ended)


@dataclass(frozen=True, eq=False)
class Restored:
    """What replaying a journal gives.

    Parameters
    ----------
    labels : integer array
        Of the header's layout.
    stop
        Where in the file the last sound record ends.
    held
        What was known of the journal before.
    """

    path: Path
    header: Header
    labels: NDArray[Any]
    history: History
    stop: int
    held: Summary


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a record as it is written."""
    return _HEAD.pack(kind, len(payload), zlib.crc32(kind + payload)) + payload


def number(value: int) -> bytes:
    """Return the payload of a record that is one number."""
    return _NUMBER.pack(value)


def summary(path: Path) -> Summary:
    """Look through a journal.

    Raises
    ------
    CutOffError
        If it ends before any labels.
    VolumeError
        If it is none, or its header is damaged.
    OSError
        If it cannot be read.
    """
    header, tally, has_base, ended = None, Tally(), False, False
    with path.open("rb") as stream:
        for kind, size, _ in _records(stream, path):
            ended = kind == END
            if kind == HEADER:
                header = _header(_payload(stream, kind, size), path)
            elif kind == SAVED and size == _NUMBER.size:
                tally.save(*_NUMBER.unpack(stream.read(size)))
            elif kind == BASE:
                if has_base:
                    tally.replaced()
                has_base = True
            elif kind in (PAST, FUTURE, COMMIT, UNDO, REDO):
                tally.note(kind)
    if header is None or not has_base:
        raise CutOffError(f"{path}: this journal ends before any labels")
    unsaved = header.unsaved and not tally.saved
    header = header.model_copy(update={"unsaved": unsaved})
    return Summary(path, header, tally, ended)


def replay(path: Path) -> Generator[None, None, Restored]:
    """Bring the labels of a journal back, step by step; yields between two parts of a step.

    Raises
    ------
    VolumeError
        If it cannot be: no header, no base, or a record that makes no sense.
    OSError
        If it cannot be read.
    """
    held = summary(path)
    header, labels, history, stop = held.header, None, History(), 0
    with path.open("rb") as stream:
        for kind, size, check in _records(stream, path):
            payload = _payload(stream, kind, size)
            if zlib.crc32(kind + payload) != check:
                break
            if kind == HEADER:
                header = _header(payload, path)
            elif kind == BASE:
                labels = header.layout.zeros()
                history.clear()
                yield from _from_bytes(payload, header, path).apply(labels)
            elif kind == PAST:
                history.push(_from_bytes(payload, header, path))
            elif kind == FUTURE:
                history.undo()
            elif kind in (COMMIT, UNDO, REDO):
                if labels is None:
                    raise VolumeError(f"{path}: this journal has lost its beginning")
                step = _next(kind, payload, history, header, path)
                yield from step.apply(labels, undo=kind == UNDO)
            stop = stream.tell()
    if labels is None:
        raise VolumeError(f"{path}: this journal has lost its beginning")
    return Restored(path, header, labels, history, stop, held)


def _next(kind: bytes, payload: bytes, history: History, header: Header, path: Path) -> Step:
    """Return the step that a record tells to write, and move the history on."""
    if kind == COMMIT:
        done = _from_bytes(payload, header, path)
        history.push(done)
        return done
    step = history.undo() if kind == UNDO else history.redo()
    if step is None:
        raise VolumeError(f"{path}: this journal undoes what was never done")
    return step


def _records(stream: IO[bytes], path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, size and checksum of each whole record, the stream at its payload."""
    end = path.stat().st_size
    if not MAGIC.startswith(stream.read(len(MAGIC))):  # which may be cut off
        raise VolumeError(f"{path}: this is no journal")
    at = len(MAGIC)
    while at + _HEAD.size <= end:
        stream.seek(at)
        kind, size, check = _HEAD.unpack(stream.read(_HEAD.size))
        at += _HEAD.size + size
        if at > end:
            return
        yield kind, size, check


def _payload(stream: IO[bytes], kind: bytes, size: int) -> bytes:
    if kind == HEADER and size > _LARGEST_HEADER:
        raise VolumeError(f"{stream.name}: the header of this journal is damaged")
    return stream.read(size)


def _header(payload: bytes, path: Path) -> Header:
    try:
        return Header.model_validate_json(payload)
    except ValidationError as error:
        what = error.errors()[0]
        where = ".".join(map(str, what["loc"]))
        raise VolumeError(f"{path}: its header is damaged ({where}: {what['msg']})") from error


def _from_bytes(payload: bytes, header: Header, path: Path) -> Step:
    try:
        return Step.from_bytes(payload, header.layout)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
