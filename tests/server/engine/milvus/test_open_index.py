"""Writes to an index on a real Milvus that limits their rate, under guards and for the patient."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engines.subject import MANY
from rooms import BUCKET, GivenUp, Standing, make_index, numbered, together
from vectorbucket.errors import QpsLimitExceeded, RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.milvus import rows
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.open_index import OpenIndex
from vectorbucket_server.engine.milvus.options import MilvusOptions


class Limited:
    """Stands before a connection's writes, and refuses as many as it is told to."""

    def __init__(self, connection: Connection) -> None:
        self._behind = connection
        self.refusals = 0
        self.refused = 0

    def upsert(self, *given: Any) -> None:
        """Write, or refuse to."""
        self._take()
        self._behind.upsert(*given)

    def delete(self, *given: Any) -> None:
        """Delete, or refuse to."""
        self._take()
        self._behind.delete(*given)

    def _take(self) -> None:
        if self.refusals:
            self.refusals -= 1
            self.refused += 1
            raise QpsLimitExceeded("the rate limit is reached", retry_after_s=1.0)


class Guard:
    """Admits while it is told to, and notes what happened."""

    def __init__(self, *, admits: bool = True) -> None:
        self.admits = admits
        self.noted: list[str] = []

    def admit(self) -> bool:
        """Say whether the batch may be stored."""
        self.noted.append("admit")
        return self.admits

    def committed(self) -> None:
        """Note that it is."""
        self.noted.append("committed")


class Patience:
    """A deadline that passes when it has been looked at some times."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def check(self) -> None:
        """Count."""
        self._looks -= 1
        if self._looks < 0:
            raise RequestTimeout("the caller has given up")

    def remaining_s(self) -> float | None:
        """Return that nobody knows."""
        return None


@pytest.fixture(name="limited")
def fixture_limited(connection: Connection) -> Limited:
    """What refuses writes."""
    return Limited(connection)


@pytest.fixture(name="index")
def fixture_index(catalogue: Catalogue, connection: Connection, limited: Limited) -> OpenIndex:
    """An index behind that."""
    catalogue.put_bucket(BUCKET, buckets_max=MANY)
    made = catalogue.put_index(make_index(), indexes_max=MANY)
    behind: Any = Standing(connection, upsert=limited.upsert, delete=limited.delete)
    return OpenIndex(made, behind, catalogue, MilvusOptions())


def put(
    index: OpenIndex,
    *,
    guard: Guard | None = None,
    patience_s: float | None = None,
    deadline: Deadline = NO_DEADLINE,
    visible: bool = True,
) -> bool:
    """Put three vectors."""
    return index.put(
        numbered(3)[0], guard=guard, patience_s=patience_s, deadline=deadline, visible=visible
    )


def test_rate_limit_slows_a_writer_down_for_as_long_as_he_has_patience(
    index: OpenIndex, limited: Limited
) -> None:
    limited.refusals = 3
    began_s = time.monotonic()
    assert put(index)
    assert time.monotonic() - began_s > 0.2, "it did not pause"
    limited.refusals = 2
    index.delete(["k1"], NO_DEADLINE)
    assert [one.key for one in index.reads.get(["k0", "k1", "k2"], data=False, metadata=False)] == [
        "k0",
        "k2",
    ]
    assert limited.refused == 5

    limited.refusals = MANY
    with pytest.raises(QpsLimitExceeded) as caught:
        put(index, patience_s=0.25)
    assert caught.value.retry_after_s == 1.0
    assert 2 <= limited.refused - 5 <= 4
    for write in (
        lambda: put(index, deadline=Patience(4)),
        lambda: put(index, deadline=GivenUp()),
        lambda: index.delete(["k0"], Patience(4)),
        lambda: index.delete(["k0"], GivenUp()),
    ):
        with pytest.raises(RequestTimeout):
            write()
    assert index.reads.count() == 2


def test_guard_is_told_of_what_was_stored_and_of_nothing_else(
    index: OpenIndex, limited: Limited
) -> None:
    guard, strict = Guard(), Guard(admits=False)
    assert not put(index, guard=strict)
    assert strict.noted == ["admit"]
    assert index.reads.count() == 0
    limited.refusals = MANY
    with pytest.raises(QpsLimitExceeded):
        put(index, guard=guard, patience_s=0.0)
    assert guard.noted == ["admit"]
    limited.refusals = 0
    assert put(index, guard=guard, visible=False)
    assert guard.noted == ["admit", "admit", "committed"]
    index.wait_until_visible(NO_DEADLINE)
    assert index.reads.count() == 3


def test_guarded_writers_take_turns(index: OpenIndex) -> None:
    guard = Guard()
    assert together([lambda: put(index, guard=guard)] * 4) == [True] * 4
    assert guard.noted == ["admit", "committed"] * 4
    assert index.reads.count() == 3


def test_delete_tells_of_a_rate_limit_that_stays(
    catalogue: Catalogue, connection: Connection, limited: Limited
) -> None:
    catalogue.put_bucket(BUCKET, buckets_max=MANY)
    made = catalogue.put_index(make_index(), indexes_max=MANY)
    behind: Any = Standing(connection, upsert=limited.upsert, delete=limited.delete)
    index = OpenIndex(made, behind, catalogue, MilvusOptions(timeout_s=0.25))
    limited.refusals = MANY
    with pytest.raises(QpsLimitExceeded) as caught:
        index.delete(["k0"], NO_DEADLINE)
    assert caught.value.retry_after_s == 1.0


def test_batch_that_is_longer_than_a_message_is_stored_whole(
    index: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_MESSAGE_BYTES", 100)
    assert put(index)
    assert index.reads.count() == 3
