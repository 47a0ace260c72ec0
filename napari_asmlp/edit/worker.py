"""The process in which a tool edits a large array, so that it can be killed in the middle.

Started by `apart` as ``python -m napari_asmlp.edit.worker``. It reads one `Request` a line, as
JSON, edits the labels where they lie in shared memory, and answers with one `Reply` a line. Tools
and settings come by name and are checked; nothing is pickled. It ends when its input does, and so
with the process that started it.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from napari_asmlp.edit import TOOLS, Target, Tool
from napari_asmlp.errors import AsmlpError
from napari_asmlp.grid import Triple

OUT_OF_MEMORY = "MemoryError"


@dataclass(frozen=True)
class Block:
    """Where an array lies in shared memory.

    Parameters
    ----------
    axes
        Order of its axes in memory, the slowest first.
    """

    name: str
    shape: Triple
    dtype: str
    axes: Triple

    def array(self, memory: SharedMemory) -> NDArray[Any]:
        """Return the array as a view; it must be gone before the memory is closed."""
        stored = tuple(self.shape[axis] for axis in self.axes)
        flat: NDArray[Any] = np.ndarray(stored, self.dtype, memory.buf)
        return flat.transpose(np.argsort(self.axes))


@dataclass(frozen=True)
class Request:
    """A tool by its class's name, its settings as JSON, and what it is called with."""

    tool: str
    settings: str
    target: Target
    spacing: tuple[float, float, float]
    labels: Block
    image: Block | None

    def make_tool(self) -> Tool:
        """Return the tool; `ValueError` and its child `ValidationError` where there is none."""
        for tool in TOOLS:
            if tool.__name__ == self.tool:
                made: Tool = pydantic.TypeAdapter(tool).validate_python(json.loads(self.settings))
                return made
        raise ValueError(f"there is no tool {self.tool!r}")


@dataclass(frozen=True)
class Reply:
    """What was changed in the labels, or why nothing was.

    Parameters
    ----------
    region
        Start and stop along each axis of the box that holds all changes.
    lost, gained
        As of `Change`.
    error, message
        Name of the class of what was raised, empty if nothing was, and its text.
    """

    region: tuple[tuple[int, int], ...] = ()
    lost: dict[int, int] = field(default_factory=dict)
    gained: dict[int, int] = field(default_factory=dict)
    error: str = ""
    message: str = ""


REQUESTS = pydantic.TypeAdapter(Request)
REPLIES = pydantic.TypeAdapter(Reply)


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that started this one
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no reply
    attach = _attach()
    for line in sys.stdin:
        reply = answer(REQUESTS.validate_json(line), attach)
        try:
            replies.write(REPLIES.dump_json(reply).decode() + "\n")
            replies.flush()
        except BrokenPipeError:
            return  # nobody waits for it


def answer(request: Request, attach: Callable[[str], SharedMemory]) -> Reply:
    """Edit the labels of a request in place.

    Parameters
    ----------
    attach
        Opens shared memory by its name.
    """
    blocks = [block for block in (request.labels, request.image) if block is not None]
    memories = [attach(block.name) for block in blocks]
    try:
        return _edit(request, memories)
    finally:
        for memory in memories:
            memory.close()


def _edit(request: Request, memories: list[SharedMemory]) -> Reply:
    labels = request.labels.array(memories[0])
    image = request.image.array(memories[1]) if request.image else None
    try:
        change = request.make_tool()(labels, request.target, request.spacing, image)
        change.apply(labels)
    except AsmlpError as error:
        return Reply(error=type(error).__name__, message=str(error))
    except MemoryError as error:
        return Reply(error=OUT_OF_MEMORY, message=str(error))
    region = tuple((along.start, along.stop) for along in change.region)
    return Reply(region, dict(change.lost), dict(change.gained))


def _attach() -> Callable[[str], SharedMemory]:
    """Return how to open memory that another process owns, and alone removes."""
    if sys.version_info >= (3, 13):
        return lambda name: SharedMemory(name, track=False)
    # before, whoever opened it removed it at its end: python/cpython#82300
    resource_tracker.register = lambda name, kind: None  # type: ignore[assignment]  # noqa: ARG005
    return SharedMemory


if __name__ == "__main__":
    main()
