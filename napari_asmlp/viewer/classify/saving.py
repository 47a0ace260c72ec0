"""Saving what was taught as a model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_asmlp import zoo
from napari_asmlp.model import SUFFIX, save_model

if TYPE_CHECKING:
    from napari_asmlp.model import Classifier

_SUGGESTED = f"objects{SUFFIX}"


def ask_path(parent: QWidget) -> str:
    """Return the path that the user gives, who has been asked about a file there; or nothing."""
    folder = zoo.user_folder()
    suggested = str(folder / _SUGGESTED) if folder.is_dir() else _SUGGESTED
    chosen, _ = QFileDialog.getSaveFileName(parent, "Save model", suggested, f"Models (*{SUFFIX})")
    return str(chosen)


def save_as(model: Classifier, chosen: str) -> Path:
    """Write a model under the name that was chosen, which becomes the model's name.

    Raises
    ------
    AsmlpError
        If the file cannot be written, or is there and was not what was chosen.
    """
    # the dialog has asked about the name that was typed, not about one that we complete
    path = Path(chosen if chosen.endswith(SUFFIX) else f"{chosen}{SUFFIX}")
    named = replace(model, card=replace(model.card, name=path.stem))
    return save_model(named, path, overwrite=str(path) == chosen)
