"""The commands of napari's menus that show a page of the workspace."""

from __future__ import annotations

from functools import partial

from napari_asmlp.viewer.commands import errors_shown, viewer_of_command
from napari_asmlp.viewer.panel import open_page


def _show(page: str) -> None:
    with errors_shown():
        open_page(viewer_of_command(), page)


show_view = partial(_show, "view")
show_segment = partial(_show, "segment")
show_teach = partial(_show, "teach")
show_edit = partial(_show, "edit")
show_classify = partial(_show, "classify")
show_measure = partial(_show, "measure")
