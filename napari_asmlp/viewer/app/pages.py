"""The pages of the workspace: what they are called, and what makes them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_asmlp.viewer.panel import Panel


@dataclass(frozen=True)
class Page:
    """A page and its button.

    Attributes
    ----------
    name : in calls of `open_page`, and of its icon
    title : on the button
    tip : what one does there
    maker : the panel, as ``module:class``; imported when the page is first shown
    """

    name: str
    title: str
    tip: str
    maker: str

    def make(self, viewer: ViewerModel) -> Panel:
        """Return a new panel of the page."""
        module, name = self.maker.split(":")
        panel: Panel = getattr(import_module(module), name)(viewer)
        return panel


_ROOM = "napari_asmlp.viewer"
PAGES = (
    Page("open", "Open", "Open volumes and labels", f"{_ROOM}.app.open_page:OpenPage"),
    Page("view", "View", "Planes, window and level, overlay", f"{_ROOM}.view.panel:ViewPanel"),
    Page(
        "segment", "Segment", "Label the image with a model", f"{_ROOM}.segment.panel:SegmentPanel"
    ),
    Page("teach", "Teach", "Paint a little, get the rest", f"{_ROOM}.teach.panel:TeachPanel"),
    Page("edit", "Edit", "Correct labels by brush and tools", f"{_ROOM}.edit.panel:EditPanel"),
    Page(
        "classify",
        "Classify",
        "The class of a volume or of objects, by an MLP-Mixer",
        f"{_ROOM}.classify.panel:MixerPanel",
    ),
    Page(
        "measure", "Measure", "A table of labels or objects", f"{_ROOM}.measure.panel:MeasurePanel"
    ),
    Page(
        "export",
        "Export",
        "Save labels on the grid of the file",
        f"{_ROOM}.app.export_page:ExportPage",
    ),
)
