"""Backups while writers write: what was acknowledged before is in them, and batches are whole.

Each writer has a ledger. What a backup holds of his keys must be the state after so many of his
operations: at least those that were acknowledged when the backup was asked for, and at most those
that he had begun when it was complete.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from durability.crash_child import DIMENSION, apply, open_index, options
from durability.ledger import Ledger, Operation, part_of, random_operations
from engines.subject import content_of, list_all
from long_runs import Rounds
from rooms import Notes, eventually, in_child, nearest_keys, numbered, running
from vectorbucket_server.engine.embedded import indexer, rebuild, saver
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.restore import restore
from vectorbucket_server.engine.embedded.verification import Verification
from vectorbucket_server.model import DistanceMetric, Index
from vectorbucket_server.service.backups import Backups

WRITERS = 3
OPERATIONS_BETWEEN = 40
"""What all writers together do before the next backup."""


@contextmanager
def opened(data_dir: Path, notes: Notes | None = None) -> Iterator[EmbeddedEngine]:
    """Yield a restless engine."""
    engine = EmbeddedEngine(options(data_dir), notes)
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


class Writer:
    """Puts and deletes under a prefix of its own until it is told to stop."""

    def __init__(self, engine: EmbeddedEngine, index: Index, number: int) -> None:
        self.prefix = f"w{number}-"
        self._engine, self._index = engine, index
        self._ledger = Ledger(DIMENSION)
        self._operations = random_operations(
            number, self.prefix, keys=120, batch_max=40, delete_share=0.2
        )
        self._lock = threading.Lock()
        self._since: list[Operation] = []
        """What was begun since the last look at the ledger."""
        self.acknowledged = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Write."""
        while not self.stop.is_set():
            operation = next(self._operations)
            with self._lock:
                self._ledger.begun(operation)
                self._since.append(operation)
            apply(self._engine, self._index, operation)
            with self._lock:
                self._ledger.answered()
                self.acknowledged += 1

    def before(self) -> Ledger:
        """Return a ledger of what must be there from now on; ``after`` completes it."""
        with self._lock:
            self._since = list(self._ledger.under_way)
            return Ledger(DIMENSION, dict(self._ledger.settled))

    def after(self, ledger: Ledger) -> None:
        """Note in a ledger what was begun since ``before``, which may be there or not."""
        with self._lock:
            ledger.under_way.extend(self._since)


@pytest.fixture(autouse=True)
def fixture_restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints and rebuilds come often, so that backups meet them."""
    monkeypatch.setattr(indexer, "_BURST_S", 0.0)
    monkeypatch.setattr(rebuild, "_DEAD_MIN", 20)
    monkeypatch.setattr(saver, "_LOOK_AGAIN_S", 0.01)


def still_index(engine: EmbeddedEngine) -> Index:
    """Return an index that nobody changes any more, its graph saved."""
    made = Index("crashing", "still", 4, DistanceMetric.EUCLIDEAN)
    index = engine.put_index(made, indexes_max=2)
    engine.put_vectors(index, numbered(100, start=1)[0])
    room = engine._opened(index)

    def is_saved() -> bool:
        generation = room.generation
        return bool(room.checkpoints) and generation is not None and not generation.unsaved

    eventually(is_saved, "its graph is saved")
    return index


def test_backup_holds_what_was_acknowledged_before_and_whole_batches(
    tmp_path: Path, rounds: Rounds
) -> None:
    with opened(tmp_path / "data") as engine, ExitStack() as held:
        index = open_index(engine)
        still = still_index(engine)
        nearest = nearest_keys(engine, still, 10)
        backups = Backups(engine, tmp_path / "backups", lambda: 5)
        writers = [Writer(engine, index, number) for number in range(WRITERS)]
        books: dict[str, list[Ledger]] = {}
        for writer in writers:
            held.enter_context(running(writer.run))
            held.callback(writer.stop.set)
        for number in range(rounds(2, 40)):
            written(writers)
            books[f"b{number}"] = [writer.before() for writer in writers]
            backups.put(f"b{number}")
            for writer, ledger in zip(writers, books[f"b{number}"], strict=True):
                writer.after(ledger)
    for name, ledgers in books.items():
        check(tmp_path, name, writers, ledgers, nearest)


def written(writers: list[Writer]) -> None:
    """Return when the writers have written a while."""
    wanted = sum(one.acknowledged for one in writers) + OPERATIONS_BETWEEN
    eventually(lambda: sum(one.acknowledged for one in writers) >= wanted, "the writers write")


def check(
    folder: Path, name: str, writers: list[Writer], ledgers: list[Ledger], nearest: list[str]
) -> None:
    """Check a backup: as it is, and as a server finds it."""
    backup, data_dir, notes = folder / "backups" / name, folder / "restored" / name, Notes()
    look = Verification(backup, options(backup), lambda *_: None)
    assert list(look.findings()) == []
    restore(backup, data_dir, lambda *_: None)
    with opened(data_dir, notes) as engine:
        still = engine.get_index("crashing", "still")
        engine.load_index(still)
        assert engine.index_statistics(still).pending_vector_count == 0
        assert nearest_keys(engine, still, 10) == nearest
        content = content_of(list(list_all(engine, open_index(engine))))
        for writer, ledger in zip(writers, ledgers, strict=True):
            ledger.settle(part_of(content, writer.prefix))
        assert len(content) == sum(len(ledger.settled) for ledger in ledgers)
    assert notes.failures == []


_DYING = """
import os, sys
from pathlib import Path
from durability.crash_child import open_index, options
from durability.ledger import Operation
from durability.crash_child import apply
from vectorbucket_server.engine.embedded import backup
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.service import backups

points = {
    "the files are linked": (backup, "_link_all"),
    "the graphs are copied": (backup, "_copy_generations"),
    "the list of files is written": (backups, "write_backup_file"),
}

def work(folder, owner, name):
    engine = EmbeddedEngine(options(folder / "data"))
    engine.open()
    apply(engine, open_index(engine), Operation(("a", "b"), 1))
    made = backups.Backups(engine, folder / "backups", lambda: 5)
    made.put("whole")
    called = getattr(owner, name)

    def dying(*arguments, **named):
        called(*arguments, **named)
        os._exit(0)

    setattr(owner, name, dying)
    made.put("half")

for point, where in points.items():
    if not os.fork():  # before there are threads
        work(Path(sys.argv[1], point), *where)
        os._exit(7)
    assert os.wait()[1] == 0, point
print(*points, sep=",")
"""


def test_killed_backup_leaves_no_half_one(tmp_path: Path) -> None:
    for point in in_child(_DYING, tmp_path).split(","):
        check_after_death(tmp_path / point)


def check_after_death(folder: Path) -> None:
    """Check that a killed backup is neither there nor in the way."""
    with opened(folder / "data") as engine:
        backups = Backups(engine, folder / "backups", lambda: 6)
        assert [one.name for one in backups.list()] == ["whole"]
        assert len(list(list_all(engine, open_index(engine)))) == 2
        assert backups.put("half").create_ms == 6
        assert [one.name for one in backups.list()] == ["half", "whole"]
    for name in ("half", "whole"):
        backup = folder / "backups" / name
        look = Verification(backup, options(backup), lambda *_: None)
        assert list(look.findings()) == []
    names = sorted(path.name for path in (folder / "backups").iterdir())
    assert names == ["half", "whole"]
