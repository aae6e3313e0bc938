"""Fixtures of the client's tests: clients of live servers, and an index to put vectors into."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from recording_engine import RecordingEngine
from rooms import eventually
from vectorbucket import Client, RetryPolicy
from vectorbucket_server.app import Server, running_server
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

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


@pytest.fixture(name="operated_address", scope="module")
def fixture_operated_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that keeps things on a disk; twenty vectors make a graph there.

    It holds bucket ``photos`` and in it index ``faces`` of 4 numbers, with 30 vectors.
    """
    folder = tmp_path_factory.mktemp("operated")
    settings = Settings(
        data_dir=folder / "data",
        backup_dir=folder / "backups",
        bucket_log_dir=folder / "bucket-logs",
        grpc_address="127.0.0.1:0",
        embedded={"graph_rows_min": 20, "indexer_threads": 1},
    )
    with running_server(settings, log=make_logger("json", "error", io.StringIO())) as server:
        with Client(server.address) as client:
            client.put_vector_bucket("photos")
            client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
            keys = [f"k{number}" for number in range(30)]
            client.put_vectors("photos", "faces", keys=keys, data=np.eye(30, 4))
            eventually(
                lambda: not client.get_vector_index("photos", "faces").pending_vector_count,
                "all vectors are in the graph",
            )
        yield server.address


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
