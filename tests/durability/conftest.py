"""Servers of a test, none of which outlives it.

Rules of this file: fixtures alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("durability.crashes", "durability.ledger")

from bench_server import ServerProcess, StartServer, start_server  # noqa: E402 - asserts first
from durability.crashes import Crash, crashes  # noqa: E402 - the same

RESTLESS = (
    "graph_rows_min=50",
    "checkpoint_changes_min=50",
    "checkpoint_changes_share=0",
    "worn_share_max=0.1",
)
"""Options of an engine that makes graphs early, saves them often and builds them anew soon."""


@pytest.fixture(name="start")
def fixture_start() -> Iterator[StartServer]:
    """Yield how to start a real server over a data directory; kill at the end those that run."""
    yield from servers()


@pytest.fixture(name="start_restless")
def fixture_start_restless() -> Iterator[StartServer]:
    """Yield the same for a server with much to do behind."""
    yield from servers(*(part for option in RESTLESS for part in ("--embedded", option)))


def servers(*arguments: str) -> Iterator[StartServer]:
    """Yield how to start a server with these arguments; kill at the end those that run."""
    started: list[ServerProcess] = []

    def start(data_dir: Path) -> ServerProcess:
        started.append(start_server(data_dir, *arguments))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(name="crash", scope="module")
def fixture_crash() -> Iterator[Crash]:
    """Yield how to let a process die at a chosen instruction."""
    with crashes() as crash:
        yield crash
