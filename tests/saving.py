"""Indexes with graphs and a saver for them: what the tests of checkpoints have in common.

Rules of this file: it makes, saves and looks; what is right is said by the tests alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lives import keys_of
from oracles import draw_noise
from rooms import Notes, batch, make_index, make_room
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import checkpoint as checkpoints
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.schema import Checkpoint
from vectorbucket_server.engine.embedded.store import Store


class Place:
    """Indexes with graphs, and a saver whose thread was not started."""

    def __init__(self, store: Store, options: EmbeddedOptions, notes: Notes) -> None:
        self.store, self.options, self.notes = store, options, notes
        self.rooms: list[OpenIndex] = []
        self.saver = Saver(lambda: self.rooms, store, options, notes)

    def make(self, count: int = 100) -> OpenIndex:
        """Make an index whose vectors are all in the graph."""
        number = len(self.rooms) + 1
        index = make_index(name=f"i{number}", index_id=number)
        room = make_room(self.store, self.options, index, self.notes)
        self.rooms.append(room)
        put(room, [f"k{one:04}" for one in range(count)])
        return room

    def reopened(self, room: OpenIndex) -> Generation:
        """Return the generation that a new process finds."""
        room.close()
        return make_room(self.store, self.options, room.index, self.notes).load(NO_DEADLINE)

    def named(self, room: OpenIndex) -> list[str]:
        """Return the names of the checkpoints that the store names."""
        return [one.name for one in load_checkpoints(self.store, room.index)]

    @contextmanager
    def saving(self) -> Iterator[Saver]:
        """Run the saver's thread."""
        self.saver.start()
        try:
            yield self.saver
        finally:
            self.saver.stop()


def put(room: OpenIndex, keys: list[str], seed: int = 0) -> None:
    """Put noise, and put it into the graph."""
    room.put(batch(keys, draw_noise(len(keys), 4, seed=seed)), None, None, NO_DEADLINE)
    generation = room.load(NO_DEADLINE)
    while generation.has_work:
        generation.turn(1_000, 1)


def live(generation: Generation) -> list[str]:
    """Return the live keys."""
    return keys_of(generation.view)


def on_disk(room: OpenIndex) -> list[str]:
    """Return the checkpoints that are on disk."""
    return sorted(path.parent.name + "/" + path.name for path in room.directory.glob("*/check*"))


def instead_of_writing(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], object]
) -> Callable[..., Checkpoint]:
    """Let the child do something, given the directory of the checkpoint, before it writes."""
    write = checkpoints.write

    def wrapped(generation: Generation, *arguments: Any) -> Checkpoint:
        before(generation.directory / arguments[-1])
        return write(generation, *arguments)

    monkeypatch.setattr(checkpoints, "write", wrapped)
    return write


def begin_and_fail(directory: Path) -> None:
    """Fail as a full disk does: in the middle."""
    directory.mkdir()
    (directory / "graph.hnsw").write_bytes(b"half of it")
    raise OSError(28, "No space left on device")
