"""Which cases are trained on and which are held out.

N parts of the cases are balanced: their sizes differ by one at most. A case goes into part
``hash modulo N`` (its content hash as a number) while that part has room, and else into the part
with the most room. So names and order do not matter, the same image under two names is on one side,
and few cases move when others come: 12 % of 20 cases when 5 are added to them, 3 % of 200 when 20
are (parts of 5, mean of 300 random draws; dealing them out in the order of their hashes moves 66 %
and 77 %). A run that goes on, and a model that is trained further, keep to the split they began
with, whatever the rule says.

A split can also be read from, and is written to, a file in the form of nnU-Net's
``splits_final.json``: a list with an entry for each fold, ``{"train": [names], "val": [names]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_asmlp.errors import SettingsError
from napari_asmlp.training.dataset import Case

RULE = "balanced by content hash"
_PARTS = 5  # of which one is held out where nobody chose
_FEWEST = 3  # cases of which one is held out where nobody chose


@dataclass(frozen=True)
class Split:
    """Cases on either side, in the order of their hashes.

    Attributes
    ----------
    fold : which part is held out, as ``K/N``, or ``all`` where none is
    learnt : hashes of cases that are not here, but were learnt from earlier
    note : what the user should know of it, or empty
    """

    training: tuple[Case, ...]
    held_out: tuple[Case, ...]
    fold: str = "all"
    learnt: tuple[str, ...] = ()
    note: str = ""

    def record(self) -> dict[str, Any]:
        """Return plain values that fix it: for the checkpoint, the card, and `split` later."""
        return {
            "rule": RULE,
            "fold": self.fold,
            "training": [*(case.hash for case in self.training), *self.learnt],
            "kept_out": [case.hash for case in self.held_out],
        }


def split(cases: Sequence[Case], fold: str, earlier: Mapping[str, Any] | None = None) -> Split:
    """Put each case on one side.

    Parameters
    ----------
    cases : with their hashes
    fold : ``K/N``: part K of N is held out; ``all``: none; ``auto``: one of five parts, one of
        three or four cases, and none of fewer
    earlier : record of the split that a run or a model began with; its cases stay where they were

    Raises
    ------
    SettingsError
        Where a fold other than ``auto`` leaves a side without cases.
    """
    ordered = tuple(sorted(cases, key=lambda case: case.hash))
    seen, unseen = (set((earlier or {}).get(side, ())) for side in ("training", "kept_out"))
    learnt = tuple(sorted(seen - {case.hash for case in ordered}))
    chosen = _chosen(ordered) if fold == "auto" else fold
    if chosen == "all":
        return Split(ordered, (), "all", learnt, _why_all(ordered) if fold == "auto" else "")
    part, count = parse_fold(chosen)
    parts = assign_parts((case.hash for case in ordered), count)

    def is_held_out(case: Case) -> bool:
        if case.hash in seen:
            return False
        return case.hash in unseen or parts[case.hash] == part

    held_out = tuple(case for case in ordered if is_held_out(case))
    rest = tuple(case for case in ordered if not is_held_out(case))
    if held_out and rest:
        return Split(rest, held_out, chosen, learnt, _few(held_out, ordered))
    if fold == "auto":
        note = "trained on all cases: the model it begins with decided on which side they are"
        return Split(ordered, (), "all", learnt, note)
    raise SettingsError(f"fold {chosen}: {_why_not(ordered, count, seen, any_out=bool(held_out))}")


def assign_parts(hashes: Iterable[str], count: int) -> dict[str, int]:
    """Return the part of each distinct hash, 0 to ``count - 1``; sizes differ by one at most.

    Parameters
    ----------
    hashes : hexadecimal numbers
    count : of parts
    """
    ordered = sorted(set(hashes))
    room, extra = divmod(len(ordered), count)
    sizes, found, others = [0] * count, {}, []
    for name in ordered:
        part = int(name, 16) % count
        if sizes[part] < room:
            found[name], sizes[part] = part, sizes[part] + 1
        else:
            others.append(name)
    for name in others:
        part = int(name, 16) % count
        if not (extra and sizes[part] == room):
            part = min(range(count), key=lambda n: (sizes[n], (n - part) % count))
        extra -= sizes[part] == room
        found[name], sizes[part] = part, sizes[part] + 1
    return found


def parse_fold(fold: str) -> tuple[int, int]:
    """Return part (from 0) and number of parts of ``K/N``.

    Raises
    ------
    SettingsError
        If it is written in another way.
    """
    first, _, last = fold.partition("/")
    if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) >= 2:
        return int(first) - 1, int(last)
    raise SettingsError(f"fold {fold!r}: write K/N with 1 <= K <= N, such as 1/5")


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """Read a file of splits in nnU-Net's form.

    Raises
    ------
    SettingsError
        If it cannot be read, or is of another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: the split cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not JSON: {error}") from error
    entries = content if isinstance(content, list) else []
    found = [_sides(entry) for entry in entries]
    if not found or None in found:
        raise SettingsError(
            f'{path}: not a list of folds, each as {{"train": [names], "val": [names]}}'
        )
    return [entry for entry in found if entry is not None]


def named_split(
    cases: Sequence[Case], path: Path, fold: str, earlier: Mapping[str, Any] | None = None
) -> Split:
    """Put each case on the side that a file of splits names.

    Parameters
    ----------
    cases : with their hashes
    fold : ``K/N``: entry K of N; ``auto``: the first
    earlier : as for `split`

    Raises
    ------
    SettingsError
        Where the file names what is no case, or a case (or its image) on both sides; where the fold
        is not in it; or where it holds out a case that was learnt from earlier.
    """
    entries = read_splits(path)
    part, count = parse_fold(fold) if fold != "auto" else (0, len(entries))
    if count != len(entries):
        raise SettingsError(f"fold {fold}: {path} has {len(entries)} folds; give K/{len(entries)}")
    known, entry = {case.name: case for case in cases}, entries[part]
    names = [*entry["train"], *entry["val"]]
    if strange := [name for name in names if name not in known]:
        raise SettingsError(f"{path}: {strange[0]!r} is no case of the data set")
    sides = [
        tuple(sorted((known[name] for name in dict.fromkeys(entry[side])), key=lambda c: c.hash))
        for side in ("train", "val")
    ]
    training, held_out = sides
    _check_sides(path, training, held_out, set((earlier or {}).get("training", ())))
    learnt = set((earlier or {}).get("training", ())) - {case.hash for case in training}
    left = sorted(set(known) - set(names))
    note = (
        f"{len(left)} cases are in no side of the split and left out: {left[0]} …" if left else ""
    )
    return Split(training, held_out, f"{part + 1}/{count}", tuple(sorted(learnt)), note)


def all_folds(cases: Sequence[Case], used: Split) -> list[dict[str, list[str]]]:
    """Return all folds in nnU-Net's form, of which `used` is the one that was trained on."""
    part, count = parse_fold(used.fold)
    parts = assign_parts((case.hash for case in cases), count)
    folds = []
    for n in range(count):
        held_out = used.held_out if n == part else [c for c in cases if parts[c.hash] == n]
        training = used.training if n == part else [c for c in cases if parts[c.hash] != n]
        folds.append({"train": _names(training), "val": _names(held_out)})
    return folds


def _names(cases: Iterable[Case]) -> list[str]:
    return sorted(case.name for case in cases)


def _sides(entry: Any) -> dict[str, list[str]] | None:
    """Return the entry of a fold if it is one."""
    if not isinstance(entry, dict):
        return None
    sides = {side: entry.get(side) for side in ("train", "val")}
    for names in sides.values():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
    return {side: list(map(str, names or ())) for side, names in sides.items()}


def _check_sides(
    path: Path, training: Sequence[Case], held_out: Sequence[Case], learnt: set[str]
) -> None:
    if not training:
        raise SettingsError(f"{path}: the fold has no case to train on")
    by_hash = {case.hash: case for case in training}
    for case in held_out:
        if case.hash in by_hash:
            twin = by_hash[case.hash]
            what = "is" if twin.name == case.name else f"holds the image of {twin.name!r}, which is"
            raise SettingsError(f"{path}: {case.name!r} is held out, but {what} trained on as well")
        if case.hash in learnt:
            raise SettingsError(
                f"{path}: {case.name!r} is held out, but was learnt from before, so that its score"
                " would say too much: take it out of val, or begin without --init and --resume"
            )


def _chosen(cases: Sequence[Case]) -> str:
    distinct = len({case.hash for case in cases})
    if distinct < _FEWEST:
        return "all"
    return f"1/{min(distinct, _PARTS)}"


def _why_all(cases: Sequence[Case]) -> str:
    count = len(cases)
    what = "the only case" if count == 1 else f"all {count} cases"
    return f"trained on {what}: too few to hold one out, so nothing is scored"


def _few(held_out: Sequence[Case], cases: Sequence[Case]) -> str:
    if len({case.hash for case in cases}) >= _PARTS:
        return ""
    return (
        f"scored on {len(held_out)} of {len(cases)} cases, which is held out: that says little;"
        f" --folds {len(cases)} scores each of them"
    )


def _why_not(cases: Sequence[Case], parts: int, seen: set[str], *, any_out: bool) -> str:
    distinct = len({case.hash for case in cases})
    if distinct == 1:
        return "there is only one case, which cannot be on both sides; give fold 'all'"
    if any_out:
        return f"it would hold all {len(cases)} cases out; give another, or fold 'all'"
    if distinct < parts:
        return f"there are only {distinct} different cases; give at most {distinct} parts"
    learnt = sum(case.hash in seen for case in cases)
    return f"{learnt} of {len(cases)} cases were learnt from before; give another, or fold 'all'"
