"""What a crash left behind: journals of processes that are gone, offered back."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

import napari
from napari.utils.notifications import show_info, show_warning

from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.viewer.history import journal
from napari_asmlp.viewer.history.header import layer_of, started
from napari_asmlp.viewer.history.records import (
    CutOffError,
    Header,
    Restored,
    Summary,
    replay,
    summary,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_asmlp.viewer.tasks import Task

KEPT_DAYS = 30
_CLOCK_SECONDS = 2.0  # by which two readings of when a process began may differ

_offered = False
_restoring: set[Task] = set()


@dataclass(frozen=True)
class Found:
    """What can be given back.

    Parameters
    ----------
    sound
        The journals, the latest first.
    damaged
        One line for each that cannot be read; those files are left alone for `KEPT_DAYS`.
    """

    sound: tuple[Summary, ...] = ()
    damaged: tuple[str, ...] = ()


def found() -> Found:
    """Look for journals that nobody writes any more.

    Those with nothing to lose or nothing to restore are deleted, and all after `KEPT_DAYS`.
    """
    sound: list[Summary] = []
    damaged: list[str] = []
    for path in journal.folder().glob(f"*{journal.SUFFIX}"):
        try:
            old = time.time() - path.stat().st_mtime > KEPT_DAYS * 86_400
            held = summary(path)
        except CutOffError:
            if not _is_begun(path):
                _remove(path)
        except VolumeError as error:
            if old:
                _remove(path)
            else:
                damaged.append(str(error))
        except OSError as error:
            damaged.append(str(error))
        else:
            if _is_taken(held):
                continue
            if old or not held.is_worth_keeping:
                _remove(path)
            else:
                sound.append(held)
    sound.sort(key=lambda held: held.path.name, reverse=True)
    return Found(tuple(sound), tuple(damaged))


def offer(viewer: ViewerModel) -> None:
    """Offer what a crash left behind, once in a process, where there is a window."""
    global _offered  # noqa: PLW0603  # once in a process, whichever viewer comes first
    if _offered or not hasattr(viewer, "window"):
        return
    _offered = True
    from qtpy.QtCore import QTimer

    QTimer.singleShot(0, partial(_show_found, ref(viewer), asked=False))


def recover_command() -> None:
    """Menu: edits that were not exported, to be restored or discarded."""
    viewer = napari.current_viewer()
    if viewer is not None:
        _show_found(ref(viewer), asked=True)


def restore(viewer: ViewerModel, held: Summary) -> Task:
    """Bring the labels of a journal back as a layer of a viewer, in a task that has begun."""
    from napari_asmlp.viewer.tasks import Job, Task

    task = Task(Job(f"restoring {held.header.name}", partial(_steps, held.path)))
    task.returned.connect(lambda restored: restored and add_restored(viewer, restored))
    _restoring.add(task)  # the dialog may be closed meanwhile
    task.ended.connect(lambda: _restoring.discard(task))
    task.start()
    return task


def add_restored(viewer: ViewerModel, restored: Restored) -> Labels:
    """Add restored labels to a viewer; their history and their journal go on."""
    from napari_asmlp.viewer.layers import add_labels

    layer = layer_of(restored, viewer)
    journal.postpone(layer)
    add_labels(viewer, layer)
    if journal.is_open(restored.path):  # restored twice at once: the file has one writer
        journal.begin(layer, unsaved=True)
    else:
        journal.resume(layer, restored)
    return layer


def discard(held: Summary) -> None:
    """Delete a journal for good.

    Raises
    ------
    SettingsError
        If the system refuses.
    """
    try:
        held.path.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{held.path}: cannot be deleted: {error.strerror}") from error


def describe(held: Summary) -> Sequence[str]:
    """Return the layer, the file, the time and what would be lost, as texts."""
    header = held.header
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(held.path.stat().st_mtime))
    lost = ["model result"] if header.unsaved else []
    if held.changes:
        lost.append(f"{held.changes} edit{'s' * (held.changes != 1)}")
    file = Path(header.path).name if header.path else "no file"
    return header.name, file, when, ", ".join(lost)


def _remove(path: Path) -> None:
    with suppress(OSError):  # the system refuses: it is looked at again the next time
        path.unlink(missing_ok=True)


def _is_alive(header: Header) -> bool:
    began = started(header.pid)
    if began is None:
        return False
    unknown = not began or not header.started
    return unknown or abs(began - header.started) < _CLOCK_SECONDS


def _is_begun(path: Path) -> bool:
    """Tell from the name of a journal whether the process lives that has begun to write it."""
    pid = journal.pid_in(path)
    return pid is not None and started(pid) is not None


def _steps(path: Path) -> Generator[None, None, Restored]:
    """Replay a journal, unless another window has been faster.

    Raises
    ------
    AsmlpError
        If it is taken or damaged.
    """
    try:
        if _is_taken(summary(path)):
            raise SettingsError("these edits have been restored already, in another window")
        return (yield from replay(path))
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {error.strerror or error}") from error


def _is_taken(held: Summary) -> bool:
    """Tell whether somebody writes a journal."""
    return journal.is_open(held.path) or (not held.ended and _is_alive(held.header))


def _show_found(window: ref[Any], *, asked: bool) -> None:
    from napari_asmlp.viewer.history.dialog import RecoverDialog

    viewer = window()
    if viewer is None:  # closed meanwhile
        return
    there = found()
    for line in there.damaged:
        show_warning(f"Edits cannot be recovered: {line}")
    if there.sound:
        RecoverDialog(viewer, there.sound).show()
    elif asked and not there.damaged:
        show_info("There are no edits to recover")
