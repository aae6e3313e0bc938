"""Indexes some of whose vectors are dead, and an indexer for them: what tests of rebuilds share.

Rules of this file: it makes, works and looks; what is right is said by the tests alone.
"""

from __future__ import annotations

import numpy as np

from lives import names
from oracles import draw_noise
from rooms import Notes, batch, make_budget, make_index, make_room
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.indexer import Indexer
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Query


class Place:
    """Some indexes, and an indexer for them that was not started."""

    def __init__(self, store: Store, options: EmbeddedOptions, notes: Notes) -> None:
        self.store, self.options, self.notes = store, options, notes
        self.rooms: list[OpenIndex] = []
        self.budget: MemoryBudget[OpenIndex] = make_budget(rooms=self.rooms)
        self.indexer = Indexer(lambda: self.rooms, store, self.budget, options, notes)

    def make(self, count: int = 300, dead: int = 150) -> OpenIndex:
        """Make an index of which some is dead and everything is in the graph, if it has one."""
        number = len(self.rooms) + 1
        index = make_index(name=f"i{number}", index_id=number)
        room = make_room(self.store, self.options, index, self.notes, budget=self.budget)
        room.put(batch(names(count), draw_noise(count, 4, seed=1)), None, None, NO_DEADLINE)
        generation = room.load(NO_DEADLINE)
        while generation.has_work:
            generation.turn(1_000, 1)
        room.delete(names(dead), NO_DEADLINE)
        self.rooms.append(room)
        self.budget.note(room)
        return room

    def rounds(self) -> None:
        """Work until there is nothing to do."""
        for _ in range(100):
            if not self.indexer._round():
                return
        raise AssertionError("there is always something to do")


def live(room: OpenIndex) -> list[str]:
    """Return the keys that a query for everything finds."""
    everything = Query(np.zeros((1, 4), np.float32), 1_000)
    return sorted(hit.key for hit in room.query(everything, NO_DEADLINE)[0])
