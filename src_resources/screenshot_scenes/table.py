"""The table of all scenes: importing them enters them into it."""

from screenshot_scenes import edit, mixer, segment, teach, view, workspace  # noqa: F401  # which enter theirs
from screenshot_scenes.stage import SCENES

__all__ = ["SCENES"]
