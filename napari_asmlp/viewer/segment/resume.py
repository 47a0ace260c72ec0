"""Whether a stopped run can go on, and into which layer: what the Segment panel asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning

from napari_asmlp.errors import OutputError
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.segment import kept
from napari_asmlp.viewer.segment.request import Keep, Order, Wish

if TYPE_CHECKING:
    from napari.layers import Labels


@dataclass(frozen=True, eq=False)
class Run:
    """A run of the panel.

    Parameters
    ----------
    wish, order
        What the panel said, and what was made of it.
    keep
        Where it keeps what is finished; None if it cannot.
    layer
        Its labels, once it was stopped.
    since
        Steps in the history of those when it was stopped first: what the user edits afterwards
        stays when the run goes on.
    """

    wish: Wish
    order: Order
    keep: Keep | None
    layer: Labels | None = None
    since: int | None = None


class Resumption:
    """What is known of stopped runs: the last one of this panel, and those that are kept."""

    def __init__(self) -> None:
        self._last: Run | None = None
        self._refused: Path | None = None  # of a run whose image or model is no longer the same

    def is_offered(self, wish: Wish) -> bool:
        """Tell whether a run can go on that was started with this wish."""
        place = kept.place_of(wish)
        return kept.is_kept(place) and place != self._refused

    def run_of(self, wish: Wish) -> Run | None:
        """Return the last run, if it had this wish and its result can go where it began."""
        run = self._last
        if run is None or kept.changed(run.wish, wish) or wish.target not in (None, run.layer):
            return None
        return run

    def text(self, wish: Wish) -> str:
        """Return what there is to say about going on."""
        place, last = kept.place_of(wish), self._last
        if place is not None and self.is_offered(wish):
            own = last is not None and last.keep is not None and last.keep.place == place
            return "" if own else f"Resume goes on with the run stopped on {kept.stopped_at(place)}"
        if last is None or last.keep is None or not kept.is_kept(last.keep.place):
            return ""
        others = ", ".join(kept.changed(last.wish, wish))
        return f"To resume the stopped run, set back what has changed: {others}" if others else ""

    def done(self) -> None:
        """Forget the last run: it has come to its end."""
        self._last = None

    def refuse(self, run: Run) -> None:
        """Offer this run no more: it turned out that it cannot go on."""
        self._refused = None if run.keep is None else run.keep.place

    def stopped(self, run: Run, layer: Labels) -> None:
        """Remember a run that has left what was finished in a layer."""
        since = run.since
        if since is None:  # in a new layer all edits are later than the labels below
            since = 0 if run.order.target is None else len(edits_of(layer).history.past)
        self._last = replace(run, layer=layer, since=since)


def room(wish: Wish, order: Order, *, resume: bool) -> Keep | None:
    """Return where a run keeps what is finished; None, with a warning, where there is no room."""
    place = kept.place_of(wish)
    if place is None:
        return None
    try:
        kept.prepare(place, order)
    except OutputError as error:
        show_warning(f"{error}: if this run is stopped, it cannot be resumed")
        return None
    return Keep(place, resume)
