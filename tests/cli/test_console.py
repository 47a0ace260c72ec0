"""Progress of long work: a line that changes in a terminal, lines in a log file."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from napari_asmlp.cli import console as module
from napari_asmlp.cli.console import Console


@dataclass
class Step:
    """Progress of work: an epoch of a training where `ends_epoch` is true."""

    done: int
    ends_epoch: bool = False
    seconds_left: float | None = 90.0

    @property
    def fraction(self):
        return self.done / 4

    def describe(self):
        return f"step {self.done}"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def work(clock, seconds, steps):
    for step in steps:
        clock[0] += seconds
        yield step
    return "result"


@pytest.mark.parametrize(
    ("seconds", "epochs", "said"),
    [
        (1, (1, 2, 3, 4), [1, 2, 3, 4]),  # each epoch, however soon
        (1, (), []),  # other work of a few seconds: nothing
        (31, (), [2, 4]),  # a line a minute
        (61, (2,), [1, 2, 3, 4]),
    ],
)
def test_lines_in_a_log_file(clock, capsys, seconds, epochs, said):
    steps = [Step(n, ends_epoch=n in epochs) for n in (1, 2, 3, 4)]
    assert Console().follow(work(clock, seconds, steps), "m") == "result"
    expected = [f"m: {n * 25:3}%  step {n}, 1 min 30 s left" for n in said]
    assert capsys.readouterr().err.splitlines() == expected


def test_quiet_says_nothing(clock, capsys):
    steps = [Step(n, ends_epoch=True) for n in (1, 2, 3, 4)]
    Console(quiet=True).follow(work(clock, 61, steps), "m")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_that_changes(clock, capsys, monkeypatch):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    Console().follow(work(clock, 1, [Step(1), Step(4)]), "m")
    shown = capsys.readouterr().err
    expected = ["m:  25%  step 1, 1 min 30 s left", "m: 100%  step 4, 1 min 30 s left"]
    assert [part.strip() for part in shown.split("\r")[1:]] == expected
    assert shown.count("\n") == 1


def test_what_a_stranger_wrote_is_printed_and_not_obeyed(capsys):
    console = Console()
    owned = "a\x1b]0;owned\x07\nnapari-asmlp: all well\u202e mm³"
    console.result([owned])
    console.note(owned)
    console.error(owned)
    said = capsys.readouterr()
    shown = r"a\x1b]0;owned\x07\nnapari-asmlp: all well\u202e mm³"
    assert said.out == f"{shown}\n"
    assert said.err == f"{shown}\nnapari-asmlp: {shown.replace(chr(92) + 'n', ' ')}\n"


def test_an_error_is_one_line_that_keeps_its_beginning_and_its_end(capsys):
    Console().error(f"{'long' * 200}: is not there;\ncheck the name")
    said = capsys.readouterr().err
    assert len(said) == 301 and said.count("\n") == 1
    assert said.startswith("napari-asmlp: longlong")
    assert " … " in said and said.endswith("long: is not there; check the name\n")
