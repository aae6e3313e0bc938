"""Fixtures of the translator's tests: a translator before a server with an empty memory engine."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from oss.dialect import Dialect, dialect_before
from oss.recorders import new_recorders
from vectorbucket_server.app import running_server
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.rest.oss.translator import Stubs
from vectorbucket_server.settings import Settings


@pytest.fixture(name="server_address", scope="module")
def fixture_server_address() -> Iterator[str]:
    """The address of one server for all tests of a module."""
    settings = Settings(engine="memory", grpc_address="127.0.0.1:0")
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server:
        yield server.address


@pytest.fixture(name="shared_dialect", scope="module")
def fixture_shared_dialect(server_address: str) -> Iterator[Dialect]:
    """The dialect before that server."""
    with dialect_before(server_address) as dialect:
        yield dialect


@pytest.fixture
def dialect(shared_dialect: Dialect) -> Iterator[Dialect]:
    """The dialect before a server that holds nothing."""
    yield shared_dialect
    shared_dialect.empty()


@pytest.fixture
def recorders() -> Stubs:
    """Stubs that answer everything, and keep what they were asked."""
    return new_recorders()
