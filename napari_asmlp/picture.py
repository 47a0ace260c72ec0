"""A picture of labels over their image: one plane of each direction, upright and radiological."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from napari_asmlp.model import LabelEntry
from napari_asmlp.volume import Volume

_PANEL = 320  # pixels of a panel's longer side
_MARGIN = 14
_LABEL_WEIGHT = 0.45
_INK, _PAPER = (235, 235, 235), (18, 18, 18)

View = tuple[str, int, tuple[int, int], str]
# Name; canonical axis (R, A, S) that is cut; axes shown down and across; letters at the edges.
_VIEWS: tuple[View, ...] = (
    ("axial", 2, (1, 0), "APRL"),
    ("coronal", 1, (2, 0), "SIRL"),
    ("sagittal", 0, (2, 1), "SIAP"),
)


def overview(image: Volume, labels: Volume, table: Sequence[LabelEntry]) -> Image.Image:
    """Draw the three planes through the middle of the labels, with a legend.

    Anterior and superior are up, the patient's right is on the viewer's left, and the nose of the
    sagittal plane points left. Voxels are shown in their true proportions.
    """
    turn = image.grid.orientation("RAS")
    spacing = image.grid.reoriented(turn).spacing
    voxels, values = turn.apply(image.array()), turn.apply(labels.array())
    voxels = voxels[..., 0] if voxels.ndim == 4 else voxels
    voxels = voxels.astype(np.result_type(voxels.dtype, np.float32), copy=False)
    if values.any():
        centre = [round(float(axis.mean())) for axis in np.nonzero(values)]
    else:
        centre = [n // 2 for n in values.shape]
    low, high = np.percentile(voxels[np.isfinite(voxels)], (1, 99))
    grey = np.nan_to_num((voxels - low) / max(high - low, 1e-12)).clip(0, 1)
    panels = [
        _panel(_cut(grey, view, centre), _cut(values, view, centre), view, spacing, table)
        for view in _VIEWS
    ]
    return _lay_out(panels, [entry for entry in table if (values == entry.value).any()])


def _cut(array: NDArray[Any], view: View, centre: list[int]) -> NDArray[Any]:
    """Take a plane, rows from top to bottom: every canonical axis runs the other way on screen."""
    _, cut, (down, across), _ = view
    plane: NDArray[Any] = np.take(array, centre[cut], axis=cut)
    return (plane.T if down > across else plane)[::-1, ::-1]


def _panel(
    grey: NDArray[Any],
    values: NDArray[Any],
    view: View,
    spacing: tuple[float, float, float],
    table: Sequence[LabelEntry],
) -> Image.Image:
    name, _, (down, across), letters = view
    height, width = grey.shape[0] * spacing[down], grey.shape[1] * spacing[across]
    scale = _PANEL / max(height, width)
    size = round(width * scale), round(height * scale)
    base = Image.fromarray((grey * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    colours = np.asarray(base.convert("RGB"), dtype=np.float64)
    for entry in table:
        mask = Image.fromarray((values == entry.value).astype(np.uint8) * 255)
        weight = np.asarray(mask.resize(size, Image.Resampling.NEAREST))[..., None] / 255
        weight = weight * _LABEL_WEIGHT
        colours = colours * (1 - weight) + weight * np.array(ImageColor.getrgb(entry.colour))
    panel = Image.fromarray(colours.round().astype(np.uint8))
    _write_letters(panel, name, letters)
    return panel


def _write_letters(panel: Image.Image, name: str, letters: str) -> None:
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(size=15)
    width, height = panel.size
    places = {
        "mt": (width / 2, 3.0),
        "mb": (width / 2, height - 3.0),
        "lm": (4.0, height / 2),
        "rm": (width - 4.0, height / 2),
    }
    for (anchor, place), letter in zip(places.items(), letters, strict=True):
        draw.text(place, letter, fill=_INK, font=font, anchor=anchor, stroke_width=1, stroke_fill=0)
    draw.text(
        (4, height - 4), name, fill=_INK, font=font, anchor="lb", stroke_width=1, stroke_fill=0
    )


def _lay_out(panels: Sequence[Image.Image], legend: Sequence[LabelEntry]) -> Image.Image:
    width = sum(panel.width for panel in panels) + _MARGIN * (len(panels) + 1)
    height = max(panel.height for panel in panels) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height + 30), _PAPER)
    x = _MARGIN
    for panel in panels:
        sheet.paste(panel, (x, _MARGIN + (height - 2 * _MARGIN - panel.height) // 2))
        x += panel.width + _MARGIN
    draw, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(size=16), _MARGIN
    for entry in legend:
        draw.rectangle((x, height, x + 16, height + 16), fill=entry.colour)
        draw.text((x + 24, height), entry.name, fill=_INK, font=font)
        x += 44 + round(draw.textlength(entry.name, font=font))
    return sheet
