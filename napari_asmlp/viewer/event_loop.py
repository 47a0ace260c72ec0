"""Whether Qt runs: layers and their history live without it too."""

from __future__ import annotations

import sys


def has_event_loop() -> bool:
    """Tell whether there is a Qt application, so that a timer would fire."""
    if "qtpy" not in sys.modules:  # nobody has loaded Qt, which may not be there at all
        return False
    from qtpy.QtCore import QCoreApplication, QThread

    application = QCoreApplication.instance()
    return bool(application and application.thread() == QThread.currentThread())
