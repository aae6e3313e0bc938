"""Fixtures of the whole suite: a live server in this process, on a free port, and its raw stubs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import vectorbucket_server  # noqa: F401 - before grpc is imported; see fork_support.py

# isort: split

from milvus_server import (
    MILVUS_TESTS,
    MilvusServer,
    shared_server,
    temporary_database,
    why_missing,
)
from oss.dialect import Dialect, dialect_before
from rpc import Stubs, stubs_of
from stubborn import SlowEngine
from vectorbucket_server.app import Server, running_server
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

StartServer = Callable[..., Server]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the real Milvus, so that ``-m milvus`` is these and no others.

    Raises:
        pytest.UsageError: One stands where ``scripts/test`` does not look for them.
    """
    for item in items:
        if isinstance(item, pytest.Function) and "milvus_package" in item.fixturenames:
            item.add_marker("milvus")
            if not item.nodeid.startswith(MILVUS_TESTS):
                raise pytest.UsageError(f"{item.nodeid} uses Milvus, outside of {MILVUS_TESTS}")


@pytest.fixture(scope="session")
def milvus_package() -> None:
    """The package with Milvus in it: whoever starts one asks for this, and is marked thereby."""
    reason = why_missing()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def milvus_server(
    milvus_package: None,  # noqa: ARG001 - it is the reason to skip
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[MilvusServer]:
    """One Milvus for the whole run, all its workers included; never kill this one."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # a worker's is a folder in that of the run
        base = base.parent
    with shared_server(base / "milvus") as server:
        yield server


@pytest.fixture
def milvus_database(milvus_server: MilvusServer) -> Iterator[str]:
    """The name of a database of this test's own in ``milvus_server``."""
    with temporary_database(milvus_server.uri) as name:
        yield name


@pytest.fixture
def server_log() -> io.StringIO:
    """What the servers of this test have logged."""
    return io.StringIO()


@pytest.fixture
def log_lines(server_log: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines of ``server_log`` so far, as dictionaries."""
    return lambda: [json.loads(line) for line in server_log.getvalue().splitlines()]


@pytest.fixture
def start_server(server_log: io.StringIO, tmp_path: Path) -> Iterator[StartServer]:
    """Start servers with settings by keyword; over the memory engine unless ``over`` names one."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Server:
            engine = settings.pop("over", None)
            usual: dict[str, Any] = {
                "engine": "memory",
                "grpc_address": "127.0.0.1:0",
                "bucket_log_dir": tmp_path / "bucket-logs",
            }
            log = make_logger("json", "debug", server_log)
            made = running_server(Settings(**(usual | settings)), engine=engine, log=log)
            return stack.enter_context(made)

        yield start


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A running server with default settings, over the memory engine."""
    return start_server()


@pytest.fixture
def stubs(server: Server) -> Iterator[Stubs]:
    """Raw stubs of ``server``."""
    with stubs_of(server.address) as stubs:
        yield stubs


@pytest.fixture
def slow() -> Iterator[SlowEngine]:
    """An engine whose gate is opened at the end, so that no server waits for it."""
    engine = SlowEngine()
    yield engine
    engine.gate.set()


@pytest.fixture(name="server_address", scope="module")
def fixture_server_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server, over the memory engine, for all tests of a module."""
    settings = Settings(
        engine="memory",
        grpc_address="127.0.0.1:0",
        bucket_log_dir=tmp_path_factory.mktemp("bucket-logs"),
    )
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server:
        yield server.address


@pytest.fixture(name="shared_dialect", scope="module")
def fixture_shared_dialect(server_address: str) -> Iterator[Dialect]:
    """The OSS dialect before that server."""
    with dialect_before(server_address) as dialect:
        yield dialect


@pytest.fixture
def dialect(shared_dialect: Dialect) -> Iterator[Dialect]:
    """The OSS dialect before a server that holds nothing."""
    yield shared_dialect
    shared_dialect.empty()
