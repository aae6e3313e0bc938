"""One index: what a write changes and when, what a failure leaves, and what a drop ends.

Writers and readers against each other over a whole life stand in tests/engines; here each order of
events is brought about by hand. Loading and unloading: test_room.py. Failing and dropping:
test_open_index_life.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from rooms import (
    WITHIN_S,
    Gate,
    GivenUp,
    Notes,
    Refusals,
    batch,
    eventually,
    files_no_longer_than,
    make_index,
    make_room,
    numbered,
    records_of,
    refused,
    running,
    together,
)
from vectorbucket.errors import (
    QpsLimitExceeded,
    RequestTimeout,
    ServiceUnavailable,
    VectorIndexOperationConflict,
)
from vectorbucket_server.engine.base import NO_DEADLINE, WriteGuard
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    decode_state,
    label_key,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Batch, Store
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import Query, Vector, VectorBatch


def put(room: OpenIndex, made: VectorBatch, guard: WriteGuard | None = None) -> bool:
    """Put a batch."""
    return room.put(made, guard, None, NO_DEADLINE)


def found(room: OpenIndex, top_k: int = 100) -> list[str]:
    """Return the keys that a query for everything finds, nearest to the origin first."""
    asked = Query(np.zeros((1, 4), np.float32), top_k)
    return [hit.key for hit in room.query(asked, NO_DEADLINE)[0]]


def got(room: OpenIndex, *keys: str) -> dict[str, Vector]:
    """Return vectors by key."""
    return {vector.key: vector for vector in room.get(keys, data=True, metadata=True)}


def state(store: Store) -> IndexState:
    """Return the state that is stored."""
    key = state_key(1)
    return decode_state(key, store.get(Family.CATALOG, key) or b"")


def contents(store: Store) -> list[dict[bytes, bytes]]:
    """Return everything that is stored."""
    return [records_of(store, family) for family in Family]


class Admission:
    """A guard that notes what it is asked, and answers as it was told."""

    def __init__(
        self,
        events: list[str],
        answer: bool | Exception = True,  # noqa: FBT001, FBT002 - what admit answers
        *,
        name: str = "",
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._events = events
        self._answer = answer
        self._name = name
        self._look = look

    def admit(self) -> bool:
        """Note it and answer."""
        self._events.append(f"admit{self._name}")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def committed(self) -> None:
        """Note it, and what can be seen by then."""
        self._events.append(f"committed{self._name}")
        self._look()


# --- Puts and deletes -----------------------------------------------------------------------------


def test_put_is_one_batch_of_records_under_new_labels(
    room: OpenIndex, store: Store, writes: Refusals
) -> None:
    writes.written = 0
    put(room, numbered(3)[0])
    assert writes.written == 1
    assert state(store) == IndexState(next_label=4, seq=1, vector_count=3)
    for family in (Family.ROWS, Family.DATA):
        assert list(records_of(store, family)) == [label_key(1, label) for label in (1, 2, 3)]
    assert len(records_of(store, Family.VECTORS)) == 3
    assert records_of(store, Family.CHANGES) == {}


def test_overwrite_takes_new_labels_and_notes_the_dead(room: OpenIndex, store: Store) -> None:
    put(room, numbered(3)[0])
    put(room, batch(["k1", "new"], [[9, 0, 0, 0], [8, 0, 0, 0]], [{"n": "x"}, {}]))
    assert state(store) == IndexState(next_label=6, seq=2, vector_count=4)
    assert list(records_of(store, Family.CHANGES)) == [label_key(1, 2)]
    vector = got(room, "k1")["k1"]
    assert vector.data is not None
    assert vector.data.tolist() == [9, 0, 0, 0]
    assert vector.metadata == {"n": "x"}
    assert found(room) == ["k0", "k2", "new", "k1"]
    assert room.statistics().vector_count == 4


def test_delete_hides_and_notes_the_dead(room: OpenIndex, store: Store) -> None:
    put(room, numbered(4)[0])
    room.delete(["k2", "missing", "k2", "k0"], NO_DEADLINE)
    assert state(store) == IndexState(next_label=5, seq=2, vector_count=2)
    assert found(room) == ["k1", "k3"]
    assert set(got(room, "k0", "k1", "k2", "k3")) == {"k1", "k3"}
    assert len(records_of(store, Family.ROWS)) == 4, "readers may still want them"


@pytest.mark.parametrize(
    "write",
    [
        lambda room: put(room, batch([], np.empty((0, 4)))),
        lambda room: room.delete([], NO_DEADLINE),
        lambda room: room.delete(["missing"], NO_DEADLINE),
    ],
)
def test_write_of_nothing_changes_nothing(
    room: OpenIndex, store: Store, write: Callable[[OpenIndex], object]
) -> None:
    put(room, numbered(2)[0])
    before = contents(store)
    write(room)
    assert contents(store) == before
    assert found(room) == ["k0", "k1"]


def test_labels_are_never_given_twice(room: OpenIndex, store: Store) -> None:
    seen: set[bytes] = set()
    for _ in range(5):
        put(room, numbered(3)[0])
        born = set(records_of(store, Family.ROWS)) - seen
        assert len(born) == 3
        seen |= born
        room.delete(["k0", "k1", "k2"], NO_DEADLINE)
        room.dead_rows.remove()
        assert records_of(store, Family.ROWS) == {}


def test_filters_see_the_version_that_lives(room: OpenIndex) -> None:
    put(room, batch(["a", "b"], np.eye(4)[:2], [{"n": "old"}, {"n": "old"}]))
    put(room, batch(["a"], np.eye(4)[:1], [{"n": "new"}]))
    for value, keys in (("old", ["b"]), ("new", ["a"])):
        asked = Query(np.zeros((1, 4), np.float32), 5, Equals("n", value), return_metadata=True)
        (hits,) = room.query(asked, NO_DEADLINE)
        assert [(hit.key, hit.metadata) for hit in hits] == [(key, {"n": value}) for key in keys]


def test_work_and_plans_are_told(store: Store, options: EmbeddedOptions, notes: Notes) -> None:
    told: list[str] = []
    came = partial(told.append, "work")
    room = make_room(store, options, make_index(), notes, work_came=came)
    put(room, numbered(3)[0])
    room.delete(["k0"], NO_DEADLINE)
    assert told == ["work"] * 3
    assert room.queried_s == 0
    room.query(Query(np.zeros((4, 4), np.float32), 1), NO_DEADLINE)
    assert notes.plans == [("exact_scan", 4)]
    assert room.queried_s > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda room: room.put(numbered(1, start=7)[0], None, None, GivenUp()),
        lambda room: room.delete(["k0"], GivenUp()),
    ],
)
def test_caller_who_has_given_up_changes_nothing(
    room: OpenIndex, store: Store, call: Callable[[OpenIndex], object]
) -> None:
    put(room, numbered(2)[0])
    before = contents(store)
    with pytest.raises(RequestTimeout):
        call(room)
    assert contents(store) == before
    assert found(room) == ["k0", "k1"]


def test_too_much_pending_refuses_a_put_before_it_is_begun(
    store: Store, options: EmbeddedOptions
) -> None:
    tight = type(options)(options.data_dir, graph_rows_min=1, pending_bytes_max=5 * 16)
    room = make_room(store, tight, make_index())
    put(room, numbered(6)[0])
    before = contents(store)
    with pytest.raises(QpsLimitExceeded, match=r"96 bytes of vectors wait .* limit is 80"):
        room.put(numbered(1, start=9)[0], None, 0.0, NO_DEADLINE)
    assert contents(store) == before
    with running(lambda: put(room, numbered(1, start=9)[0])):
        waiters = room.backlog._condition._waiters  # type: ignore[attr-defined]
        eventually(lambda: len(waiters) == 1, "the writer waits")
        room.load(NO_DEADLINE).turn(1, 1)
        room.backlog.shrunk()
    assert found(room)[-1] == "k9"


# --- Guards ---------------------------------------------------------------------------------------


def test_guard_is_asked_before_the_commit_and_told_after_it(
    room: OpenIndex, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    write = store.write

    def note(made: Batch) -> None:
        events.append("store")
        write(made)

    monkeypatch.setattr(store, "write", note)
    guard = Admission(events, look=lambda: events.extend(found(room)))
    assert put(room, numbered(2)[0], guard)
    assert events == ["admit", "store", "committed", "k0", "k1"]


def test_guard_that_says_done_already_stores_nothing(room: OpenIndex, store: Store) -> None:
    events: list[str] = []
    gate = Gate(store)
    before = contents(store)
    write_only(store)
    assert not put(room, numbered(2)[0], Admission(events, answer=False))
    assert events == ["admit"]
    assert contents(store)[1:] == before[1:]
    assert found(room) == []
    assert gate.done == 1, "what was committed earlier is durable when the put returns"


def write_only(store: Store) -> None:
    """Write something that is not synced yet."""
    made = store.batch()
    made.put(Family.CATALOG, b"x", b"")
    store.write(made)


def test_guard_that_refuses_stores_nothing_and_hinders_nobody(
    room: OpenIndex, store: Store
) -> None:
    events: list[str] = []
    before = contents(store)
    superseded = VectorIndexOperationConflict("superseded")
    with pytest.raises(VectorIndexOperationConflict):
        put(room, numbered(2)[0], Admission(events, superseded))
    assert events == ["admit"]
    assert contents(store) == before
    assert put(room, numbered(1)[0], Admission(events))
    assert found(room) == ["k0"]


def test_no_write_comes_between_admission_and_commit(room: OpenIndex) -> None:
    events: list[str] = []

    def write(name: int) -> None:
        for number in range(20):
            guard = Admission(events, answer=number % 3 != 0, name=f" {name}")
            put(room, batch([f"k{number}"], [[number, 0, 0, 0]]), guard)

    assert together([partial(write, name) for name in range(4)]) == [None] * 4
    for event, following in zip(events, [*events[1:], ""], strict=True):
        if event.startswith("committed"):
            continue
        admitted = following == event.replace("admit", "committed")
        assert admitted or following.startswith("admit") or not following
    assert len(events) == 4 * (20 + 13)


# --- Syncs ----------------------------------------------------------------------------------------


def test_slow_sync_keeps_no_other_call_waiting(room: OpenIndex, store: Store) -> None:
    put(room, numbered(2)[0])
    gate = Gate(store)
    gate.shut()
    with running(lambda: put(room, numbered(2, start=2)[0])) as first:
        gate.reached(1)
        assert found(room) == ["k0", "k1", "k2", "k3"], "visible before it is durable"
        assert len(got(room, "k2", "k3")) == 2
        with running(lambda: room.delete(["k0"], NO_DEADLINE)):
            eventually(lambda: found(room) == ["k1", "k2", "k3"], "the delete is visible")
            assert first[0].is_alive()
            gate.open()


def test_put_returns_only_when_its_batch_is_synced(room: OpenIndex, store: Store) -> None:
    gate = Gate(store)
    gate.shut()
    returned = threading.Event()

    def write() -> None:
        put(room, numbered(1)[0])
        returned.set()

    with running(write):
        gate.reached(1)
        assert found(room) == ["k0"]
        assert not returned.is_set()
        gate.open()
    assert returned.wait(WITHIN_S)


@pytest.mark.parametrize("keys", [["k0", "new"], ["k1"]])
def test_sync_that_fails_is_told_and_memory_follows_the_store(
    room: OpenIndex, store: Store, keys: Sequence[str]
) -> None:
    put(room, numbered(2)[0])
    gate = Gate(store)
    gate.failing = True
    with pytest.raises(ServiceUnavailable, match="unknown"):
        put(room, batch(keys, [[5, 0, 0, 0]] * len(keys)))
    assert set(found(room)) == {"k0", "k1", *keys} == set(got(room, "k0", "k1", *keys))
    gate.failing = False
    with pytest.raises(ServiceUnavailable, match="writes are refused"):
        put(room, batch(keys, [[5, 0, 0, 0]] * len(keys)))
    store.mend()
    put(room, batch(keys, [[5, 0, 0, 0]] * len(keys)))


# --- Refused writes -------------------------------------------------------------------------------


def test_refused_write_changes_nothing_and_the_next_one_works(
    room: OpenIndex, store: Store, writes: Refusals
) -> None:
    put(room, numbered(3)[0])
    before = contents(store)
    writes.on = True
    for call in (
        lambda: put(room, batch(["k0", "new"], [[7, 0, 0, 0], [8, 0, 0, 0]], [{"n": "x"}] * 2)),
        lambda: room.delete(["k1"], NO_DEADLINE),
    ):
        assert isinstance(refused(call), ServiceUnavailable)
    writes.on = False
    assert contents(store) == before
    assert found(room) == ["k0", "k1", "k2"]
    assert room.statistics().vector_count == 3
    put(room, batch(["k0"], [[7, 0, 0, 0]], [{"n": "y"}]))
    assert found(room) == ["k1", "k2", "k0"]
    assert state(store) == IndexState(next_label=5, seq=2, vector_count=3)


def test_guard_is_not_told_of_a_commit_that_was_refused(room: OpenIndex, writes: Refusals) -> None:
    events: list[str] = []
    writes.on = True
    with pytest.raises(ServiceUnavailable):
        put(room, numbered(1)[0], Admission(events))
    assert events == ["admit"]


def test_disk_too_full_for_the_column_refuses_a_put_before_it_is_stored(
    room: OpenIndex, store: Store
) -> None:
    put(room, numbered(3)[0])
    before = contents(store)
    events: list[str] = []
    with files_no_longer_than(100_000), pytest.raises(ServiceUnavailable, match="disk refused"):
        put(room, numbered(70_000, start=10)[0], Admission(events))
    assert events == ["admit"]
    assert contents(store) == before
    assert found(room) == ["k0", "k1", "k2"]
    put(room, numbered(1, start=9)[0])
    assert found(room) == ["k0", "k1", "k2", "k9"]
