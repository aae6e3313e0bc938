"""A generation's writer, indexer and readers at once: what is hidden is dead, nothing is missed.

Method: threads take turns much more often than they would; what the graph hides is noted when it
is hidden, and compared with the view that a search returns.
"""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from lives import Life, keys_of, names
from rooms import (
    eventually,
    restless,
    running,
)
from vectorbucket_server.engine.embedded.generation import Found, Generation
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.model import Float32Array


def found_by(generation: Generation, breadth: int = 10_000) -> Found:
    """Return what a search for everything finds."""
    return generation.search(np.zeros((1, 4), dtype=np.float32), breadth, 1)


def test_whatever_the_graph_hides_is_dead_in_the_view_of_the_search(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: set[int] = set()
    seen = threading.local()
    mark_dead, search = Graph.mark_dead, Graph.search

    def marking(self: Graph, slot: int) -> None:
        hidden.add(slot)
        mark_dead(self, slot)

    def searching(self: Graph, queries: Float32Array, k: int, *, threads: int) -> object:
        seen.hidden = sorted(hidden)  # the graph is held, so nothing is marked meanwhile
        return search(self, queries, k, threads=threads)

    monkeypatch.setattr(Graph, "mark_dead", marking)
    monkeypatch.setattr(Graph, "search", searching)
    keys = names(30)
    life.put(keys)
    life.index_all()
    done = threading.Event()
    wrong: list[str] = []
    checks = itertools.count()

    def index() -> None:
        while not done.is_set():
            life.generation.turn(7, 1)

    def ask() -> None:
        while not done.is_set():
            found = found_by(life.generation, 3)
            if seen.hidden and found.view.live(np.array(seen.hidden)).any():
                wrong.append(f"hidden and alive at seq {found.view.seq}")
            next(checks)

    with restless(), running(index), running(ask, times=2):
        numbers = itertools.count()

        def overwrite() -> bool:
            number = next(numbers)
            life.put([keys[number % 30], keys[number * 7 % 30 - 1]][: 1 + number % 2])
            return len(hidden) > 300 and next(checks) > 300

        eventually(overwrite, "enough was overwritten, hidden and looked for")
        done.set()
    assert wrong == []


def test_no_key_is_missed_or_doubled_between_graph_and_pending(life: Life) -> None:
    keys = names(20)
    life.put(keys)
    done = threading.Event()
    wrong: list[object] = []
    checks = itertools.count()

    def index() -> None:
        while not done.is_set():
            life.generation.turn(5, 1)

    def ask() -> None:
        while not done.is_set():
            found = found_by(life.generation)
            view, slots = found.view, found.slots[0]
            below = view.live_range(0, found.graphed)
            if len(slots) < len(below):
                continue  # hnswlib found fewer than there are; search.py scans then
            both = [
                *slots[view.live(slots)].tolist(),
                *view.live_range(found.graphed, view.count).tolist(),
            ]
            if keys_of(view, both) != keys:
                wrong.append(keys_of(view, both))
            next(checks)

    with restless(), running(index), running(ask):
        numbers = itertools.count()

        def overwrite() -> bool:
            number = next(numbers)
            life.put([keys[number % 20], keys[number * 3 % 20 - 1]][: 1 + number % 2])
            return number > 300 and next(checks) > 200

        eventually(overwrite, "enough was overwritten and looked for")
        done.set()
    assert wrong == []
