"""Scenes of the screenshots, by what they show.

What the user's own windows remember is neither read nor written: that is settled here, before
napari is imported anywhere.
"""

import os
import tempfile
from pathlib import Path

OWN = Path(tempfile.mkdtemp(prefix="screenshots-"))
os.environ["NAPARI_ASMLP_CONFIG"] = os.environ["NAPARI_ASMLP_STATE"] = str(OWN)
os.environ["NAPARI_CONFIG"] = str(OWN / "napari.yaml")
