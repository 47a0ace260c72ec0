"""Between a Labels layer and the header of its journal: its grid, its look, its file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_asmlp.edit.step import Layout
from napari_asmlp.errors import AsmlpError
from napari_asmlp.grid import Grid
from napari_asmlp.io import read_volume
from napari_asmlp.viewer.colours import label_look
from napari_asmlp.viewer.edit.table import LOCKED_KEY, class_names, locked_values
from napari_asmlp.viewer.history.records import Colour, Header, Restored
from napari_asmlp.viewer.layers import METADATA_KEY, labels_layer_data, labels_on, volume_of
from napari_asmlp.volume import Kind, Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel


def header_of(layer: Labels, layout: Layout, unsaved: bool, created: float) -> Header:
    """Return what the journal of a layer has to say about it."""
    source = layer.metadata.get(METADATA_KEY)
    path = source.path if isinstance(source, Volume) else None
    return Header(
        name=layer.name,
        shape=layout.shape,
        dtype=layout.dtype.str,
        order=layout.order,
        affine=_affine(layer, layout),
        scale=tuple(map(float, layer.scale)),
        translate=tuple(map(float, layer.translate)),
        units=tuple(map(str, layer.units)),
        path=None if path is None else str(path.absolute()),
        path_kind=source.kind if isinstance(source, Volume) else "image",
        names=class_names(layer),
        colours=_colours(layer),
        locked=tuple(locked_values(layer)),
        unsaved=unsaved,
        pid=os.getpid(),
        started=started(os.getpid()) or 0.0,
        created=created or time.time(),
    )


def layer_of(restored: Restored, viewer: ViewerModel) -> Labels:
    """Return a layer with restored labels, where they were and as they looked.

    It belongs to the image in the viewer that it was made on, or else to that image's file, so
    that it is exported with its header; or else to its own grid.
    """
    header = restored.header
    if header.affine is None or len(header.shape) != 3:
        layer = Labels(
            restored.labels,
            name=header.name,
            scale=header.scale,
            translate=header.translate,
            units=header.units,
        )
    else:
        i, j, k = header.shape
        layer = _on_grid(restored, Grid((i, j, k), np.array(header.affine)), viewer)
    layer.colormap = _look(header)["colormap"]
    layer.features = _look(header).get("features", {})
    layer.metadata[LOCKED_KEY] = frozenset(header.locked)
    return layer


def started(pid: int) -> float | None:
    """Return when a process began, in s since 1970; 0 if that is not known, None if it is gone."""
    try:
        import psutil  # napari's dependency, not ours
    except ImportError:
        return 0.0
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0.0


def _on_grid(restored: Restored, grid: Grid, viewer: ViewerModel) -> Labels:
    header = restored.header
    for image in viewer.layers:
        if isinstance(image, Image) and _is_image_of(image, header, grid):
            return labels_on(image, restored.labels, (), header.name)
    volume = Volume(restored.labels, grid, "labels", title=header.name)
    data, attributes, _ = labels_layer_data(volume, name=header.name)
    source = _source(header, grid)
    if source is not None:
        attributes["metadata"] = {METADATA_KEY: source}
    return Labels(data, **attributes)


def _is_image_of(image: Image, header: Header, grid: Grid) -> bool:
    try:
        volume = volume_of(image)
    except AsmlpError:
        return False
    same_file = header.path is not None and volume.path == Path(header.path)
    return same_file and volume.grid.same_as(grid)


def _source(header: Header, grid: Grid) -> Volume | None:
    """Return the volume that the labels belong to, if its file is still what it was."""
    if header.path is None:
        return None
    kind: Kind = "labels" if header.path_kind == "labels" else "image"
    try:
        volume = read_volume(Path(header.path), kind=kind)
    except AsmlpError:
        return None
    return volume if volume.grid.same_as(grid) else None


def _affine(layer: Labels, layout: Layout) -> Any:
    try:
        grid = volume_of(layer).grid
    except AsmlpError:
        return None
    return grid.affine.tolist() if grid.shape == layout.shape else None


def _colours(layer: Labels) -> dict[int, Colour]:
    if not isinstance(layer.colormap, DirectLabelColormap):
        return {}
    table = layer.colormap.color_dict
    colours: dict[int, Colour] = {}
    for value, colour in table.items():
        if value is not None:
            red, green, blue, opacity = (round(float(part), 4) for part in colour)
            colours[value] = red, green, blue, opacity
    return colours


def _look(header: Header) -> dict[str, Any]:
    look = label_look((), header.names)
    if header.colours:
        known = look["colormap"].color_dict
        look["colormap"] = DirectLabelColormap(color_dict={**known, **header.colours})
    return look
