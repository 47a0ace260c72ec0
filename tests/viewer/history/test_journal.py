from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_asmlp.edit.step import Step
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.io import read_volume
from napari_asmlp.viewer.files import save_labels
from napari_asmlp.viewer.history import edits as history_edits
from napari_asmlp.viewer.history import journal, records, recover
from napari_asmlp.viewer.history.edits import Edits, edits_of
from napari_asmlp.viewer.history.records import replay, summary
from napari_asmlp.viewer.layers import image_layer_data, labels_on, source_view, volume_of

from ..conftest import ENTRIES, SHAPE


@pytest.fixture(autouse=True)
def closed():
    yield
    journal.close_all()


@pytest.fixture
def viewer(scan):
    """The scan and labels on it, attended as in a window."""
    model = ViewerModel()
    ((data, attributes, _),) = image_layer_data(read_volume(scan))
    image = model.add_image(data, **attributes)
    journal.follow(model)
    model.add_layer(labels_on(image, np.zeros(SHAPE, np.uint8), ENTRIES, "mine"))
    return model


def files() -> list[Path]:
    journal.flush()
    return sorted(journal.folder().glob("*"))


def paint(layer, value=1, at=(2, 3, 3)):
    layer.brush_size = 3
    layer.paint(at, value)


def replayed(path):
    steps = replay(path)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def abandoned(monkeypatch):
    """Let all processes seem to be gone."""
    monkeypatch.setattr(recover, "_is_taken", lambda held: False)
    for each in journal._open.values():
        journal._writer.close(each._file)
    journal.flush()
    journal._open.clear()


def test_a_journal_follows_each_edit(viewer):
    layer = viewer.layers["mine"]
    paint(layer, 1)
    paint(layer, 2, (4, 4, 4))
    layer.undo()
    (path,) = files()
    again = replayed(path)
    assert (again.labels == source_view(layer)).all()
    assert len(again.history.past) == len(again.history.future) == 1
    held = summary(path)
    assert (held.header.name, held.changes, held.ended) == ("mine", 3, False)


def test_labels_that_came_with_something_in_them(viewer, scan):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 5, SHAPE, np.uint16)
    viewer.add_layer(labels_on(viewer.layers[0], array.copy(), (), "full"))
    viewer.add_layer(Labels(np.full((3, 4), -7, np.int32), name="flat"))
    by_name = {summary(path).header.name: path for path in files()}
    assert (replayed(by_name["full"]).labels == array).all()
    assert (replayed(by_name["flat"]).labels == -7).all()


def test_what_holds_no_labels_or_is_not_in_memory_has_no_journal(viewer):
    before = files()
    viewer.add_points([[0, 0, 0]])
    preview = labels_on(viewer.layers[0], np.zeros(SHAPE, np.uint8))
    journal.postpone(preview)
    viewer.add_layer(preview)
    assert files() == before
    journal.begin(preview, unsaved=True)
    assert len(files()) == len(before) + 1


def test_a_layer_closed_without_edits_leaves_nothing(viewer):
    assert files()
    viewer.layers.remove("mine")
    assert files() == []


def test_a_layer_closed_after_its_export_leaves_nothing(viewer, tmp_path):
    layer = viewer.layers["mine"]
    paint(layer)
    save_labels(layer, tmp_path / "out.nii.gz")
    viewer.layers.remove(layer)
    assert files() == []


def test_edits_after_the_export_are_kept(viewer, tmp_path):
    layer = viewer.layers["mine"]
    paint(layer)
    save_labels(layer, tmp_path / "out.nii.gz")
    paint(layer, 2)
    expected = source_view(layer).copy()
    viewer.layers.clear()
    (path,) = files()
    assert (summary(path).changes, summary(path).ended) == (1, True)
    assert (replayed(path).labels == expected).all()
    assert [held.path for held in recover.found().sound] == [path]


def test_an_edit_during_an_export_is_not_taken_for_saved(viewer):
    layer = viewer.layers["mine"]
    paint(layer)
    then = journal.changes_of(layer)
    paint(layer, 2)
    journal.saved(layer, then)
    viewer.layers.remove(layer)
    assert len(files()) == 1


def test_replaced_labels_are_a_new_base(viewer):
    layer = viewer.layers["mine"]
    paint(layer)
    layer.data = np.full(layer.data.shape, 3, np.uint16)
    paint(layer, 4)
    (path,) = files()
    again = replayed(path)
    assert (again.labels == source_view(layer)).all()
    assert len(again.history.past) == 1


def test_a_journal_begun_late_knows_the_past(viewer):
    late = labels_on(viewer.layers[0], np.zeros(SHAPE, np.uint8), (), "late")
    journal.postpone(late)
    viewer.add_layer(late)
    paint(late, 1)
    paint(late, 2, (4, 4, 4))
    late.undo()
    journal.begin(late, unsaved=True)
    late.undo()
    late.redo()
    late.redo()
    path = next(path for path in files() if summary(path).header.name == "late")
    again = replayed(path)
    assert (again.labels == source_view(late)).all()
    assert len(again.history.past) == 2


def test_a_torn_tail_is_dropped(viewer, tmp_path):
    layer = viewer.layers["mine"]
    paint(layer, 1)
    journal.flush()
    (path,) = files()
    sound, first = path.stat().st_size, source_view(layer).copy()
    paint(layer, 2)
    journal.flush()
    data = path.read_bytes()
    torn = tmp_path / "torn.journal"
    for end in range(sound, len(data)):
        torn.write_bytes(data[:end])
        again = replayed(torn)
        assert (again.labels == first).all()
        assert again.stop == sound
    torn.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # whole, but its checksum is wrong
    assert (replayed(torn).labels == first).all()


def test_no_cut_or_changed_byte_does_harm(viewer, tmp_path):
    paint(viewer.layers["mine"])
    (path,) = files()
    data = path.read_bytes()
    bad = tmp_path / "bad.journal"
    for at in range(0, len(data), 7):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
            bad.write_bytes(changed)
            try:
                again = replayed(bad)
            except VolumeError as error:
                assert "\n" not in str(error)
                assert str(bad) in str(error)
            else:
                assert again.labels.shape == SHAPE


def test_a_header_that_asks_for_too_much_is_refused(tmp_path):
    header = {"name": "x", "shape": [2**30, 2**30], "dtype": "|u1", "order": "C", "pid": 1}
    path = tmp_path / "x.journal"
    base = records.frame(records.BASE, Step.of_all(np.ones(3, np.uint8)).to_bytes())
    text = json.dumps(header).encode()
    path.write_bytes(records.MAGIC + records.frame(records.HEADER, text) + base)
    with pytest.raises(VolumeError, match="too many"):
        replayed(path)


def test_living_windows_are_not_offered(viewer):
    paint(viewer.layers["mine"])
    files()
    assert recover.found() == recover.Found()


def test_dead_ones_are_offered_unless_there_is_nothing_to_lose(viewer, monkeypatch):
    paint(viewer.layers["mine"])
    viewer.add_layer(Labels(np.ones((3, 4), np.uint8), name="untouched"))
    abandoned(monkeypatch)
    (held,) = recover.found().sound
    assert recover.describe(held)[0] == "mine"
    assert recover.describe(held)[1] == "scan.nii.gz"
    assert recover.describe(held)[3] == "1 edit"
    assert len(files()) == 1


def test_it_says_whether_the_result_of_a_model_is_saved(viewer, tmp_path):
    result = labels_on(viewer.layers[0], np.ones(SHAPE, np.uint8), (), "result")
    journal.postpone(result)
    viewer.add_layer(result)
    journal.begin(result, unsaved=True)

    def lost():
        held = [summary(path) for path in files()]
        return next(recover.describe(each)[3] for each in held if each.header.name == "result")

    assert lost() == "model result"
    paint(result, 2)
    assert lost() == "model result, 1 edit"
    save_labels(result, tmp_path / "out.nii.gz")
    paint(result, 3)
    paint(result, 4)
    assert lost() == "2 edits"


def test_old_ones_are_removed_and_damaged_ones_left_alone(viewer, monkeypatch):
    paint(viewer.layers["mine"])
    abandoned(monkeypatch)
    (path,) = files()
    bad = path.with_name("bad.journal")
    bad.write_bytes(b"no journal")
    long_ago = time.time() - 31 * 86_400
    os.utime(path, (long_ago, long_ago))
    there = recover.found()
    assert there.sound == ()
    assert "bad.journal: this is no journal" in there.damaged[0]
    assert files() == [bad]
    os.utime(bad, (long_ago, long_ago))
    assert recover.found() == recover.Found()
    assert files() == []


def test_what_was_cut_off_before_its_labels_is_removed_when_nobody_writes_it(viewer, monkeypatch):
    abandoned(monkeypatch)
    (path,) = files()
    whole = path.read_bytes()
    with path.open("rb") as stream:
        header, base = (stream.tell() + size for _, size, _ in records._records(stream, path))
    path.unlink()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = journal.folder() / f"20260101-000000-{process.pid}-abcdef.journal"
    alive = journal.folder() / f"20260101-000000-{os.getpid()}-abcdef.journal"
    for end in (0, 5, len(records.MAGIC), header - 1, header, base - 1):
        for each in (dead, alive):
            each.write_bytes(whole[:end])
        assert recover.found() == recover.Found()
        assert files() == [alive]


def test_restored_labels_lie_where_they_were_and_go_on(viewer, scan, monkeypatch):
    layer = viewer.layers["mine"]
    paint(layer, 1)
    paint(layer, 2, (4, 4, 4))
    layer.undo()
    abandoned(monkeypatch)
    (held,) = recover.found().sound
    other = ViewerModel()
    journal.follow(other)
    new = recover.add_restored(other, replayed(held.path))
    assert (source_view(new) == source_view(layer)).all()
    assert (new.data == layer.data).all()
    assert volume_of(new).grid.same_as(volume_of(layer).grid)
    assert volume_of(new).path == scan
    assert new.name == "mine"
    assert list(new.features["name"]) == ["background", "anterior", "posterior"]
    assert np.allclose(new.colormap.map(1), layer.colormap.map(1), atol=1e-3)
    new.redo()
    assert new.data[4, 4, 4] == 2
    new.undo()
    new.undo()
    assert not new.data.any()
    assert files() == [held.path]  # the same file goes on
    again = replayed(held.path)
    assert not again.labels.any()


def test_restored_labels_of_a_file_that_is_gone_keep_their_grid(viewer, scan, monkeypatch):
    layer = viewer.layers["mine"]
    paint(layer)
    abandoned(monkeypatch)
    (held,) = recover.found().sound
    scan.unlink()
    new = recover.add_restored(ViewerModel(), replayed(held.path))
    assert volume_of(new).path is None
    assert volume_of(new).grid.same_as(volume_of(layer).grid)
    assert (new.data == layer.data).all()


KILLED = """
    import sys
    import numpy as np
    from napari.components import ViewerModel
    from napari_asmlp.io import read_volume
    from napari_asmlp.viewer.history import journal
    from napari_asmlp.viewer.layers import image_layer_data, labels_on, source_view

    viewer = ViewerModel()
    ((data, attributes, _),) = image_layer_data(read_volume(sys.argv[1]))
    image = viewer.add_image(data, **attributes)
    journal.follow(viewer)
    layer = labels_on(image, np.zeros(image.data.size, np.uint8).reshape(6, 7, 8), (), "killed")
    viewer.add_layer(layer)
    rng = np.random.default_rng(0)
    layer.brush_size = 2
    for stroke in range(40):
        layer.paint(rng.integers(0, layer.data.shape), int(rng.integers(1, 5)))
        if stroke % 5 == 4:
            layer.undo()
    journal.flush()
    np.save(sys.argv[2], source_view(layer))
    print("ready", flush=True)
    while True:
        layer.paint(rng.integers(0, layer.data.shape), 7)
"""


def test_a_killed_process_loses_nothing(scan, tmp_path):
    saved = tmp_path / "state.npy"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(scan), str(saved)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert recover.found().sound == ()  # it lives
        os.kill(process.pid, signal.SIGKILL)
    (held,) = recover.found().sound
    assert held.changes >= 40
    new = recover.add_restored(ViewerModel(), replayed(held.path))
    expected = np.load(saved)
    untouched = source_view(new) != 7  # painted after the state was saved
    assert (source_view(new) == expected)[untouched].all()
    edits = edits_of(new)
    while 7 in edits.array:
        edits.undo()
    assert (edits.array == expected).all()


@pytest.fixture
def slow_base(monkeypatch):
    """Let the writer pause in the middle of reading a base, until the event is set."""
    pack, go = Step.of_all, Event()

    def paused(labels):
        read = labels.copy(order="K")
        assert go.wait(10)
        read[len(read) // 2 :] = labels[len(read) // 2 :]
        return pack(read)

    monkeypatch.setattr(Step, "of_all", paused)
    return go


def test_killed_after_any_record_it_is_as_it_was_once(viewer, slow_base, tmp_path):
    layer = viewer.add_layer(Labels(np.zeros((4, 5, 6), np.uint8), name="flat"))
    states = [layer.data.copy()]
    for at, value in (((0, 2, 2), 1), ((3, 2, 2), 2), ((0, 2, 2), 3)):
        layer.paint(at, value)
        states.append(layer.data.copy())
    layer.undo()
    slow_base.set()
    (path,) = (path for path in files() if summary(path).header.name == "flat")
    data, cut = path.read_bytes(), tmp_path / "cut.journal"
    with path.open("rb") as stream:
        ends = [stream.tell() + size for _, size, _ in records._records(stream, path)]
    restored = []
    for end in ends[1:]:  # the first record is the header
        cut.write_bytes(data[:end])
        restored.append(replayed(cut).labels)
    assert len(restored) == 5
    assert np.array_equal(restored, [*states, states[2]])


def test_a_journal_begun_while_a_step_is_written_has_all_of_it(viewer, slow_base, monkeypatch):
    late = labels_on(viewer.layers[0], np.zeros((6, 7, 8), np.uint8), (), "late")
    journal.postpone(late)
    viewer.add_layer(late)
    edits = edits_of(late)
    monkeypatch.setattr(history_edits, "has_event_loop", lambda: True)
    monkeypatch.setattr(Edits, "_slot", lambda self: self._advance(0))
    after = np.ones_like(edits.array)
    boxes = [(slice(0, 3), slice(0, 7), slice(0, 8)), (slice(3, 6), slice(0, 7), slice(0, 8))]
    edits.commit(Step.between(edits.array, after, boxes=boxes))
    assert edits.busy
    journal.begin(late, unsaved=True)
    slow_base.set()
    (path,) = (path for path in files() if summary(path).header.name == "late")
    assert (replayed(path).labels == 1).all()


def test_a_full_disk_is_told_once(viewer, monkeypatch, notes, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv(journal.STATE_VARIABLE, str(blocked))
    layer = viewer.add_layer(Labels(np.zeros((3, 4), np.uint8)))
    layer.paint((1, 1), 1)
    layer.paint((1, 2), 2)
    journal.flush()
    assert len([note for note in notes if "not being backed up" in note]) == 1
    layer.undo()
    layer.undo()
    assert not layer.data.any()


def test_an_export_before_the_crash_counts_after_it(viewer, tmp_path, monkeypatch):
    layer = viewer.layers["mine"]
    paint(layer, 1)
    save_labels(layer, tmp_path / "out.nii.gz")
    paint(layer, 2)
    abandoned(monkeypatch)
    (held,) = recover.found().sound
    assert held.changes == 1
    other = ViewerModel()
    journal.follow(other)
    new = recover.add_restored(other, replayed(held.path))
    paint(new, 3)
    (path,) = files()
    assert summary(path).changes == 2
    journal.saved(new)
    journal.flush()
    assert summary(path).changes == 0
    other.layers.clear()
    assert files() == []


def test_what_is_restored_twice_at_once_has_two_journals(viewer, monkeypatch):
    paint(viewer.layers["mine"], 1)
    abandoned(monkeypatch)
    (held,) = recover.found().sound
    again = [replayed(held.path), replayed(held.path)]
    one, two = (recover.add_restored(ViewerModel(), each) for each in again)
    paint(two, 2, (4, 4, 4))
    states = {str(source_view(layer)) for layer in (one, two)}
    assert {str(replayed(path).labels) for path in files()} == states


def test_a_living_window_keeps_its_journal_to_itself(viewer):
    paint(viewer.layers["mine"])
    (path,) = files()
    with pytest.raises(SettingsError, match="already"):
        next(recover._steps(path))


def test_an_edit_that_was_undone_leaves_nothing(viewer, tmp_path):
    layer = viewer.layers["mine"]
    paint(layer)
    layer.undo()
    (path,) = files()
    assert not summary(path).is_worth_keeping  # nor after a crash
    layer.redo()
    journal.flush()
    assert summary(path).is_worth_keeping
    save_labels(layer, tmp_path / "out.nii.gz")
    paint(layer, 2)
    layer.undo()
    viewer.layers.remove(layer)
    assert files() == []


def note(*kinds):
    tally = records.Tally()
    for kind in kinds:
        tally.note(kind)
    return tally


def test_only_undoing_and_redoing_leads_back_to_what_was_saved():
    commit, undo, redo = records.COMMIT, records.UNDO, records.REDO
    assert note().is_clean
    assert not note(commit).is_clean
    assert note(commit, commit, undo, undo).is_clean
    assert note(records.PAST, records.PAST, records.FUTURE, undo).is_clean
    tally = note(commit, commit)
    tally.save(2)
    for kind, clean in ((undo, False), (redo, True), (undo, False), (commit, False)):
        tally.note(kind)
        assert tally.is_clean is clean  # the last one is another step than the one saved
    tally = note(commit, commit, undo, commit)
    tally.save(2)  # what it was then cannot be reached any more
    assert not tally.is_clean
    tally.replaced()
    assert (tally.total, tally.is_clean) == (5, False)
