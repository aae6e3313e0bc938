"""Connections to a database of the real Milvus, and what works over them, for the rooms' own tests.

Rules of this file: fixtures only. Each catalogue and each engine has a connection of its own, as if
it stood in another server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from milvus_server import MilvusServer
from vectorbucket_server.engine.base import SilentObserver
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.engine import MilvusEngine
from vectorbucket_server.engine.milvus.options import MilvusOptions

MakeCatalogue = Callable[..., Catalogue]
MakeEngine = Callable[..., MilvusEngine]

CACHE_S = 0.02
"""How long what was read is believed, unless a test says otherwise: changes take that long."""


@pytest.fixture(name="connect")
def fixture_connect(
    milvus_server: MilvusServer, milvus_database: str
) -> Iterator[Callable[..., Connection]]:
    """Return what opens connections to an empty database, with options by keyword."""
    with ExitStack() as stack:

        def connect(**changes: Any) -> Connection:
            options = MilvusOptions(milvus_server.uri, database=milvus_database, **changes)
            connection = Connection(options, SilentObserver())
            connection.open()
            return stack.enter_context(closing(connection))

        yield connect


@pytest.fixture(name="connection")
def fixture_connection(connect: Callable[..., Connection]) -> Connection:
    """A connection of the test's own, beside those of its catalogues."""
    return connect()


@pytest.fixture(name="make_catalogue")
def fixture_make_catalogue(connect: Callable[..., Connection]) -> MakeCatalogue:
    """Return what makes catalogues over that database; ``clock`` and options by keyword."""

    def make(**changes: Any) -> Catalogue:
        parts = {name: changes.pop(name) for name in ("clock", "new_id") if name in changes}
        changes = {"catalogue_cache_s": CACHE_S} | changes
        return Catalogue(connect(**changes), MilvusOptions(**changes), **parts)

    return make


@pytest.fixture(name="catalogue")
def fixture_catalogue(make_catalogue: MakeCatalogue) -> Catalogue:
    """A catalogue of an empty database."""
    return make_catalogue()


@pytest.fixture(name="make_engine")
def fixture_make_engine(milvus_server: MilvusServer, milvus_database: str) -> Iterator[MakeEngine]:
    """Return what opens engines over that database, with options by keyword."""
    with ExitStack() as stack:

        def make(**changes: Any) -> MilvusEngine:
            usual = {"uri": milvus_server.uri, "database": milvus_database}
            options = MilvusOptions(**(usual | {"catalogue_cache_s": CACHE_S} | changes))
            engine = MilvusEngine(options)
            engine.open()
            return stack.enter_context(closing(engine))

        yield make
