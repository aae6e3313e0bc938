"""Fixtures of the dialect's tests: a translator before a server with an empty memory engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oss.dialect import Dialect, dialect_before
from vectorbucket_server.app import Server


@pytest.fixture
def dialect(server: Server) -> Iterator[Dialect]:
    """The dialect before ``server``."""
    with dialect_before(server.address) as dialect:
        yield dialect
