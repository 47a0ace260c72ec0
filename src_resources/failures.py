"""A picture of cases in which a model fails: a row each, outlines in three planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from napari_asmlp.model import LabelEntry
from napari_asmlp.volume import Volume

SCALE = 5  # pixels a mm
MARGIN, TITLE = 8, 22
INK, PAPER, REFERENCE = (235, 235, 235), (18, 18, 18), (255, 255, 255)
COLOURS, GREYS = 128, 64  # of the file


@dataclass(frozen=True)
class Failure:
    """A case with the labels it has and those it got, all on one grid."""

    name: str
    dice: float
    image: Volume
    reference: Volume
    found: Volume


def draw(failures: Sequence[Failure], table: Sequence[LabelEntry]) -> Image.Image:
    """Lay the cases out below each other: axial, coronal, sagittal, as radiologists see them."""
    rows = [panels(failure, table) for failure in failures]
    width = max(sum(p.width + MARGIN for p in row) for row in rows) + MARGIN
    heights = [max(p.height for p in row) + TITLE + MARGIN for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + MARGIN), PAPER)
    pen, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(size=15), MARGIN
    for failure, row, height in zip(failures, rows, heights, strict=True):
        text = f"{failure.name}: Dice {failure.dice:.3f}"
        pen.text((MARGIN, top), text, fill=INK, font=font)
        left = MARGIN + 2 * TITLE + round(pen.textlength(text, font=font))
        for entry in table:
            pen.text((left, top), entry.name, fill=entry.colour, font=font)
            left += TITLE + round(pen.textlength(entry.name, font=font))
        left = MARGIN
        for panel in row:
            sheet.paste(panel, (left, top + TITLE))
            left += panel.width + MARGIN
        top += height
    return sheet.quantize(COLOURS, dither=Image.Dither.NONE)


def panels(failure: Failure, table: Sequence[LabelEntry]) -> list[Image.Image]:
    """Draw the planes through the middle of the reference."""
    turn = failure.image.grid.orientation("RAS")
    spacing = failure.image.grid.reoriented(turn).spacing
    grey, reference, found = (
        turn.apply(volume.array()) for volume in (failure.image, failure.reference, failure.found)
    )
    low, high = np.percentile(grey, (1, 99))
    shares = ((grey - low) / max(high - low, 1e-12)).clip(0, 1)
    grey = (shares * (GREYS - 1)).round() * (255 / (GREYS - 1))
    shown = []
    for axis in (2, 1, 0):
        middle = round(float(np.nonzero(reference.any(axis=_others(axis)))[0].mean()))
        across, down = (spacing[other] for other in range(3) if other != axis)
        cuts = [_cut(array, axis, middle) for array in (grey, reference, found)]
        shown.append(_panel(cuts, (across, down), table))
    return shown


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _cut(array: NDArray[Any], axis: int, place: int) -> NDArray[Any]:
    """Rows from superior or anterior down, columns from the patient's right or anterior."""
    plane: NDArray[Any] = np.take(array, place, axis=axis).T[::-1, ::-1]
    return plane


def _panel(
    cuts: Sequence[NDArray[Any]], spacing: tuple[float, float], table: Sequence[LabelEntry]
) -> Image.Image:
    grey, reference, found = cuts
    size = (round(SCALE * spacing[0] * grey.shape[1]), round(SCALE * spacing[1] * grey.shape[0]))

    def enlarged(plane: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(Image.fromarray(plane.astype(np.uint8)).resize(size, 0))

    picture = np.repeat(enlarged(grey)[..., None], 3, axis=2)
    for entry in table:
        picture[_outline(enlarged(reference == entry.value), 2)] = REFERENCE
    for entry in table:
        picture[_outline(enlarged(found == entry.value), 2)] = ImageColor.getrgb(entry.colour)
    return Image.fromarray(picture)


def _outline(mask: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Return the pixels of a mask that lie within `width` of its border."""
    padded = np.pad(mask.astype(bool), width)
    inner = padded.copy()
    for axis in (0, 1):
        for step in range(1, width + 1):
            inner &= np.roll(padded, step, axis) & np.roll(padded, -step, axis)
    return (padded & ~inner)[width:-width, width:-width]
