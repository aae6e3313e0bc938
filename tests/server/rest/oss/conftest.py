"""Fixtures of the translator's own tests; those of whole dialects are in tests/conftest.py."""

from __future__ import annotations

import pytest

from oss.recorders import new_recorders
from vectorbucket_server.rest.oss.translator import Stubs


@pytest.fixture
def recorders() -> Stubs:
    """Stubs that answer everything, and keep what they were asked."""
    return new_recorders()
