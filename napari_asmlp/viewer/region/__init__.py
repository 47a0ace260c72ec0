"""The region: the part of a volume that the user asks for, drawn, typed or put around labels."""

from napari_asmlp.viewer.region.box import current_region, region_box
from napari_asmlp.viewer.region.mouse import listen
from napari_asmlp.viewer.region.row import RegionRow

__all__ = ["RegionRow", "current_region", "listen", "region_box"]
