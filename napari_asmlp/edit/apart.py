"""A tool on a large array, in a process of its own: the window stays alive, and Cancel is at once.

The libraries that compute hold Python's lock for seconds and cannot be interrupted; a process can
be killed. It is started when it is first needed and kept for the next tool, since its imports take
most of a second. Arrays go through shared memory, which this side alone makes and removes.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from math import prod
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from queue import Empty, SimpleQueue
from shutil import disk_usage
from threading import Thread
from typing import IO, Any, cast

import numpy as np
import pydantic
from numpy.typing import NDArray

from napari_asmlp import errors
from napari_asmlp.edit import TOOLS, Change, Target, Tool
from napari_asmlp.edit.change import Labels
from napari_asmlp.edit.tool import Image, Spacing
from napari_asmlp.edit.worker import OUT_OF_MEMORY, REPLIES, REQUESTS, Block, Reply, Request
from napari_asmlp.errors import AsmlpError

_LARGE_VOXELS = 2_000_000  # below, a tool takes less than handing it over
_POLL_SECONDS = 0.05
_SHARED = Path("/dev/shm")  # where Linux keeps shared memory: small in containers
_COMMAND = [sys.executable, "-P", "-m", "napari_asmlp.edit.worker"]  # -P: not what lies in the cwd


@dataclass(frozen=True, eq=False)
class Edit:
    """A tool and what it is called with; the arrays must stay as they are meanwhile."""

    tool: Tool
    labels: Labels
    target: Target
    spacing: Spacing
    image: Image | None = None

    def steps(self) -> Generator[None, None, Change]:
        """Compute the change; closed meanwhile, it stops at once.

        Raises
        ------
        AsmlpError
            What the tool raises, or that the process ended or had too little memory.
        """
        if self._is_small or not self._can_be_shared:
            yield
            return self.tool(self.labels, self.target, self.spacing, self.image)
        with ExitStack() as stack:
            labels = stack.enter_context(_Shared(self.labels))
            image = None if self.image is None else stack.enter_context(_Shared(self.image))
            # a process is taken after the memory, and so it has gone or finished before it
            reply = yield from _answer(self._request(labels.block, image.block if image else None))
            return self._change(labels, reply)

    @property
    def _is_small(self) -> bool:
        plane = self.target.plane
        shape = list(self.labels.shape)
        if plane is not None and 0 <= plane[0] < len(shape):
            shape[plane[0]] = 1
        return bool(prod(shape) < _LARGE_VOXELS)

    @property
    def _can_be_shared(self) -> bool:
        """Whether arrays, tool and interpreter are such that a process can be handed them."""
        arrays = [self.labels] if self.image is None else [self.labels, self.image]
        needed = sum(int(array.nbytes) for array in arrays)
        if _SHARED.is_dir() and needed >= disk_usage(_SHARED).free:
            return False
        plain = all(type(array) is np.ndarray and array.ndim == 3 for array in arrays)
        numbers: bool = all(array.dtype.kind in "uif" for array in arrays)
        # the executable of a frozen application is that application
        frozen = bool(getattr(sys, "frozen", False))
        return type(self.tool) in TOOLS and plain and numbers and not frozen

    def _request(self, labels: Block, image: Block | None) -> Request:
        kind = type(self.tool)
        # json.dumps, for pydantic would write NaN, which the tool refuses in words, as null
        settings = json.dumps(pydantic.TypeAdapter(kind).dump_python(self.tool, mode="json"))
        spacing = float(self.spacing[0]), float(self.spacing[1]), float(self.spacing[2])
        return Request(kind.__name__, settings, self.target, spacing, labels, image)

    def _change(self, edited: _Shared, reply: Reply) -> Change:
        """Return the difference between the labels and what has become of them."""
        if reply.error == OUT_OF_MEMORY:
            raise AsmlpError(
                f"{self.tool.title!r} needs more memory than there is: edit one slice or fewer "
                "labels at a time, or close other programs; nothing was changed"
            )
        if reply.error:
            raise getattr(errors, reply.error)(reply.message)
        i, j, k = (slice(start, stop) for start, stop in reply.region)
        new = edited.array()[i, j, k]
        mask = new != self.labels[i, j, k]
        return Change((i, j, k), mask, new[mask], reply.lost, reply.gained)


class _Shared:
    """A copy of an array in shared memory, which goes when the context is left."""

    def __init__(self, array: NDArray[Any]) -> None:
        i, j, k = (int(axis) for axis in np.argsort([-abs(step) for step in array.strides]))
        self._memory = SharedMemory(create=True, size=max(1, array.nbytes))
        self.block = Block(self._memory.name, array.shape, array.dtype.str, (i, j, k))
        self.array()[...] = array

    def array(self) -> NDArray[Any]:
        """Return the copy; none may be held when the context is left."""
        return self.block.array(self._memory)

    def __enter__(self) -> _Shared:
        return self

    def __exit__(self, *_error: object) -> None:
        self._memory.close()
        self._memory.unlink()


class _Process:
    """A worker, which answers one request at a time."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows opens a console
        )
        _all.add(self)

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll()

    def ask(self, line: str) -> Generator[None, None, str]:
        """Send a line and return the answer, empty if the process ends before it has one."""
        answers: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._exchange, args=(line, answers), daemon=True).start()
        while True:
            try:
                return answers.get(timeout=_POLL_SECONDS)
            except Empty:
                yield

    def end(self) -> int:
        """Kill it, whatever it does, and return its exit status."""
        self._popen.kill()
        status = self._popen.wait()
        _all.discard(self)
        return status

    def _exchange(self, line: str, answers: SimpleQueue[str]) -> None:
        answer = ""
        requests, replies = cast("IO[str]", self._popen.stdin), cast("IO[str]", self._popen.stdout)
        with suppress(OSError):  # it has ended
            requests.write(line + "\n")
            requests.flush()
            answer = replies.readline()
        answers.put(answer)


_all: set[_Process] = set()
_idle: list[_Process] = []


def _answer(request: Request) -> Generator[None, None, Reply]:
    """Have a process answer a request; it is killed if it is no longer waited for."""
    process = _idle.pop() if _idle else _Process()
    if process.status is not None:  # something else has ended it
        process.end()
        process = _Process()
    line = ""
    try:
        line = yield from process.ask(REQUESTS.dump_json(request).decode())
    finally:
        if line:
            _idle.append(process)
        else:
            status = process.end()
    if not line:
        raise AsmlpError(
            f"the process that edits labels ended with status {status}: the terminal may say why; "
            "if memory ran out, close other programs or edit one slice; nothing was changed"
        )
    return REPLIES.validate_json(line)


@atexit.register
def _end_all() -> None:
    for process in list(_all):
        process.end()
