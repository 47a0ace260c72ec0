"""Make pictures of the window: a PNG for each scene, of the sample, its labels and all panels.

Run it where the package is installed with a Qt binding and the demo's volume, and look at the
results; without a screen::

    xvfb-run -a -s "-screen 0 1366x768x24" python src_resources/screenshots.py OUT [scene ...]

Without names, all scenes are made. The picture of the README is the scene `window`, those of
docs/teach.md are the scenes `teach_...`. Nothing that the user's own windows remember is read or
written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from screenshot_scenes.stage import close, process, sample_window, toasts
from screenshot_scenes.table import SCENES


def main(out: Path, names: list[str]) -> None:
    """Make the pictures of the scenes named, or of all."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names or SCENES:
        viewer = sample_window()
        widget = SCENES[name](viewer)
        process(1)
        if name != "tilt":
            toasts(viewer)
        path = out / f"{name}.png"
        if not widget.grab().save(str(path)):
            sys.exit(f"{out}: cannot be written")
        # 256 colours are enough for a window, and a third of the bytes
        Image.open(path).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(path)
        close(viewer)


if __name__ == "__main__":
    unknown = set(sys.argv[2:]) - set(SCENES)
    if len(sys.argv) < 2 or unknown:
        sys.exit(f"usage: python {sys.argv[0]} OUT [scene ...], of {', '.join(SCENES)}")
    main(Path(sys.argv[1]), sys.argv[2:])
