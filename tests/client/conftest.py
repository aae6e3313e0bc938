"""Fixtures of the client's tests: clients of live servers, and an index to put vectors into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from recording_engine import RecordingEngine
from vectorbucket import Client, RetryPolicy
from vectorbucket_server.app import Server

Connect = Callable[..., Client]

QUICK = RetryPolicy(first_delay_s=0.005, delay_s_max=0.05, jitter=0.0)
"""Patience for tests: as often as by default, but without the waiting."""


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect clients, by address and further arguments, that are closed after the test."""
    with ExitStack() as stack:

        def connected(target: str, **arguments: Any) -> Client:
            return stack.enter_context(Client(target, **({"retry": QUICK} | arguments)))

        yield connected


@pytest.fixture
def engine() -> RecordingEngine:
    """The engine of ``recorded_server``."""
    return RecordingEngine()


@pytest.fixture
def recorded_server(start_server: Callable[..., Server], engine: RecordingEngine) -> Server:
    """A server whose engine notes commits; it holds bucket ``photos`` and index ``faces`` of 4."""
    server = start_server(over=engine, drain_grace_s=0.2)
    with Client(server.address) as client:
        client.put_vector_bucket("photos")
        client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    return server


@pytest.fixture
def client(recorded_server: Server, connect: Connect) -> Client:
    """A client of ``recorded_server``."""
    return connect(recorded_server.address)
