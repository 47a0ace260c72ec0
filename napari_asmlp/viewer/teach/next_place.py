"""Where to paint next, and whether that still helps: in words, and as a place to go to."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.teaching.doubt import Place, is_enough, where_next
from napari_asmlp.viewer.anatomy import PLANES, order_of
from napari_asmlp.viewer.edit.words import slice_title, turn_of
from napari_asmlp.viewer.layers import shown_index
from napari_asmlp.viewer.planes import planes_shown, show_planes
from napari_asmlp.viewer.tasks import Job
from napari_asmlp.viewer.teach.request import painted_in

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

Array = NDArray[np.integer[Any]]
IN_THE_MIDDLE, UNDER_CROSSHAIR = "in the middle of the view", "under the crosshair"


@dataclass(frozen=True, eq=False)
class Look:
    """What the last answer of a volume was, and that of the round before.

    Attributes
    ----------
    labels, doubt : (i, j, k), of the answer
    earlier : labels at the end of the round before, None in the first
    """

    labels: Array
    doubt: NDArray[np.uint8]
    earlier: Array | None = None


def looking(look: Look, annotations: Labels, taught: Labels | None) -> Job:
    """Return the work of finding where to paint next; it returns a list of places."""

    def steps() -> Generator[None, None, list[Place]]:
        yield
        annotated = painted_in(annotations, taught).array != 0
        yield
        return where_next(look.doubt, annotated)

    return Job(f"where to paint in {annotations.name}", steps)


def assessing(look: Look) -> Job:
    """Return the work of telling whether the last round changed enough; it returns a text."""

    def steps() -> Generator[None, None, str]:
        yield
        return worth_text(look)

    return Job("worth of painting", steps)


def worth_text(look: Look) -> str:
    """Return whether more painting helps, in one line; nothing after the first round."""
    if look.earlier is None or look.earlier.shape != look.labels.shape:
        return ""
    share = 100 * np.count_nonzero(look.earlier != look.labels) / look.labels.size
    changed = f"the last round changed {share:.1f} % of the voxels"
    if is_enough(look.doubt, look.earlier, look.labels):
        return f"Enough is painted: {changed}"
    if is_enough(np.zeros_like(look.doubt), look.earlier, look.labels):
        return f"More painting still helps where there is doubt: {changed}"
    return f"More painting still helps: {changed}"


def place_text(layer: Labels, place: Place, where_shown: str = IN_THE_MIDDLE) -> str:
    """Return where it is, and why there, in one line.

    Parameters
    ----------
    where_shown
        Where in the view, as `go_to` says.
    """
    where = slice_title(layer, across_of(layer, place), shown_at(layer, place)[1])
    return (
        f"{where[0].upper()}{where[1:]}, {where_shown}: most doubt, far from all that is painted"
        f" (worth {place.worth:,.0f} voxels)"
    )


def across_of(layer: Labels, place: Place) -> int:
    """Return which of the layer's axes is across the slice."""
    return turn_of(layer).axes.index(place.axis)


def shown_at(layer: Labels, place: Place) -> tuple[tuple[int, ...], int]:
    """Return the place in the layer's data, and the index of its slice there."""
    at = tuple(int(n) for n in shown_index(layer, place.voxel))
    return at, at[across_of(layer, place)]


def go_to(viewer: ViewerModel, layer: Labels, place: Place) -> str:
    """Show the slice of a place, in whichever plane it lies; returns where the place then is."""
    at, _ = shown_at(layer, place)
    across = across_of(layer, place)
    dims = viewer.dims
    ahead = dims.ndim - layer.ndim  # axes of the world before those of the layer
    world = (*dims.point[:ahead], *layer.data_to_world(at))
    dims.ndisplay = 2
    if planes_shown(viewer):
        show_planes(viewer).cursor.move(world)
        return UNDER_CROSSHAIR
    order = order_of(PLANES[across], dims.ndim)
    if order != tuple(dims.order):
        dims.order = order
        viewer.reset_view()
    dims.point = world
    vertical, horizontal = dims.displayed
    viewer.scene.camera.center = (0.0, world[vertical], world[horizontal])
    return IN_THE_MIDDLE


def following(places: Sequence[Place], last: Place | None) -> Place | None:
    """Return the best place, or the one after that which was shown last."""
    if not places:
        return None
    at = next((n for n, each in enumerate(places) if each == last), -1)
    return places[(at + 1) % len(places)]
