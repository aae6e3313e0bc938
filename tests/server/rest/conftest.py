"""Fixtures of the tests of HTTP: an application that tells what it was asked, served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raw_http import Serving
from rest_echo import HASTY, PATIENT, Echo, echoing


@pytest.fixture
def echo() -> Echo:
    """Answers with what was asked."""
    return Echo()


@pytest.fixture
def served(echo: Echo) -> Iterator[Serving]:
    """The echo, served with patience."""
    with echoing(echo, PATIENT) as served:
        yield served


@pytest.fixture
def hasty(echo: Echo) -> Iterator[Serving]:
    """The echo, served with little patience."""
    with echoing(echo, HASTY) as served:
        yield served
