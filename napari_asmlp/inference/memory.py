"""Running out of memory, whoever notices it: numpy, torch on a CPU, or a GPU."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from napari_asmlp.errors import AsmlpError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAID = ("not enough memory", "DefaultCPUAllocator", "out of memory")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory did not suffice; torch says so by a plain RuntimeError on a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _SAID)


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Turn running out of memory into an error that says for what, and what to do.

    Raises
    ------
    AsmlpError
        In its place; any other error passes.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise AsmlpError(
            f"not enough memory for {what}: close other programs, choose a region, or give a"
            " budget (--memory SIZE), which makes windows thinner; what is finished can be resumed"
        ) from error
