"""Tools in a process of their own: the same answer, gone when nobody waits for it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_asmlp.edit import ClipToRegion, Grow, GrowFromSeeds, Target, apart
from napari_asmlp.errors import AsmlpError, GridError, SettingsError, VolumeError
from napari_asmlp.grid import Region

ONE = Target(1, None, frozenset({3}))
SPACING = (1.0, 2.0, 0.5)
SHARED = Path("/dev/shm")


@pytest.fixture(autouse=True)
def apart_at_once(monkeypatch):
    """Have small arrays handed over too; nothing may be left in shared memory."""
    monkeypatch.setattr(apart, "_LARGE_VOXELS", 0)
    before = set(SHARED.iterdir()) if SHARED.is_dir() else set()
    yield
    assert (set(SHARED.iterdir()) if SHARED.is_dir() else set()) <= before


@pytest.fixture
def starting():
    """Steps of an edit whose process has just been started, and the process."""
    while apart._idle:
        apart._idle.pop().end()
    steps = edit(Grow()).steps()
    next(steps)  # its imports take longer than one step
    (process,) = apart._all
    yield steps, process
    steps.close()


def labels():
    made = np.zeros((6, 7, 8), np.uint8)
    made[2:4, 2:5, 2:6], made[5, 6, 7], made[0] = 1, 2, 3
    return made


def edit(tool, array=None, image=None):
    return apart.Edit(tool, labels() if array is None else array, ONE, SPACING, image)


def done(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    "tool",
    [Grow(2.0), ClipToRegion(Region((0, 0, 0), (3, 3, 3))), GrowFromSeeds(0, 100)],
    ids=lambda tool: tool.title,
)
@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray, lambda a: a[::-1, :, ::-1]])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4"])
def test_the_answer_is_the_same(tool, layout, dtype):
    array = layout(labels().astype(dtype))
    image = np.arange(array.size, dtype=np.float32).reshape(array.shape)
    before = array.copy()
    change = done(edit(tool, array, image).steps())
    here = tool(array, ONE, SPACING, image)
    assert np.array_equal(array, before)
    assert (change.region, change.lost, change.gained) == (here.region, here.lost, here.gained)
    assert np.array_equal(change.mask, here.mask) and np.array_equal(change.values, here.values)


def test_no_change_is_one_too():
    everywhere = ClipToRegion(Region((0, 0, 0), (9, 9, 9)))
    assert done(edit(everywhere).steps()).count == 0


@pytest.mark.parametrize(
    ("tool", "array", "image", "error", "says"),
    [
        (Grow(float("nan")), labels(), None, SettingsError, "nan mm"),
        (Grow(), labels() * 0, None, SettingsError, "label 1 is empty"),
        (Grow(), labels().astype("f4"), None, VolumeError, "float32"),
        (Grow(), labels() - np.int32(1), None, VolumeError, "negative"),
        (GrowFromSeeds(), labels(), np.zeros((1, 1, 1)), GridError, "does not lie on"),
    ],
)
def test_errors_come_back_as_they_are(tool, array, image, error, says):
    with pytest.raises(error, match=says):
        done(edit(tool, array, image).steps())


def test_the_process_is_kept_for_the_next_tool():
    done(edit(Grow()).steps())
    kept = list(apart._idle)
    done(edit(Grow()).steps())
    assert len(kept) == 1 and apart._idle == kept


def test_closing_kills_at_once(starting):
    steps, process = starting
    assert process.status is None
    steps.close()
    assert process.status is not None and not apart._all and not apart._idle


def test_a_process_that_ends_is_told_of_and_the_next_one_works(starting):
    steps, process = starting
    process._popen.kill()
    with pytest.raises(AsmlpError, match="ended with status"):
        done(steps)
    assert done(edit(Grow()).steps()).count


def test_too_little_memory_is_told_of(monkeypatch):
    def answer(_request):
        yield
        return apart.Reply(error="MemoryError")

    monkeypatch.setattr(apart, "_answer", answer)
    with pytest.raises(AsmlpError, match="needs more memory"):
        done(edit(Grow()).steps())


@pytest.mark.parametrize("reason", ["small", "not to be shared"])
def test_the_process_is_done_without(monkeypatch, reason):
    monkeypatch.setattr(apart, "_answer", None)  # nobody to ask
    if reason == "small":
        monkeypatch.setattr(apart, "_LARGE_VOXELS", 10_000)
    else:
        monkeypatch.setattr(apart.Edit, "_can_be_shared", False)
    assert done(edit(Grow()).steps()).count


def test_the_process_loads_neither_torch_nor_a_window():
    code = (
        "import napari_asmlp.edit.worker, sys;"
        "print({'torch', 'napari', 'qtpy', 'PyQt5', 'PyQt6'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
