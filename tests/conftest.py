"""Settings of all tests."""

from __future__ import annotations

import os

# Before torch is imported: the networks of the tests are tiny, so that threads cost more than they
# give, and on a busy machine a hundred times more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
