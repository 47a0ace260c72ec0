"""What goes wrong on the user's side, by kind.

Every message is one line that says what is wrong, where (the file's name), and what to do, and
repeats the wrong value. The command line prints it and ends with status 2; the window shows it as
a notification. Faults of the program itself are not wrapped: they keep their traceback.
"""

from __future__ import annotations

# What to do with one volume of several, in messages that scripts, commands and windows show.
CHOOSE_ONE = "choose one of them, by read_volume(FILE, volume=N) or --volume N"


class AsmlpError(Exception):
    """Something the user can put right; the parent of all errors of this package."""


class GridError(AsmlpError):
    """A grid that cannot be: wrong shape, a singular or non-finite affine, or no match."""


class VolumeError(AsmlpError):
    """A file or an array that is no usable volume."""


class ModelError(AsmlpError):
    """A model file that is missing, damaged, unsafe or of the wrong kind."""


class SettingsError(AsmlpError):
    """A wrong value, flag or combination of them."""


class OutputError(AsmlpError):
    """A place that cannot be written, or must not be."""
