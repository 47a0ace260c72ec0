"""Settings of all tests."""

from __future__ import annotations

import os

import pytest

# Before torch is imported: the networks of the tests are tiny, so that threads cost more than they
# give, and on a busy machine a hundred times more.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch):
    """Segment alike on every machine: whether blocks were compiled on it does not matter."""
    import napari_asmlp.pipeline.plan  # brings torch, which not all tests need

    monkeypatch.setattr(napari_asmlp.pipeline.plan, "is_compiled", lambda: False)
