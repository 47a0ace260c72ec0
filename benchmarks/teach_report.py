"""What came out of `teach.py`: a table, a CSV file, and learning curves."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from teach_runs import MODEL, Row

from napari_asmlp.io.files import replacing

_LAST = "teach: last answer"
_COLOURS = {
    "teach": "#0b6e99",
    MODEL: "#c2571a",
    "forest": "#8a8a8a",
    "forest with position": "#444444",
}


def write_csv(rows: Sequence[Row], path: Path) -> None:
    with replacing(path, overwrite=True) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].flat().keys())
        writer.writeheader()
        writer.writerows(row.flat() for row in rows)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield lines of Markdown: for each task and method the mean over seeds, and the least.

    Seeds differ in how many answers fit into their time, so the last ones have a line of their own.
    """
    rows = [*rows, *(replace(row, method=_LAST) for row in rows if _kind(row) == "teach")]
    yield "| task | annotated | method | seeds | mean Dice | least | seconds |"
    yield "|---|---|---|---|---|---|---|"
    about = dict.fromkeys((row.task, row.annotated) for row in rows)
    keys = dict.fromkeys(
        (*one, row.method) for one in about for row in rows if (row.task, row.annotated) == one
    )
    for task, annotated, method in keys:
        mine = [r for r in rows if (r.task, r.annotated, r.method) == (task, annotated, method)]
        last = {row.seed: row for row in mine}.values()
        dice, seconds = [row.dice for row in last], [row.seconds for row in last]
        yield (
            f"| {task} | {annotated} | {method} | {len(dice)} | {np.mean(dice):.3f}"
            f" | {min(dice):.3f} | {np.mean(seconds):.1f} |"
        )


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw Dice against seconds for each task, and against the number of strokes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys((row.task, row.annotated) for row in rows if not _on_curve(row)))
    curve = [row for row in rows if "strokes" in row.annotated]
    count = len(tasks) + bool(curve)
    columns = min(3, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (task, annotated) in zip(panels, tasks, strict=False):
        _seconds(axes, [r for r in rows if (r.task, r.annotated) == (task, annotated)])
        axes.set_title(f"{task}, {annotated}", fontsize=9)
    if curve:
        _strokes(panels[len(tasks)], curve)
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes in panels[:count]:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("mean Dice")
    names = dict(
        item
        for axes in panels[:count]
        for item in zip(*reversed(axes.get_legend_handles_labels()), strict=True)
    )
    figure.legend(names.values(), names.keys(), frameon=False, loc="outside lower center", ncols=4)
    with (
        rc_context({"svg.hashsalt": "teach", "svg.fonttype": "none"}),
        replacing(path, overwrite=True) as temporary,
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def _on_curve(row: Row) -> bool:
    """Tell whether a row is only there for the curve against strokes."""
    return "strokes" in row.annotated and row.amount != 20


def _kind(row: Row) -> str:
    return "teach" if row.method.startswith("teach") else row.method


def _seconds(axes: Any, rows: Iterable[Row]) -> None:
    by_line: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        by_line.setdefault((_kind(row), row.seed), []).append(row)
    for (kind, seed), mine in by_line.items():
        axes.plot(
            [row.seconds for row in mine],
            [row.dice for row in mine],
            color=_COLOURS[kind],
            marker="o",
            markersize=4,
            label=kind if seed == 0 else None,
        )
    axes.set_xlabel("seconds")


def _strokes(axes: Any, rows: Sequence[Row]) -> None:
    for kind in dict.fromkeys(_kind(row) for row in rows):
        mine = [row for row in rows if _kind(row) == kind]
        amounts = sorted({row.amount for row in mine})
        best = [
            np.mean([r.dice for r in {r.seed: r for r in mine if r.amount == n}.values()])
            for n in amounts
        ]
        axes.plot(amounts, best, color=_COLOURS[kind], marker="o", markersize=4)
    axes.set_xlabel("strokes")
    axes.set_title("at the end, against strokes", fontsize=9)
