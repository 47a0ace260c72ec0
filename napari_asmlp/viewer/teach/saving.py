"""Keeping what was taught: as a model file that Segment runs, with what it is worth alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_asmlp import zoo
from napari_asmlp.model import SUFFIX, save_model
from napari_asmlp.viewer.settings import remember
from napari_asmlp.viewer.view.actions import open_panels

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.model import LabelEntry, Model

_SUGGESTED = f"taught{SUFFIX}"
_SEGMENT_KEY = "segment.model"  # what the Segment panel chooses when it opens
SCORES = ("model_dice", "labels_dice")  # of a report: of the model alone, of the labels


def ask_path(parent: QWidget) -> str:
    """Return the path that the user gives, who has been asked about a file there; or nothing."""
    folder = zoo.user_folder()
    suggested = str(folder / _SUGGESTED) if folder.is_dir() else _SUGGESTED
    chosen, _ = QFileDialog.getSaveFileName(parent, "Save model", suggested, f"Models (*{SUFFIX})")
    return str(chosen)


def save_as(model: Model, chosen: str, entries: Sequence[LabelEntry]) -> Path:
    """Write a model under the name that was chosen, with names and colours of its labels.

    Raises
    ------
    AsmlpError
        If the file cannot be written, or is there and was not what was chosen.
    """
    # the dialog has asked about the name that was typed, not about one that we complete
    path = Path(chosen if chosen.endswith(SUFFIX) else f"{chosen}{SUFFIX}")
    return save_model(named(model, path.stem, entries), path, overwrite=str(path) == chosen)


def named(model: Model, name: str, entries: Sequence[LabelEntry]) -> Model:
    """Return a model whose card has a name, and the names and colours of its labels."""
    known = {entry.value: entry for entry in entries}
    labels = tuple(known.get(entry.value, entry) for entry in model.card.labels)
    return replace(model, card=replace(model.card, name=name, labels=labels))


def choose_in_segment(viewer: ViewerModel, path: Path) -> None:
    """Let the Segment panel have the model chosen, now if it is open."""
    from napari_asmlp.viewer.segment.panel import SegmentPanel  # which may not be open at all

    remember(_SEGMENT_KEY, str(path))
    for panel in open_panels(viewer, SegmentPanel):
        panel.model.add(path)


def worth_alone(report: Mapping[str, Any]) -> str:
    """Return what the model reaches without the light learner, beside it, in one line."""
    alone, labels, agreement = (report.get(key) for key in (*SCORES, "agreement"))
    steps = int(report.get("steps", 0))
    told = []
    if alone is not None and labels is not None:
        told.append(
            f"On annotations kept back, the model alone had a Dice of {alone:.2f}, the labels in"
            f" the window {labels:.2f}"
        )
    if agreement is not None:
        told.append(f"The model alone labels {100 * agreement:.1f} % of the voxels as they are now")
    if not told:
        told.append(
            f"The model alone has taken {steps:,} steps and was not checked: the labels in the"
            " window may be much better than what it finds. Longer rounds teach it more"
        )
    return ". ".join(told)
