"""A store, an index and an engine in a temporary folder, for the rooms' own tests.

Rules of this file: fixtures only; how things are made is said in tests/rooms.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rooms import Notes, Refusals, make_index, make_options, make_room, opened_engine, opened_store
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.store import Store


@pytest.fixture(name="options")
def fixture_options(tmp_path: Path) -> EmbeddedOptions:
    """Return options for a data directory that does not exist yet."""
    return make_options(tmp_path)


@pytest.fixture(name="store")
def fixture_store(tmp_path: Path) -> Iterator[Store]:
    """Yield an empty store."""
    with opened_store(tmp_path) as store:
        yield store


@pytest.fixture(name="writes")
def fixture_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Return what counts the store's writes, and refuses them when it is told to."""
    writes = Refusals(store)
    monkeypatch.setattr(store, "write", writes)
    return writes


@pytest.fixture(name="notes")
def fixture_notes() -> Notes:
    """Return an observer that remembers."""
    return Notes()


@pytest.fixture(name="room")
def fixture_room(store: Store, options: EmbeddedOptions, notes: Notes) -> OpenIndex:
    """Return an empty index of dimension 4 that nothing works on in the background."""
    return make_room(store, options, make_index(), notes)


@pytest.fixture(name="engine")
def fixture_engine(tmp_path: Path, notes: Notes) -> Iterator[EmbeddedEngine]:
    """Yield an open engine with a bucket."""
    with opened_engine(tmp_path, notes) as engine:
        yield engine
