"""A store, an index and an engine in a temporary folder, for the rooms' own tests.

Rules of this file: fixtures only; how things are made is said in tests/rooms.py, lives.py
and resting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lives import Life
from resting import copied, make_resting
from rooms import Notes, Refusals, make_index, make_options, make_room, opened_engine, opened_store
from vectorbucket_server.engine.embedded import search
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.planner import Plan
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


@pytest.fixture(name="made", scope="session")
def fixture_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data directory at rest that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    make_resting(folder)
    return folder


@pytest.fixture(name="resting")
def fixture_resting(made: Path, tmp_path: Path) -> EmbeddedOptions:
    """Return the options of a copy of it."""
    return copied(made, tmp_path)


@pytest.fixture(name="life")
def fixture_life(tmp_path: Path) -> Iterator[Life]:
    """Yield an empty generation of dimension 4 that gets a graph with its first vector."""
    life = Life(tmp_path)
    yield life
    life.generation.close()


@pytest.fixture(name="force")
def fixture_force(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], None]:
    """Return how to decide which plan runs."""
    return lambda plan: monkeypatch.setattr(search, "choose", lambda *_: plan)
