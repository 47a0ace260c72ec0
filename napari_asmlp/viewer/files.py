"""What napari calls to open and save files: reader, writer, sample data.

A file opens as an image, whatever its voxels look like, since a guess would surprise sooner or
later; **Open labels** opens labels, and so does napari's own *Convert to Labels* afterwards.
Labels are written on the grid of the file they were made on, with its header.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_asmlp.errors import GridError
from napari_asmlp.io import check_names, check_output, names_to_save, read_volume, write_labels
from napari_asmlp.io.formats import format_of
from napari_asmlp.viewer.ahead import import_ahead
from napari_asmlp.viewer.camera import show_upright
from napari_asmlp.viewer.colours import colour_of
from napari_asmlp.viewer.edit.table import class_names
from napari_asmlp.viewer.history.journal import saved
from napari_asmlp.viewer.layers import (
    METADATA_KEY,
    MOST_CHANNELS,
    LayerData,
    image_layer_data,
    is_moved,
    volume_of,
)
from napari_asmlp.volume import RGB, Volume

DEFAULT_SUFFIX = ".nii.gz"
SAMPLE_NAME = "MNI152 T1"

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the reader of these files, or None where one of them has another format."""
    return read if all(format_of(file) for file in _listed(path)) else None


def read(path: Paths) -> list[LayerData]:
    """Read each file as an image.

    Raises
    ------
    VolumeError
        Naming the file and what is wrong with it; napari shows it.
    """
    volumes = [read_volume(file) for file in _listed(path)]
    layers = [layer for volume in volumes for layer in _show(volume)]
    _prepare_window()
    return layers


def write(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer on its source grid; napari's save dialog calls this.

    A name without suffix gets `DEFAULT_SUFFIX`. An existing file is replaced, since the dialog has
    asked, but never an image that the labels belong to.

    Parameters
    ----------
    data
        (S, A, R), as in the layer.
    attributes
        Of the layer, with its metadata.

    Raises
    ------
    AsmlpError
        If the labels are no volume, or cannot be written there; nothing is left behind.
    """
    known = {"name", "metadata", "scale", "translate", "rotate", "shear", "affine", "units"}
    known |= {"features", "colormap"}  # which hold class names and colours
    layer = Labels(data, **{key: attributes[key] for key in known & attributes.keys()})
    named = path if format_of(path) else path + DEFAULT_SUFFIX
    return [str(save_labels(layer, Path(named), overwrite=named == path))]


def save_labels(layer: Labels, path: Path, *, overwrite: bool = False) -> Path:
    """Write a layer's labels, as they are now, on the grid and with the header of their source.

    Names and colours go into the header of NIfTI. They also go into the table that lies beside the
    file, where there is one, since it would be read first; and into a new one beside other formats.

    Raises
    ------
    AsmlpError
        If the layer is no volume, a value is no label, or the file cannot be written or must not
        be: an image that is open is never replaced.
    """
    inputs = open_images(layer)
    check_output(path, overwrite=overwrite, inputs=inputs)
    volume = labels_volume(layer)
    labels = as_named(layer, volume, volume.array())
    names = names_to_save(path) if labels.label_names else None
    check_names(path, names, overwrite=overwrite, inputs=inputs)
    written = write_labels(labels, path, overwrite=overwrite, names=names)
    saved(layer)
    return written


def as_named(layer: Labels, volume: Volume, array: NDArray[Any]) -> Volume:
    """Return labels on the grid of a volume, with the names and colours of a layer.

    They have no path, so that they may go back into the file that they came from.
    """
    names = class_names(layer)
    colours = {value: rgb_of(layer, value) for value in names}
    return replace(volume.with_labels(array, names, colours), path=None)


def rgb_of(layer: Labels, value: int) -> RGB:
    """Return the red, green and blue in which a layer shows a label, from 0 to 255."""
    red, green, blue = (round(255 * part) for part in colour_of(layer, value)[:3])
    return red, green, blue


def labels_volume(layer: Labels) -> Volume:
    """Return the volume as which a layer's labels are written; no voxels are copied.

    Raises
    ------
    GridError
        If the layer is one of ours, but lies no more on its source grid.
    SettingsError
        If the layer is no volume.
    """
    if is_moved(layer):
        source = layer.metadata[METADATA_KEY]
        raise GridError(
            f"labels {layer.name!r} were moved, scaled, turned or reshaped, and lie no more on the"
            f" grid of {source.name} ({source.grid.describe()}): undo that first"
        )
    return volume_of(layer)


def open_images(layer: Labels) -> list[Path]:
    """Return the image files that labels must not replace: their own, and all that are open."""
    viewer = napari.current_viewer()
    layers = [layer, *(viewer.layers if viewer else ())]
    volumes = [other.metadata.get(METADATA_KEY) for other in layers]
    return [
        volume.path
        for volume in volumes
        if isinstance(volume, Volume) and volume.kind == "image" and volume.path
    ]


def sample() -> list[LayerData]:
    """Return the volume that `napari-asmlp demo` segments.

    Raises
    ------
    AsmlpError
        If the package that ships it is not installed.
    """
    from napari_asmlp.demo import demo_volume  # loads nilearn, which opening files needs not

    layers = image_layer_data(demo_volume())
    for _, attributes, _ in layers:
        attributes["name"] = SAMPLE_NAME
    _prepare_window()
    return layers


def _show(volume: Volume) -> list[LayerData]:
    if volume.channels > MOST_CHANNELS:
        show_warning(f"{volume.name} holds {volume.channels} volumes; the first is shown")
    return image_layer_data(volume)


def _prepare_window() -> None:
    """Do what the window that asked for a volume needs for it; without one, nothing happens."""
    viewer = napari.current_viewer()
    if viewer is None:
        return
    from napari_asmlp.viewer.session import attend  # needs Qt, which files need not

    show_upright(viewer)
    import_ahead()
    attend(viewer)


def _listed(path: Paths) -> list[str]:
    return [path] if isinstance(path, str) else list(path)
