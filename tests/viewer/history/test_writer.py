"""What a disk that is full, a folder that is locked or a name that is odd does to the journals."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_asmlp.viewer.history import journal, recover
from napari_asmlp.viewer.history.records import summary
from napari_asmlp.viewer.history.writer import File, Writer

FULL = OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def closed():
    yield
    journal.close_all()


@pytest.fixture
def viewer():
    model = ViewerModel()
    journal.follow(model)
    return model


def edited(viewer, name):
    layer = viewer.add_layer(Labels(np.zeros((3, 4, 5), np.uint8), name=name))
    layer.paint((1, 1, 1), 2)
    journal.flush()
    return layer


def changes():
    """Changes by name of the layer, as they are on disk."""
    journal.flush()
    held = map(summary, journal.folder().glob("*.journal"))
    return {each.header.name: each.changes for each in held}


def refuse(*_arguments, **_settings):
    raise FULL


def test_a_name_that_utf8_cannot_hold(viewer):
    edited(viewer, os.fsdecode(b"caf\xe9"))
    edited(viewer, "later")
    assert changes() == {"caf\\udce9": 1, "later": 1}


def test_a_file_that_cannot_be_deleted_stops_nothing(viewer, monkeypatch):
    layer = viewer.add_layer(Labels(np.zeros((3, 4, 5), np.uint8), name="empty"))
    journal.flush()
    monkeypatch.setattr(Path, "unlink", refuse)
    viewer.layers.remove(layer)
    edited(viewer, "later")
    assert changes() == {"empty": 0, "later": 1}
    monkeypatch.setattr(recover, "_is_taken", lambda held: False)
    assert [held.header.name for held in recover.found().sound] == ["later"]


def test_a_disk_that_is_full_is_told_once_for_each_layer(viewer, monkeypatch, notes):
    broken, other = edited(viewer, "broken"), edited(viewer, "other")
    (path,) = (each.path for each in journal._of(broken))
    write = File._write

    def full(self, record):
        if self.path == path:
            raise FULL
        write(self, record)

    monkeypatch.setattr(File, "_write", full)
    broken.paint((1, 2, 3), 3)
    journal.flush()
    monkeypatch.setattr(File, "_write", write)
    broken.paint((0, 0, 0), 1)  # there is space again, but a record is missing
    other.paint((0, 0, 0), 1)
    assert changes() == {"broken": 1, "other": 2}
    (note,) = (note for note in notes if "backed up" in note)
    assert "'broken'" in note
    assert "No space left on device" in note
    assert "export them now, and free space" in note


def test_a_failing_fsync_breaks_one_journal(tmp_path, monkeypatch, notes):
    one, two = (File(tmp_path / name, name) for name in ("one", "two"))
    for file in (one, two):
        file.append(b"E", bytes)
    monkeypatch.setattr(os, "fsync", refuse)
    one.sync()
    one.sync()
    monkeypatch.setattr(os, "fsync", lambda _number: None)
    two.sync()
    size = one.path.stat().st_size
    for file in (one, two):
        file.append(b"E", bytes)
    assert one.path.stat().st_size == size
    assert two.path.stat().st_size > size
    assert len([note for note in notes if "'one'" in note]) == len(notes) == 1


def test_too_little_memory_to_pack(tmp_path, notes):
    def pack():
        raise MemoryError

    writer, file = Writer(), File(tmp_path / "one", "one")
    writer.append(file, b"B", pack)
    writer.append(file, b"E", bytes)
    writer.flush()
    assert not file.path.exists()
    assert "not enough memory" in notes[0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_holds_nobody_up_and_is_begun_again(tmp_path):
    writer, one, two = Writer(), File(tmp_path / "one", "one"), File(tmp_path / "two", "two")
    writer.append(one, b"E", bytes)
    writer.append(one, b"E", lambda: 1 // 0)  # stands for an error that nobody has thought of
    writer.flush()
    writer._thread.join()
    size = one.path.stat().st_size
    for file in (one, two):
        writer.append(file, b"E", bytes)
    for file in (one, two):
        writer.close(file)
    writer.flush()
    assert one.path.stat().st_size == two.path.stat().st_size == size
