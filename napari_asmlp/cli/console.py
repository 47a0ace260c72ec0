"""What the command line says: results on standard output, the rest on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Generator, Iterable
from typing import Protocol, TypeVar

Result = TypeVar("Result")
_LONGEST = 300  # characters of an error: names of files have no bounds
_EVERY_SECONDS, _LOG_EVERY_SECONDS = 0.2, 60.0  # on a terminal, in a log file


class Advancing(Protocol):
    """Progress of long work, as far as a line of text needs it."""

    @property
    def fraction(self) -> float:
        """Share that is done, 0 to 1."""

    @property
    def seconds_left(self) -> float | None:
        """Estimate, None where there is none yet."""

    def describe(self) -> str:
        """Return in a few words where the work stands."""


class Console:
    """Standard error: a line that follows the work, and nothing when quiet.

    Names and other texts from files go through it to a terminal, and no control sequences do.

    Where it is no terminal but a log file, progress is a line for each epoch of a training, and a
    line a minute of any other work.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._next = 0.0
        self._line_open = False

    def note(self, text: str) -> None:
        """Say one line, unless quiet."""
        if not self.quiet:
            self._close_line()
            sys.stderr.write(f"{printable(text)}\n")

    def error(self, text: str) -> None:
        """Say what went wrong in one line of at most 300 characters, always."""
        self._close_line()
        line = f"napari-asmlp: {printable(' '.join(text.split()))}"
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2 - 1]} … {line[2 - _LONGEST // 2 :]}"
        sys.stderr.write(f"{line}\n")

    def result(self, lines: Iterable[str]) -> None:
        """Write lines to standard output, quiet or not."""
        self._close_line()
        for line in lines:
            sys.stdout.write(f"{printable(line)}\n")
        sys.stdout.flush()

    def follow(self, work: Generator[Advancing, None, Result], title: str) -> Result:
        """Run long work to its end, showing its progress; closes it when interrupted."""
        self._next = 0.0 if self._is_terminal else time.monotonic() + _LOG_EVERY_SECONDS
        try:
            while True:
                self._show(title, next(work))
        except StopIteration as stop:
            result: Result = stop.value
            return result
        finally:
            work.close()
            self._close_line()

    def _show(self, title: str, progress: Advancing) -> None:
        now = time.monotonic()
        if self.quiet or (now < self._next and not self._is_due(progress)):
            return
        self._next = now + (_EVERY_SECONDS if self._is_terminal else _LOG_EVERY_SECONDS)
        left = progress.seconds_left
        remaining = "" if left is None else f", {format_seconds(left)} left"
        text = printable(f"{title}: {progress.fraction:4.0%}  {progress.describe()}{remaining}")
        if not self._is_terminal:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
            return
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{text[:width].ljust(width)}")
        sys.stderr.flush()
        self._line_open = True

    def _is_due(self, progress: Advancing) -> bool:
        """Tell whether a step is shown however soon it comes."""
        if self._is_terminal:
            return progress.fraction >= 1
        return bool(getattr(progress, "ends_epoch", False))

    def _close_line(self) -> None:
        if self._line_open:
            sys.stderr.write("\n")
            self._line_open = False


def printable(text: str) -> str:
    r"""Return text of one line with escapes for what a terminal would not print but obey.

    >>> printable("mm³ \x1b[2J")
    'mm³ \\x1b[2J'
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def format_seconds(seconds: float) -> str:
    """Return seconds as people say them.

    >>> format_seconds(7.2), format_seconds(90), format_seconds(7260)
    ('7 s', '1 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
