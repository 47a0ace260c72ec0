"""What a training run leaves for the eye: a table, a plot, and events for TensorBoard.

All are made of the history that the checkpoint holds, so that a run which was killed and resumed
has one unbroken record.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_asmlp.errors import SettingsError
from napari_asmlp.io.files import check_folder, replacing
from napari_asmlp.training.state import mean_dice

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = Mapping[str, Any]
PLOT_SUFFIXES = (".png", ".svg", ".pdf")
_COLUMNS = ("epoch", "step", "seconds", "lr", "loss")


@dataclass(frozen=True)
class Logs:
    """Where the record of a run goes; `open` before the first epoch, `close` at the end.

    Attributes
    ----------
    table : CSV, a row for each epoch
    plot : picture, drawn anew whenever the cases kept out were scored; or None
    tensorboard : folder for events, or None
    """

    table: Path
    plot: Path | None = None
    tensorboard: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The files that are written, without the folder for events."""
        return [self.table] if self.plot is None else [self.table, self.plot]

    def check(self) -> None:
        """Raise an `AsmlpError` where a library, a suffix or a place to write is not there."""
        if self.plot is not None and self.plot.suffix not in PLOT_SUFFIXES:
            raise SettingsError(f"{self.plot}: a plot ends in {', '.join(PLOT_SUFFIXES)}")
        for wanted, library in ((self.plot, "matplotlib"), (self.tensorboard, "tensorboard")):
            if wanted is not None:
                _require(library)
        if self.tensorboard is not None:
            check_folder(_first_existing(self.tensorboard))


class LogWriter:
    """Keeps the files of `Logs` up to date with the history of a run."""

    def __init__(self, logs: Logs, label_names: Sequence[str]) -> None:
        self._logs, self._names = logs, list(label_names)
        self._events = None if logs.tensorboard is None else _events(logs.tensorboard)
        self._reported = 0  # rows in TensorBoard

    def take(self, history: Sequence[Row]) -> None:
        """Write what is new."""
        self._write_table(history)
        if self._logs.plot is not None and history[-1]["dice"]:
            draw(history, self._names, self._logs.plot)
        if self._events is not None:
            for row in history[self._reported :]:
                for name, value in _values(row, self._names).items():
                    self._events.add_scalar(name, value, row["step"])
            self._events.flush()
        self._reported = len(history)

    def close(self) -> None:
        """End the events."""
        if self._events is not None:
            self._events.close()

    def _write_table(self, history: Sequence[Row]) -> None:
        with (
            replacing(self._logs.table, overwrite=True) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([*_COLUMNS, *(f"dice {name}" for name in self._names)])
            for row in history:
                scores = row["dice"] or {}
                dice = [scores.get(str(n), "") for n in range(1, len(self._names) + 1)]
                writer.writerow([*(row[column] for column in _COLUMNS), *dice])


def draw(history: Sequence[Row], label_names: Sequence[str], path: Path) -> None:
    """Draw loss and Dice over epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([row["epoch"] for row in history], [row["loss"] for row in history])
    left.set(xlabel="epoch", ylabel="loss")
    scored = [row for row in history if row["dice"]]
    for n, name in enumerate(label_names, start=1):
        known = [row for row in scored if str(n) in row["dice"]]
        right.plot(
            [row["epoch"] for row in known],
            [row["dice"][str(n)] for row in known],
            marker=".",
            label=name,
        )
    right.set(xlabel="epoch", ylabel="Dice on cases kept out")
    right.legend()
    with replacing(path, overwrite=True) as temporary:
        figure.savefig(temporary)


def _values(row: Row, label_names: Sequence[str]) -> dict[str, float]:
    values = {"loss": row["loss"], "learning rate": row["lr"]}
    if scores := row["dice"]:
        names = dict(enumerate(label_names, start=1))
        values |= {f"Dice/{names[int(n)]}": score for n, score in scores.items()}
        values["Dice/mean"] = mean_dice(scores)
    return values


def _events(folder: Path) -> SummaryWriter:
    """Open a folder for TensorBoard; what an earlier sitting wrote is replaced by its history."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=0)


def _first_existing(folder: Path) -> Path:
    """Return the folder, or that above it in which it can be made."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _require(library: str) -> None:
    if find_spec(library) is None:
        raise SettingsError(
            f"{library} is not installed; it comes with: pip install 'napari-asmlp[training]'"
        )
