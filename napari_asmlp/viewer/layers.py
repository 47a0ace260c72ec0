"""Between volumes and napari layers: the one place that turns axes.

A volume keeps the axis order of its file. On screen it is a view of that array, without a copy,
whose axes are those of `AXIS_LABELS`: the closest upright orientation, superior first, so that
napari's first slider runs from feet to head. `scale` and `translate` place it in mm. A tilt is left
out of the layer, turned back about the world's origin, since napari's brush would paint beside the
cursor; it stays in the volume in ``layer.metadata[METADATA_KEY]``, on whose grid the way back ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_asmlp.errors import AsmlpError, GridError, SettingsError
from napari_asmlp.grid import Grid, Orientation
from napari_asmlp.io import base_name
from napari_asmlp.io.channels import beside, case_name, read_case
from napari_asmlp.viewer.colours import label_look
from napari_asmlp.viewer.view.contrast import automatic
from napari_asmlp.volume import Kind, Volume
from napari_asmlp.volume import Labels as Labels3D

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.model import LabelEntry

LayerData = tuple[NDArray[Any], dict[str, Any], str]

METADATA_KEY = "napari_asmlp"
REGION_KEY = "napari_asmlp_region"  # marks the box of a region, which holds no labels
PREVIEW_KEY = "napari_asmlp_preview"  # marks outlines of what an edit would change, the same
AXIS_LABELS = ("S", "A", "R")
_ALL_CHANNELS = "napari_asmlp_all_channels"
PLAIN_MENU = "Layers > Transform > Plain 3D layer"  # see `napari_asmlp.viewer.plain`
MOST_CHANNELS = 16  # beyond it a layer for each would bury the viewer

_CODES = "".join(AXIS_LABELS)
_IDENTITY = Orientation((0, 1, 2), (False, False, False))


def image_layer_data(volume: Volume) -> list[LayerData]:
    """Return layer data that shows a volume: one Image layer for each of its channels.

    Returns
    -------
    list of (data, attributes, "image")
        Data (S, A, R) is a view of the volume's voxels. Of more than `MOST_CHANNELS` channels only
        the first is shown.
    """
    array = volume.array()
    if array.ndim == 3:
        return [_image(replace(volume, data=array), _title(volume))]
    shown = volume.channels if volume.channels <= MOST_CHANNELS else 1
    layers = [
        _image(replace(volume, data=array[..., channel]), f"{_title(volume)} [{channel}]")
        for channel in range(shown)
    ]
    for _, attributes, _ in layers:
        attributes["metadata"][_ALL_CHANNELS] = replace(volume, data=array)
    return layers


def labels_layer_data(
    volume: Volume, entries: Iterable[LabelEntry] = (), name: str | None = None
) -> LayerData:
    """Return layer data that shows labels, coloured and named by their label table.

    Parameters
    ----------
    volume
        Of kind labels.
    entries
        The label table; without one, the names and colours that the volume knows.

    Returns
    -------
    (data, attributes, "labels")
        Data (S, A, R) is a view of the volume's voxels.
    """
    volume = replace(volume, data=volume.array())
    attributes = {
        **_geometry(volume.grid),
        **label_look(entries, volume.label_names, volume.label_colours),
        "name": name or _title(volume),
        "metadata": {METADATA_KEY: volume},
    }
    return _turn(volume.grid).apply(volume.array()), attributes, "labels"


def volume_of(layer: Image | Labels) -> Volume:
    """Return the volume that a layer shows, whoever made the layer; no voxels are copied.

    A layer of ours gives its source grid and header. Of any other, the array is taken as it is,
    with napari's scale and translate along S, A and R, so that up on screen is taken for superior
    in a sagittal view.

    Raises
    ------
    SettingsError
        If the layer is no single upright 3D array.
    """
    kind: Kind = "labels" if isinstance(layer, Labels) else "image"
    source = _source(layer)
    if source is not None:
        return replace(source, data=_turn(source.grid).undo(layer.data), kind=kind)
    _check_upright(layer)
    affine = np.zeros((4, 4))
    for axis, (scale, offset) in enumerate(_place_mm(layer)):
        affine[2 - axis, axis] = scale
        affine[2 - axis, 3] = offset
    affine[3, 3] = 1
    return Volume(layer.data, Grid(layer.data.shape, affine), kind, title=layer.name)


def volume_with_channels(layer: Image, channels: int) -> Volume:
    """Return the volume a layer shows, with all channels of it if a model takes several.

    They are those of its file, or those that lie beside its file, named as nnU-Net names channels.

    Raises
    ------
    SettingsError
        If the layer is no volume.
    VolumeError, GridError
        If the files of its channels cannot be opened, or do not fit together.
    """
    whole = layer.metadata.get(_ALL_CHANNELS)
    if channels > 1 and isinstance(whole, Volume) and _source(layer) is not None:
        return whole
    volume = volume_of(layer)
    if channels > 1 and volume.path is not None and len(files := beside(volume.path)) > 1:
        return read_case(case_name(volume.path), files, channels)
    return volume


def labels_on(
    image: Image, array: Labels3D, entries: Iterable[LabelEntry] = (), name: str | None = None
) -> Labels:
    """Return a Labels layer that lies exactly on an image layer, and is saved as its labels.

    Parameters
    ----------
    array
        (i, j, k) of `volume_of(image)`; the layer is a view of it.
    entries, name
        As of `labels_layer_data`.

    Raises
    ------
    SettingsError
        If the image layer is no volume.
    GridError
        If the array has another shape.
    """
    volume = volume_of(image)
    if array.shape != volume.grid.shape:
        raise GridError(
            f"labels of {array.shape} voxels do not lie on the grid of image {image.name!r}"
            f" ({volume.grid.describe()})"
        )
    return Labels(
        _turn_of(image).apply(array),
        name=name or f"{image.name} labels",
        metadata={METADATA_KEY: volume},
        **{key: getattr(image, key) for key in ("scale", "translate", "units", "axis_labels")},
        **label_look(entries),
    )


def add_labels(viewer: ViewerModel, layer: Labels) -> None:
    """Add and select a Labels layer; its class names follow.

    napari 0.9.2 fails to select a layer with features in 3D while the mouse has not been over it.
    """
    features = layer.features
    layer.features = {}
    viewer.add_layer(layer)
    layer.features = features


def source_view(layer: Labels) -> NDArray[Any]:
    """Return a writable view of a layer's voxels in the axis order of its volume, (i, j, k)."""
    return _turn_of(layer).undo(layer.data)


def shown_index(layer: Image | Labels, index: Sequence[Any]) -> tuple[Any, ...]:
    """Return where voxels of a layer's volume lie in the layer's data.

    Parameters
    ----------
    index
        For each of the axes (i, j, k), a whole number or an array of them.
    """
    turn, shape = _turn_of(layer), layer.data.shape
    return tuple(
        shape[axis] - 1 - index[origin] if flip else index[origin]
        for axis, (origin, flip) in enumerate(zip(turn.axes, turn.flips, strict=True))
    )


def check_same_grid(labels: Labels, image: Image) -> None:
    """Refuse labels that do not lie on an image's grid.

    Raises
    ------
    GridError
        Naming both layers and their grids.
    """
    ours, theirs = volume_of(labels).grid, volume_of(image).grid
    if not ours.same_as(theirs):
        raise GridError(
            f"labels {labels.name!r} do not lie on the grid of image {image.name!r}"
            f" ({ours.difference(theirs)}): choose labels of that image"
        )


def lies_on(labels: Labels, image: Image) -> bool:
    """Tell whether labels lie on an image's grid."""
    try:
        check_same_grid(labels, image)
    except AsmlpError:
        return False
    return True


def is_drawn_on(labels: Labels, image: Image) -> bool:
    """Tell whether labels were made on an image, and not only lie on a grid like its own."""
    source = labels.metadata.get(METADATA_KEY)
    voxels = source.data if isinstance(source, Volume) else None
    if isinstance(voxels, np.ndarray) and isinstance(image.data, np.ndarray):
        return np.may_share_memory(voxels, image.data)
    return voxels is not None and voxels is image.data


def channels_beside(layer: Image, others: Iterable[object]) -> list[Image]:
    """Return, of some layers, those that show a channel of the same volume as a layer does."""
    whole = layer.metadata.get(_ALL_CHANNELS)
    if not isinstance(whole, Volume):
        return [layer]
    shown = [(each, each.metadata.get(_ALL_CHANNELS)) for each in others if isinstance(each, Image)]
    return [each for each, its in shown if isinstance(its, Volume) and its.data is whole.data]


def is_moved(layer: Image | Labels) -> bool:
    """Tell whether a layer of ours has been moved, turned or reshaped, off its source grid."""
    return isinstance(layer.metadata.get(METADATA_KEY), Volume) and _source(layer) is None


def is_labels(layer: object) -> TypeGuard[Labels]:
    """Tell whether a layer holds labels that somebody may want to keep."""
    return isinstance(layer, Labels) and not {REGION_KEY, PREVIEW_KEY} & set(layer.metadata)


def index_at(layer: Image, position: Sequence[float]) -> tuple[int, int, int]:
    """Return the voxel (i, j, k) of a layer's volume that is nearest to a world position.

    Parameters
    ----------
    position
        In the viewer's world; the last three axes are those of the layer.
    """
    shape = np.array(layer.data.shape)
    shown = np.rint(layer.world_to_data(np.asarray(position)[-3:])).astype(int)
    shown = np.clip(shown, 0, shape - 1)
    turn = _turn_of(layer)
    index = np.empty(3, dtype=int)
    index[list(turn.axes)] = np.where(turn.flips, shape - 1 - shown, shown)
    i, j, k = index.tolist()
    return i, j, k


def _image(volume: Volume, name: str) -> LayerData:
    data = volume.array()
    attributes = {
        **_geometry(volume.grid),
        "name": name,
        "metadata": {METADATA_KEY: volume},
        "contrast_limits": automatic(data).limits,
    }
    return _turn(volume.grid).apply(data), attributes, "image"


def _turn(grid: Grid) -> Orientation:
    return grid.orientation(_CODES)


def _turn_of(layer: Image | Labels) -> Orientation:
    source = _source(layer)
    return _turn(source.grid) if source else _IDENTITY


def _geometry(grid: Grid) -> dict[str, Any]:
    """Return where the turned grid lies: mm per voxel and the place of voxel (0, 0, 0)."""
    upright = grid.reoriented(_turn(grid))
    # turned about the world's origin: volumes of one tilt lie right relative to each other
    start = np.linalg.solve(upright.directions, upright.affine[:3, 3])
    return {
        "scale": upright.spacing,
        "translate": tuple(start.tolist()),
        "units": ("mm",) * 3,
        "axis_labels": AXIS_LABELS,
    }


def _source(layer: Image | Labels) -> Volume | None:
    """Return the volume that rides in a layer, unless the layer has been reshaped or moved."""
    source = layer.metadata.get(METADATA_KEY)
    if not isinstance(source, Volume) or layer.data.ndim != 3 or _is_turned(layer):
        return None
    geometry = _geometry(source.grid)
    upright = _turn(source.grid).apply(np.broadcast_to(False, source.grid.shape))
    unmoved = (
        layer.data.shape == upright.shape
        and np.allclose(layer.scale, geometry["scale"])
        and np.allclose(layer.translate, geometry["translate"])
    )
    return source if unmoved else None


def check_can_be_plain(layer: Image | Labels) -> None:
    """Refuse layers that hold no volume, and say how one is made of them.

    Raises
    ------
    SettingsError
        Naming the layer, what is wrong with it, and a command of napari's.
    """
    if getattr(layer, "rgb", False):
        wrong = "is a colour (RGB) picture: right-click it, choose Split RGB"
    elif layer.ndim < len(AXIS_LABELS):
        wrong = (
            f"has {layer.ndim} axes, and a 3D image is needed: select the layers of all its slices,"
            " right-click them, choose Merge to Stack"
        )
    else:
        return
    raise SettingsError(f"layer {layer.name!r} {wrong}")


def _check_upright(layer: Image | Labels) -> None:
    """Refuse layers whose array is no volume of its own.

    Raises
    ------
    SettingsError
        Naming the layer, what is wrong with it, and what to do.
    """
    check_can_be_plain(layer)
    if layer.multiscale:
        wrong, taken = "has several resolutions", "take its finest level"
    elif layer.ndim > len(AXIS_LABELS):
        wrong, taken = f"has {layer.ndim} axes", "take the slice of its first axes that is shown"
    elif _is_turned(layer) or min(layer.scale) <= 0:
        wrong = "is rotated, sheared, mirrored or has an affine of its own"
        taken = "apply that to its grid"
    else:
        return
    raise SettingsError(f"layer {layer.name!r} {wrong}: select it, choose {PLAIN_MENU} to {taken}")


def _is_turned(layer: Image | Labels) -> bool:
    unturned = (
        np.allclose(layer.rotate, np.eye(layer.ndim))
        and np.allclose(layer.shear, 0)
        and np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
    )
    return not unturned


def _place_mm(layer: Image | Labels) -> Iterable[tuple[float, float]]:
    """Yield scale and translate along each axis in mm; raises as `units_mm`."""
    for scale, offset, mm in zip(layer.scale, layer.translate, units_mm(layer), strict=True):
        yield float(scale * mm), float(offset * mm)


def units_mm(layer: Image | Labels) -> tuple[float, ...]:
    """Return the mm in a unit of each of a layer's last three axes; pixels count as mm.

    Raises
    ------
    SettingsError
        If an axis is not a length.
    """
    return tuple(_unit_mm(layer.name, unit) for unit in layer.units[-len(AXIS_LABELS) :])


def _unit_mm(name: str, unit: Any) -> float:
    if str(unit) == "pixel":
        return 1.0
    if not (1 * unit).check("[length]"):
        raise SettingsError(f"layer {name!r} is measured in {unit}: set its units to mm")
    return float((1 * unit).to("mm").magnitude)


def _title(volume: Volume) -> str:
    return base_name(volume.path) if volume.path else volume.name
