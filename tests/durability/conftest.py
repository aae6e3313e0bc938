"""Servers of a test, none of which outlives it.

Rules of this file: fixtures alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("durability.ledger")

from bench_server import ServerProcess, StartServer, start_server  # noqa: E402 - asserts first


@pytest.fixture(name="start")
def fixture_start() -> Iterator[StartServer]:
    """Yield how to start a real server over a data directory; kill at the end those that run."""
    started: list[ServerProcess] = []

    def start(data_dir: Path) -> ServerProcess:
        started.append(start_server(data_dir))
        return started[-1]

    yield start
    for server in started:
        server.kill()
