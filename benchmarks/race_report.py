"""What a race gave: a table in Markdown, a plot, and both in the manual's page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_asmlp.io.files import replacing

Result = Mapping[str, Any]

BEGIN, END = "<!-- race: begin -->", "<!-- race: end -->"
COLOURS = {
    "asmlp": "#d1495b",
    "asmlp_compiled": "#7b1e3a",
    "unet": "#00798c",
    "dynunet": "#30638e",
    "mixer4": "#e09f3e",
    "mixer8": "#8d6a9f",
}
DASHES = {"muon": "-", "adamw": ":"}


def table(results: Sequence[Result], skipped: Mapping[str, str]) -> str:
    """Means over seeds, with their standard deviation; then differences on the same folds."""
    entries = by_entry(results)
    lines = [
        "| entry | Dice | HD95 (mm) | parameters | GFLOP a crop | ms a step | steps"
        " | ms a case | MiB to train | MiB to infer |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(row(entry, runs) for entry, runs in entries.items()),
        *(f"| {entry} | left out: {reason} |" + " |" * 8 for entry, reason in skipped.items()),
    ]
    pairs = list(differences(entries))
    if pairs:
        lines += ["", "| on the same folds | Dice, mean (range) |", "|---|---|", *pairs]
    lines += [f"\n{note}" for note in notes(entries)]
    return "\n".join(lines)


def by_entry(results: Sequence[Result]) -> dict[str, list[Result]]:
    entries: dict[str, list[Result]] = {}
    for result in results:
        entries.setdefault(result["entry"], []).append(result)
    return entries


def row(entry: str, runs: Sequence[Result]) -> str:
    def mean(key: str, show: Callable[[float], str]) -> str:
        return show(statistics.fmean(run[key] for run in runs))

    cells = [
        entry,
        spread([run["dice"] for run in runs], 3),
        spread([run["hd95_mm"] for run in runs], 2),
        mean("parameters", lambda n: f"{n / 1e6:.2f} M"),
        mean("gflop", lambda n: f"{n:.1f}"),
        *(mean(key, lambda n: f"{n:.0f}") for key in ("step_ms", "steps", "case_ms")),
        *(mean(key, lambda n: f"{n:.0f}") for key in ("training_mib", "inference_mib")),
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float | None], decimals: int) -> str:
    """Mean ± standard deviation; a dash where a run has no value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    text = f"{statistics.fmean(known):.{decimals}f}"
    if len(known) == 1:
        return text
    return f"{text} ± {statistics.stdev(known):.{decimals}f}"


def differences(entries: Mapping[str, Sequence[Result]]) -> list[str]:
    """Each AS-MLP against each U-Net, over the seeds that both have."""
    dice = {entry: {run["seed"]: run["dice"] for run in runs} for entry, runs in entries.items()}
    lines = []
    for ours in (entry for entry in dice if entry.startswith("asmlp")):
        for theirs in (entry for entry in dice if "unet" in entry):
            both = sorted(dice[ours].keys() & dice[theirs].keys())
            if both:
                gaps = [dice[ours][seed] - dice[theirs][seed] for seed in both]
                mean, low, high = statistics.fmean(gaps), min(gaps), max(gaps)
                lines.append(f"| {ours} − {theirs} | {mean:+.4f} ({low:+.4f} to {high:+.4f}) |")
    return lines


def notes(entries: Mapping[str, Sequence[Result]]) -> list[str]:
    """What has to be said under the table."""
    lines = []
    for entry, runs in entries.items():
        if lost := sum(run["missed"] for run in runs):
            cases = sum(run["cases"] for run in runs)
            lines.append(
                f"{entry}: in {cases} cases, a label was missed or made up {lost} times;"
                " it then has Dice 0 and no HD95."
            )
    return lines


def plot(results: Sequence[Result], path: Path) -> None:
    """Draw Dice on some cases of each fold against CPU minutes: a line a run."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for entry, runs in by_entry(results).items():
        network, optimiser = entry.split("@")[0].split("-")
        for number, run in enumerate(runs):
            axes.plot(
                [point["minutes"] for point in run["curve"]],
                [point["dice"] for point in run["curve"]],
                color=COLOURS[network],
                linestyle=DASHES[optimiser],
                marker="o",
                markersize=3,
                linewidth=1.4,
                label=f"{entry}: {spread([r['dice'] for r in runs], 3)}" if not number else None,
            )
    axes.set_xlabel("CPU minutes of training, one thread")
    axes.set_ylabel("mean Dice, 10 cases of the fold kept out")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        title="Dice on the whole fold, at the end", frameon=False, loc="outside right center"
    )
    with (
        rc_context({"svg.hashsalt": "race", "svg.fonttype": "none"}),
        replacing(path, overwrite=True) as temporary,
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def fill(page: Path, report: str) -> None:
    """Put the table between the marks of a page; raises ValueError where it has none."""
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"{page}: has no {BEGIN} ... {END}")
    with replacing(page, overwrite=True) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}", encoding="utf-8")
