"""How labels lie over the image: filled, as contours, or hidden."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal

from napari.layers import Labels

from napari_asmlp.viewer.layers import METADATA_KEY, is_labels
from napari_asmlp.viewer.settings import recall

if TYPE_CHECKING:
    from napari.components import ViewerModel

Style = Literal["fill", "contour", "hidden"]
STYLES: tuple[Style, ...] = ("fill", "contour", "hidden")
CONTOUR_KEY = "view.contour_width"  # of the remembered settings
OPACITY_KEY = "view.opacity"
DEFAULT_CONTOUR = 1  # pixels on screen at the zoom where a voxel is one
DEFAULT_OPACITY = 0.7  # napari's own


def style_of(layer: Labels) -> Style:
    """Return how a layer is shown."""
    if not layer.visible:
        return "hidden"
    return "contour" if layer.contour else "fill"


def set_style(layer: Labels, style: Style) -> None:
    """Show a layer filled, as contours of the width used last, or not at all."""
    if style != "hidden":
        layer.contour = recall(CONTOUR_KEY, DEFAULT_CONTOUR) if style == "contour" else 0
    layer.visible = style != "hidden"


def cycle_style(layer: Labels) -> Style:
    """Show a layer in the next style, and return that."""
    style = STYLES[(STYLES.index(style_of(layer)) + 1) % len(STYLES)]
    set_style(layer, style)
    return style


def use_remembered_opacity(viewer: ViewerModel) -> None:
    """Give labels of ours that come into a viewer the opacity that was set last."""
    viewer.layers.events.inserted.connect(_inserted)


def hide_labels_meanwhile(viewer: ViewerModel) -> Generator[None, None, None]:
    """Hide all labels until the generator goes on."""
    hidden = [layer for layer in viewer.layers if is_labels(layer) and layer.visible]
    for layer in hidden:
        layer.visible = False
    yield
    for layer in hidden:
        layer.visible = True


def _inserted(event: Any) -> None:
    layer = event.value
    if is_labels(layer) and METADATA_KEY in layer.metadata:
        layer.opacity = min(max(recall(OPACITY_KEY, layer.opacity), 0.0), 1.0)
