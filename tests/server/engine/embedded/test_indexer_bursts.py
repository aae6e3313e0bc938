"""A burst of puts goes before the indexer: while it is young, and while little is pending.

Method: the indexer's rounds are called without its thread, so that what a round does not do can be
seen; what counts as recent and as long is set far away, so that no clock decides.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lives import names
from oracles import draw_noise
from rooms import Notes, batch, make_budget, make_index, make_room
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import indexer as module
from vectorbucket_server.engine.embedded.indexer import Indexer
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.store import Store

_LONG_S = 3600.0


@pytest.fixture(name="room")
def fixture_room(store: Store, options: EmbeddedOptions, notes: Notes) -> OpenIndex:
    """Return an index that gets a graph with its first vector, with ten vectors put just now."""
    eager = EmbeddedOptions(options.data_dir, graph_rows_min=1, indexer_threads=1)
    room = make_room(store, eager, make_index(), notes)
    room.put(batch(names(10), draw_noise(10, 4, seed=1)), None, None, NO_DEADLINE)
    return room


@pytest.fixture(name="round_of")
def fixture_round_of(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> Callable[[OpenIndex], bool]:
    """Return how to let an indexer without a thread give an index a round."""
    indexers: dict[OpenIndex, Indexer] = {}

    def run(room: OpenIndex) -> bool:
        if room not in indexers:
            indexers[room] = Indexer(lambda: [room], store, make_budget(), options, notes)
        return indexers[room]._round()

    return run


def pending(room: OpenIndex) -> int:
    return room.statistics().pending_vector_count


def test_burst_of_puts_is_indexed_when_it_is_over(
    room: OpenIndex, round_of: Callable[[OpenIndex], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PUTS_RECENT_S", _LONG_S)
    monkeypatch.setattr(module, "_BURST_S", _LONG_S)
    assert not round_of(room)
    assert pending(room) == 10
    room.put_s -= 2 * _LONG_S
    assert round_of(room)
    assert pending(room) == 0


def test_burst_that_does_not_end_is_indexed_beside_it(
    room: OpenIndex, round_of: Callable[[OpenIndex], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PUTS_RECENT_S", _LONG_S)
    monkeypatch.setattr(module, "_BURST_S", 0.0)
    assert round_of(room)
    assert pending(room) == 0


def test_next_burst_is_young_again(
    room: OpenIndex, round_of: Callable[[OpenIndex], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PUTS_RECENT_S", _LONG_S)
    monkeypatch.setattr(module, "_BURST_S", 0.0)
    assert round_of(room)
    assert not round_of(room), "nothing is left, which ends the burst"
    monkeypatch.setattr(module, "_BURST_S", _LONG_S)
    room.put(batch(names(5, 10), draw_noise(5, 4, seed=2)), None, None, NO_DEADLINE)
    assert not round_of(room)
    assert pending(room) == 5


def test_much_that_is_pending_does_not_wait_for_the_end_of_a_burst(
    store: Store,
    options: EmbeddedOptions,
    notes: Notes,
    round_of: Callable[[OpenIndex], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PUTS_RECENT_S", _LONG_S)
    monkeypatch.setattr(module, "_BURST_S", _LONG_S)
    full = EmbeddedOptions(
        options.data_dir, graph_rows_min=1, indexer_threads=1, pending_bytes_max=2 * 10 * 4 * 4
    )
    room = make_room(store, full, make_index(), notes)
    room.put(batch(names(9), draw_noise(9, 4, seed=1)), None, None, NO_DEADLINE)
    assert not round_of(room), "less than half of the bound is pending"
    room.put(batch(names(1, 9), draw_noise(1, 4, seed=2)), None, None, NO_DEADLINE)
    assert round_of(room)
    assert pending(room) == 0
