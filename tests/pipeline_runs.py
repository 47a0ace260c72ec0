"""How tests run a segmentation to its end, or stop it."""

from napari_asmlp.pipeline import iter_segment


def run(volume, model, settings, partial=None):
    """Return all progress and the result."""
    steps, progress = iter_segment(volume, model, settings, partial), []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as stop:
            return progress, stop.value


def stopped(volume, model, settings, partial, windows):
    """Stop a run after so many windows."""
    steps = iter_segment(volume, model, settings, partial)
    for progress in steps:
        if progress.done >= windows:
            break
    steps.close()
