from __future__ import annotations

import subprocess
import sys
from threading import Event, get_ident

import pytest

from napari_asmlp.errors import VolumeError
from napari_asmlp.viewer.tasks import Job, Task


def task(steps, qtbot):
    made = Task(Job("a test", steps))
    made.seen = []
    made.stepped.connect(made.seen.append)
    return made


def test_steps_and_result_arrive(qtbot):
    def steps():
        yield 1
        yield 2
        return 3

    job = task(steps, qtbot)
    with qtbot.waitSignals([job.returned, job.ended], timeout=30_000) as signals:
        job.start()
    assert job.seen == [1, 2]
    assert signals.all_signals_and_args[0].args == (3,)


def test_cancel_closes_the_generator_in_its_own_thread(qtbot):
    go, closed = Event(), []

    def steps():
        ran_in = get_ident()
        try:
            while True:
                yield "step"
                go.wait(30)
        finally:
            closed.append(ran_in == get_ident())

    job = task(steps, qtbot)
    with qtbot.waitSignal(job.stepped, timeout=30_000):
        job.start()
    with qtbot.assertNotEmitted(job.returned), qtbot.waitSignal(job.ended, timeout=30_000):
        job.cancel()
        go.set()
    assert closed == [True]
    assert job.is_cancelled


@pytest.mark.parametrize("error", [VolumeError("scan.nii: is empty"), RuntimeError("out of paper")])
def test_every_error_is_one_notification(qtbot, notes, error):
    def steps():
        yield 1
        raise error

    job = task(steps, qtbot)
    with qtbot.waitSignals([job.failed, job.ended], timeout=30_000) as signals:
        job.start()
    assert notes == [str(error)]
    assert signals.all_signals_and_args[0].args == (str(error),)


def test_an_error_on_the_way_in_is_reported_too(qtbot, notes):
    def steps():
        raise VolumeError("no such file")

    job = task(steps, qtbot)
    with qtbot.waitSignal(job.ended, timeout=30_000):
        job.start()
    assert notes == ["no such file"]


def test_a_title_says_what_is_busy():
    assert str(Job("segmentation of scan", iter)) == "segmentation of scan"


EXIT_WHILE_BUSY = """
import sys, time
from qtpy.QtCore import QCoreApplication
from napari_asmlp.viewer.tasks import Job, Task

def steps():
    while True:
        time.sleep(0.01)
        yield

app = QCoreApplication([])
task = Task(Job("a test", steps))
task.stepped.connect(lambda _: app.quit())
task.start()
app.exec_() if hasattr(app, "exec_") else app.exec()
sys.exit(3)
"""


def test_the_interpreter_exits_cleanly_while_a_task_runs():
    done = subprocess.run([sys.executable, "-c", EXIT_WHILE_BUSY], timeout=120, check=False)
    assert done.returncode == 3
