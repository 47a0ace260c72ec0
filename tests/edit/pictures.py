"""Small arrays written as they look: a digit is a label, a dot is background."""

import numpy as np

MM = (1.0, 1.0, 1.0)


def plane(*rows):
    """Array (1, rows, columns)."""
    return volume(rows)


def volume(*planes):
    """Array (planes, rows, columns)."""
    return np.array([[[0 if c == "." else int(c) for c in row] for row in p] for p in planes], "u1")


def shown(labels):
    """Undo `volume` for the only plane."""
    (rows,) = labels
    return tuple("".join("." if v == 0 else str(v) for v in row) for row in rows)


def edited(labels, change):
    after = labels.copy()
    change.apply(after)
    return after
