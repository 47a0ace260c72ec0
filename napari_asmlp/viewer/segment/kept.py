"""What a stopped run has finished, kept so that it can go on, now or the next time.

Each run has a folder of its own, beside the journals in the user's state folder. The folder's name
follows from what the panel says, so that it is found again; whether the voxels, the model and the
versions still are what they were is checked when the run goes on. It is deleted when the run is
done. Of runs that are never taken up again the last few are kept, and none for long.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QLockFile

from napari_asmlp.errors import OutputError
from napari_asmlp.pipeline import Partial, format_size
from napari_asmlp.viewer.history.journal import state_folder
from napari_asmlp.viewer.layers import METADATA_KEY

if TYPE_CHECKING:
    from napari_asmlp.viewer.segment.request import Order, Wish

_MOST = 3  # beside the one that is running
_DAYS = 30
_SPARE = 200_000_000  # bytes of the disk that are left to others


def folder() -> Path:
    """Return where stopped runs lie."""
    return state_folder() / "segment"


def place_of(wish: Wish) -> Path | None:
    """Return the folder of the run that a panel asks for; None if nothing is chosen."""
    if wish.image is None or wish.model is None:
        return None
    chosen = json.dumps(_chosen(wish), sort_keys=True)
    return folder() / hashlib.sha256(chosen.encode()).hexdigest()[:16]


def changed(before: Wish, now: Wish) -> list[str]:
    """Return by name what is not as it was when a run was stopped."""
    old, new = _chosen(before), _chosen(now)
    return [name for name, value in old.items() if new[name] != value]


def is_kept(place: Path | None) -> bool:
    """Tell whether a stopped run lies there."""
    return place is not None and Partial(place).exists


def stopped_at(place: Path) -> str:
    """Return when the run that lies there finished its last planes."""
    return time.strftime("%d %B, %H:%M", time.localtime(place.stat().st_mtime))


def prepare(place: Path, order: Order) -> None:
    """Make room for a run.

    Raises
    ------
    OutputError
        If the folder cannot be written, or its disk is too full.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _prune(place)
        free = shutil.disk_usage(place.parent).free
    except OSError as error:
        raise OutputError(f"{place.parent}: cannot be written: {error.strerror}") from error
    needed = order.kept_bytes()
    if free < needed + _SPARE:
        raise OutputError(
            f"{place.parent}: the disk has {format_size(free)} free, too little to keep"
            f" {format_size(needed)}"
        )


@contextmanager
def held(place: Path, *, resume: bool) -> Iterator[Partial | None]:
    """Take a run's folder, for this thread alone; None if another window runs just the same."""
    lock = _lock(place)
    if not lock.tryLock(0):
        yield None
        return
    try:
        yield Partial(place, resume)
    finally:
        lock.unlock()


def _lock(place: Path) -> QLockFile:
    lock = QLockFile(str(place.with_suffix(".lock")))
    lock.setStaleLockTime(0)  # a run may take hours; one whose process is gone is found anyway
    return lock


def _chosen(wish: Wish) -> dict[str, Any]:
    """Return what tells one run from another, by its name in the panel."""
    image = wish.image
    source = None if image is None else image.metadata.get(METADATA_KEY)
    return {
        "image": (None if image is None else image.name, str(getattr(source, "path", None))),
        "model": str(wish.model),
        **asdict(wish.settings),
        "region": wish.region.strip(),
        "memory": wish.memory.strip(),
    }


def _prune(but: Path) -> None:
    """Delete what is old, and all but the last few; what a process is writing stays."""
    places = [path for path in but.parent.iterdir() if path.is_dir() and path != but]
    places.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    oldest = time.time() - _DAYS * 86_400
    for n, place in enumerate(places):
        if n < _MOST and place.stat().st_mtime > oldest:
            continue
        with held(place, resume=False) as partial, suppress(OutputError):
            if partial is not None:
                partial.remove()
