"""The command line: `napari-asmlp COMMAND`, each command in a file of its own.

Exit status: 0 done, 1 an internal fault or some inputs of several failed, 2 wrong usage or input,
130 cancelled.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from napari_asmlp import __version__
from napari_asmlp.cli.console import Console
from napari_asmlp.errors import AsmlpError

COMMANDS = {
    "demo": "the main job on a real MRI volume that an installed package ships",
    "segment": "label volumes; the labels lie on each volume's own grid",
    "train": "learn a model from a folder of labelled volumes",
    "train-classifier": "learn to classify volumes, or objects of label files",
    "classify": "the class of volumes, or of each object of a label file",
    "teach": "learn from a few annotated voxels of a volume and label the rest",
    "fine-tune": "a better model from corrections of its labels",
    "evaluate": "compare labels with reference labels",
    "measure": "size, place, shape and intensities of labels or connected objects",
    "convert": "labels or a volume in another format, on the same grid",
    "models": "list, show, verify and import models",
    "replay": "run again what was recorded beside labels",
    "benchmark": "how fast the bundled models are here, beside what one would pick instead",
    "doctor": "say what is installed, what is missing and how to get it",
}
WRONG_INPUT, CANCELLED = 2, 130
MOST_THREADS = 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    _on_signals(_leave)
    options = build_parser(words).parse_args(words)
    _on_signals(_interrupt)
    try:
        return _run(options)
    except KeyboardInterrupt:
        Console().error("cancelled")
        return CANCELLED
    except BrokenPipeError:  # whoever read our output, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(options: argparse.Namespace) -> int:
    console = Console(quiet=options.quiet)
    _calm_libraries(debug=options.debug)
    try:
        if options.threads is not None:
            importlib.import_module("torch").set_num_threads(options.threads)
        status: int = options.run(options, console)
    except AsmlpError as error:
        if options.debug:
            traceback.print_exc()
        console.error(str(error))
        return WRONG_INPUT
    except BrokenPipeError:
        raise
    except OSError as error:  # of a file or folder that a command was given, or of the disk
        if options.debug:
            traceback.print_exc()
        named = error.filename2 or error.filename
        console.error(f"{'' if named is None else f'{named}: '}{error.strerror or error}")
        return WRONG_INPUT
    return status


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; only the command that `words` name is imported and filled in."""
    parser = Parser(
        prog="napari-asmlp",
        description="Segment 3D volumes with an axial-shifted MLP, in napari or without it.",
    )
    parser.set_defaults(quiet=False, debug=False, threads=None, volume=None)
    common_options(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    named = {word for word in words if not word.startswith("-")}
    for name, summary in COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(name, help=summary, description=description)
        if name in named:
            module = importlib.import_module(f"napari_asmlp.cli.{name.replace('-', '_')}")
            module.add_arguments(command)
    return parser


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on, and leave."""
        self.exit(WRONG_INPUT, f"{self.prog}: {message}; see {self.prog} -h\n")


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def threads(text: str) -> int:
    """Read a number of threads that a machine can bear."""
    number = positive(text)
    if number > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{number} is more than {MOST_THREADS}")
    return number


def common_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that go with every command, before or after its name."""
    unsaid = argparse.SUPPRESS  # a level that is not told anything leaves the others' word
    parser.add_argument("--version", action="version", version=f"napari-asmlp {__version__}")
    parser.add_argument(
        "--quiet", action="store_true", default=unsaid, help="say nothing but errors"
    )
    parser.add_argument(
        "--debug", action="store_true", default=unsaid, help="show the traceback of an error"
    )
    parser.add_argument(
        "--threads", type=threads, default=unsaid, metavar="N", help="CPU threads to compute with"
    )
    parser.add_argument(
        "--volume", type=int, default=unsaid, metavar="N", help="take volume N (from 0) of 4D files"
    )


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """End at once: an exception in the middle of imports does not come out as one."""
    os.write(2, b"napari-asmlp: cancelled\n")
    os._exit(CANCELLED)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Let signals end the work by an exception, so that it can clean up."""
    raise KeyboardInterrupt


def _calm_libraries(*, debug: bool) -> None:
    """Keep other people's warnings off the user's screen: ours say all that concerns him."""
    if not debug:
        warnings.simplefilter("ignore")
        logging.getLogger("nibabel").setLevel(logging.CRITICAL)
