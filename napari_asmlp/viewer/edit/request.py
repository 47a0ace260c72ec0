"""From what the Edit labels panel says to a change that can be shown and committed: no window.

Wishes speak of planes and slices as they are shown; tools, of axes and indices of the file. This
module turns the one into the other.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_asmlp.edit import Change, Relabel, Target, Threshold, Tool
from napari_asmlp.edit.apart import Edit
from napari_asmlp.edit.step import Step
from napari_asmlp.errors import SettingsError
from napari_asmlp.grid import Grid, Region
from napari_asmlp.viewer.edit.table import class_names, locked_values, title_of
from napari_asmlp.viewer.edit.words import as_shown, source_slice, turn_of
from napari_asmlp.viewer.history.edits import edits_of
from napari_asmlp.viewer.history.stamp import Stamp
from napari_asmlp.viewer.layers import (
    AXIS_LABELS,
    check_same_grid,
    source_view,
    volume_of,
)
from napari_asmlp.viewer.tasks import Job

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

AXIS_FIELD = "axis"
_SAMPLED = 1_000_000  # voxels of an image that a threshold is found from


@dataclass(frozen=True)
class Wish:
    """The state of the panel.

    Parameters
    ----------
    layer, tool
        None where nothing is chosen.
    settings
        The tool's fields; an axis is one of the layer's, a slice is counted along it as shown, a
        region is text.
    image
        Only looked at by tools that need one.
    value
        The label to edit; None for all.
    slice_only
        Edit only the slice that is shown.
    across, point
        The layer axis across the slice shown (None where there is no one slice), and the place of
        the viewer's sliders in its world.
    overwrite
        Whether other labels may lose voxels.
    """

    layer: Labels | None
    tool: type[Tool] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    image: Image | None = None
    value: int | None = None
    slice_only: bool = False
    across: int | None = None
    point: tuple[float, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class Order:
    """An edit that can be computed; equal orders on equal labels give equal changes."""

    layer: Labels
    grid: Grid
    tool: Tool
    target: Target
    image: Image | None

    def job(self) -> Job:
        """Return the work, for a task; it returns a `Prepared`."""
        edits_of(self.layer)  # not in the task's thread
        return Job(f"{self.tool.title.lower()} in {self.layer.name}", self._told_as_shown)

    def _told_as_shown(self) -> Generator[None, None, Prepared]:
        try:
            return (yield from self._steps())
        except SettingsError as error:
            raise SettingsError(as_shown(str(error), self.layer)) from error

    def _steps(self) -> Generator[None, None, Prepared]:
        # the user may paint meanwhile: the tool sees one state, and it is known which
        stamp = edits_of(self.layer).stamp
        before = source_view(self.layer).copy(order="K")
        image = None if self.image is None else volume_of(self.image).array()
        change = yield from Edit(self.tool, before, self.target, self.grid.spacing, image).steps()
        yield
        step = Step.of_change(change, before, self.tool.title.lower())
        return Prepared(self, before, stamp, change, step).looked_through()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A computed change.

    Parameters
    ----------
    before : integer array (i, j, k)
        The labels that it was computed from.
    stamp
        The state of the layer that they were.
    step
        The change as it goes into the layer's history.
    """

    order: Order
    before: NDArray[Any]
    stamp: Stamp
    change: Change
    step: Step

    @property
    def is_current(self) -> bool:
        """Whether the layer still holds what the change was computed from.

        Edits are counted, so that this takes no time. Only where somebody else may have written
        into the layer are the voxels compared.
        """
        stamp = edits_of(self.order.layer).stamp
        if stamp.edits != self.stamp.edits:
            return False
        return stamp == self.stamp or self._is_equal()

    def looked_through(self) -> Prepared:
        """Return the same; if somebody else may have written, it is compared here, once for all."""
        stamp = edits_of(self.order.layer).stamp
        if stamp == self.stamp or stamp.edits != self.stamp.edits or not self._is_equal():
            return self
        return replace(self, stamp=stamp)

    def commit(self) -> None:
        """Bring the change into the layer, as one step that one undo takes back.

        Raises
        ------
        SettingsError
            If the layer or its locks have changed since; nothing is written.
        """
        layer = self.order.layer
        edits = edits_of(layer)
        edits.settle()  # an undo may still be under way, or a stroke
        edits.end_strokes()
        if not self.is_current:
            raise SettingsError(f"labels {layer.name!r} have changed meanwhile: apply once more")
        if locked_values(layer) != self.order.target.locked:
            raise SettingsError(
                f"labels of {layer.name!r} were locked or unlocked meanwhile: apply once more"
            )
        edits.commit(self.step)

    def _is_equal(self) -> bool:
        now = source_view(self.order.layer)
        return now.dtype == self.before.dtype and np.array_equal(now, self.before)


def resolve(wish: Wish) -> Order:
    """Turn the state of the panel into an order.

    Raises
    ------
    AsmlpError
        Saying what is missing or wrong, and what to do.
    """
    layer, tool = wish.layer, wish.tool
    if layer is None:
        raise SettingsError("there are no labels: open, paint or segment some first")
    if tool is None:
        raise SettingsError("no tool is chosen: choose one")
    grid = editable_grid(layer)
    image = wish.image if tool.needs_image else None
    if tool.needs_image:
        if image is None:
            raise SettingsError(f"{tool.title!r} looks at an image: open or choose one")
        check_same_grid(layer, image)
    plane = shown_plane(layer, wish.across, wish.point) if wish.slice_only else None
    target = Target(wish.value, plane, locked_values(layer), wish.overwrite)
    return Order(layer, grid, tool(**_settings(tool, wish, layer)), target, image)


def removal(layer: Labels, value: int) -> Job:
    """Return the work of deleting a label; it returns a `Prepared`, None if no voxel has it.

    Raises
    ------
    SettingsError
        If the label is locked, or the layer cannot be edited.
    """
    if value in locked_values(layer):
        title = title_of(value, class_names(layer))
        raise SettingsError(f"{title!r} is locked: unlock it to delete it")
    order = resolve(Wish(layer, Relabel, {"to": 0}, value=value))

    def steps() -> Generator[None, None, Prepared | None]:
        for plane in layer.data:
            if (plane == value).any():
                prepared: Prepared = yield from order.job().start()
                return prepared
            yield
        return None

    return Job(f"delete label {value} of {layer.name}", steps)


def editable_grid(layer: Labels) -> Grid:
    """Return the grid of a layer whose voxels can be edited.

    Raises
    ------
    SettingsError
        If they cannot.
    """
    grid = volume_of(layer).grid
    if not isinstance(layer.data, np.ndarray):
        raise SettingsError(
            f"labels {layer.name!r} are not in memory ({type(layer.data).__name__}): save them, "
            "and edit the file you saved"
        )
    if not layer.data.flags.writeable:
        raise SettingsError(
            f"labels {layer.name!r} are read-only: duplicate the layer and edit the copy"
        )
    return grid


def shown_plane(layer: Labels, across: int | None, point: tuple[float, ...]) -> tuple[int, int]:
    """Return the shown slice of a layer as axis and index of its volume.

    Parameters
    ----------
    across, point
        As of `Wish`.

    Raises
    ------
    SettingsError
        If no single slice is shown, or one outside the layer.
    """
    if across is None:
        raise SettingsError(
            "the viewer does not show one slice of the labels: switch it to 2D, or edit in 3D"
        )
    shown, size = _slice_at(layer, across, point), layer.data.shape[across]
    if not 0 <= shown < size:
        raise SettingsError(
            f"the slice shown lies outside labels {layer.name!r}: move the slider into them"
        )
    return turn_of(layer).axes[across], source_slice(layer, across, shown)


def first_settings(wish: Wish) -> dict[str, Any]:
    """Return what a tool's fields begin with, where the slice shown says more than a default.

    A tool with an axis works across the slice shown; slices that it counts begin with that one. A
    threshold begins with what is bright.
    """
    if wish.tool is Threshold and wish.image is not None:
        return _bright(wish.image)
    if wish.tool is None or wish.across is None or AXIS_FIELD not in _field_names(wish.tool):
        return {}
    settings = {AXIS_FIELD: wish.across}
    if wish.layer is not None and wish.layer.ndim == len(AXIS_LABELS):
        last = wish.layer.data.shape[wish.across] - 1
        shown = _slice_at(wish.layer, wish.across, wish.point)
        for ahead, name in enumerate(slice_fields(wish.tool)):
            settings[name] = min(max(0, shown + ahead), last)
    return settings


def _bright(image: Image) -> dict[str, Any]:
    """Return the range above Otsu's threshold, as `low` and `high`.

    Otsu: A threshold selection method from gray-level histograms. IEEE transactions on systems,
    man, and cybernetics 9 (1979) 62-66. Of a large image it looks at every n-th voxel.
    """
    if image.rgb or image.multiscale:
        return {}
    step = max(1, round((np.prod(image.data.shape) / _SAMPLED) ** (1 / image.ndim)))
    some = np.asarray(image.data[(slice(None, None, step),) * image.ndim], np.float64)
    some = some[np.isfinite(some)]
    if not some.size or some.min() == some.max():
        return {}
    return {"low": float(threshold_otsu(some)), "high": float(some.max())}


def axis_across(viewer: ViewerModel) -> int | None:
    """Return which of a 3D layer's axes is across the shown slice; None if no single one is."""
    first = viewer.dims.ndim - len(AXIS_LABELS)  # further axes come before those of a volume
    across = [axis - first for axis in viewer.dims.not_displayed if axis >= first]
    return across[0] if len(across) == 1 else None


def slice_fields(tool: type[Tool]) -> tuple[str, ...]:
    """Return the names of those of a tool's fields that count slices along its axis."""
    names = _field_names(tool)
    return tuple(name for name in names if name in ("index", "to")) if AXIS_FIELD in names else ()


def has_own_slices(tool: type[Tool] | None) -> bool:
    """Tell whether a tool's own settings say which slices it edits."""
    return tool is not None and AXIS_FIELD in _field_names(tool)


def _settings(tool: type[Tool], wish: Wish, layer: Labels) -> dict[str, Any]:
    """Return a tool's fields in terms of the file, from those in terms of what is shown."""
    settings, shape = dict(wish.settings), volume_of(layer).grid.shape
    across = settings.get(AXIS_FIELD)
    if across is not None:
        settings[AXIS_FIELD] = turn_of(layer).axes[across]
        for name in slice_fields(tool):
            settings[name] = source_slice(layer, across, settings[name])
    if "region" in settings:
        text = settings["region"].strip()
        settings["region"] = Region.parse(text, shape) if text else None
    return settings


def _field_names(tool: type[Tool]) -> list[str]:
    return [each.name for each in fields(tool)]  # type: ignore[arg-type]  # all are dataclasses


def _slice_at(layer: Labels, across: int, point: tuple[float, ...]) -> int:
    return round(float(layer.world_to_data(np.asarray(point)[-3:])[across]))
