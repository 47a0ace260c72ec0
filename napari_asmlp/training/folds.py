"""Which cases are trained on and which are kept out, by content: for good.

Case number h (its content hash as a number) belongs to part ``h mod N`` of N. What part a case is
in therefore depends on no other case: names, order, and cases that come later change nothing, and
the same image under two names is on one side. Parts are equal only about: of 200 cases, 40 ± 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_asmlp.errors import SettingsError
from napari_asmlp.training.dataset import Case

RULE = "content hash modulo N"


@dataclass(frozen=True)
class Split:
    """Cases on either side, in the order of their hashes.

    Attributes
    ----------
    learnt : hashes of cases that are not here, but were learnt from earlier
    """

    training: tuple[Case, ...]
    kept_out: tuple[Case, ...]
    learnt: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return plain values that fix it: for the checkpoint, the card, and `split` later."""
        return {
            "rule": RULE,
            "training": [*(case.hash for case in self.training), *self.learnt],
            "kept_out": [case.hash for case in self.kept_out],
        }


def split(
    cases: Sequence[Case],
    kept_out: tuple[int, int] | None,
    earlier: Mapping[str, Any] | None = None,
) -> Split:
    """Put each case on one side.

    Parameters
    ----------
    kept_out : part (from 0) and number of parts, or None to train on all
    earlier : record of the split that a run or a model began with; its cases stay where they were

    Raises
    ------
    SettingsError
        Where a side that is to have cases has none.
    """
    ordered = sorted(cases, key=lambda case: case.hash)
    seen, unseen = (set((earlier or {}).get(side, ())) for side in ("training", "kept_out"))
    learnt = tuple(sorted(seen - {case.hash for case in ordered}))
    if kept_out is None:
        return Split(tuple(ordered), (), learnt)
    part, parts = kept_out

    def is_out(case: Case) -> bool:
        if case.hash in seen:
            return False
        return case.hash in unseen or _part(case, parts) == part

    out = tuple(case for case in ordered if is_out(case))
    rest = tuple(case for case in ordered if not is_out(case))
    if not out or not rest:
        raise SettingsError(f"fold {part + 1}/{parts}: {_why_not(ordered, parts, bool(out))}")
    return Split(rest, out, learnt)


def _part(case: Case, parts: int) -> int:
    return int(case.hash, 16) % parts


def _why_not(cases: Sequence[Case], parts: int, any_out: bool) -> str:
    if len(cases) == 1:
        return "there is only one case, which cannot be on both sides; give fold 'all'"
    if any_out:
        return f"it would keep all {len(cases)} cases out; give more parts, or fold 'all'"
    filled = sorted({_part(case, parts) + 1 for case in cases})
    return (
        f"none of the {len(cases)} cases to choose from is in it"
        f" (parts with cases: {', '.join(map(str, filled))}); give another, or fold 'all'"
    )
