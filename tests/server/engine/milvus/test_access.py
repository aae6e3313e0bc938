"""An index that is not ready is made so by whoever comes; one that is gone is told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from rooms import BUCKET, MANY, WITHIN_S, Standing, make_index, numbered, together
from vectorbucket.errors import InternalError, NoSuchVectorIndex
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.milvus.access import Access
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import KEY, index_collection
from vectorbucket_server.engine.milvus.engine import MilvusEngine
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.rows import rows_of
from vectorbucket_server.model import Index

MakeEngine = Callable[..., MilvusEngine]

EVERYTHING = f'{KEY} >= ""'


def make_access(catalogue: Catalogue, connection: Connection) -> Access:
    """Return the access to an index that was claimed by a server that died right after."""
    catalogue.put_bucket(BUCKET, buckets_max=MANY)
    made = catalogue.put_index(make_index(), indexes_max=MANY)
    return Access(made, connection, catalogue, MilvusOptions())


@pytest.mark.parametrize("first", ["upsert", "query", "probe", "load"])
def test_index_whose_maker_died_is_made_ready_by_whoever_comes_first(
    catalogue: Catalogue, connection: Connection, first: str
) -> None:
    access = make_access(catalogue, connection)
    rows = rows_of(access.index, numbered(3)[0])
    calls: dict[str, Callable[[], object]] = {
        "upsert": lambda: access.upsert(rows, NO_DEADLINE),
        "query": lambda: access.query(EVERYTHING, [KEY]),
        "probe": access.probe,
        "load": lambda: access.load(NO_DEADLINE),
    }
    # Several at once: none of them may be hindered by another.
    outcomes = together([calls[first]] * 3)
    assert not [one for one in outcomes if isinstance(one, Exception)], outcomes
    access.upsert(rows, NO_DEADLINE)
    access.probe()
    assert [row[KEY] for row in access.query(EVERYTHING, [KEY])] == ["k0", "k1", "k2"]


def test_index_that_its_operator_released_is_loaded_on_use_with_all_that_it_holds(
    make_engine: MakeEngine, catalogue: Catalogue, connection: Connection
) -> None:
    access = make_access(catalogue, connection)
    engine = make_engine()
    client = connection._client
    assert client is not None
    collection = index_collection(BUCKET.name, access.index.name)
    for number in range(2):
        batch, _ = numbered(5, start=5 * number)
        assert engine.put_vectors(access.index, batch)
        client.release_collection(collection)
        assert access.query_if_loaded(EVERYTHING, [KEY]) is None
        # The first answer misses nothing.
        found = access.query(EVERYTHING, [KEY])
        assert len(found) == 5 * (number + 1)


def test_call_that_milvus_refuses_is_an_error_or_the_index_is_gone(
    catalogue: Catalogue, connection: Connection
) -> None:
    access = make_access(catalogue, connection)
    access.load(NO_DEADLINE)
    with pytest.raises(InternalError) as caught:
        access.query("this is no expression", [KEY])
    assert "expression" not in caught.value.message, "it might be what a caller sent"
    access.check_there()
    catalogue.delete_index(access.index)
    for call in (
        access.check_there,
        lambda: access.query("this is no expression", [KEY]),
        access.prepare,
    ):
        with pytest.raises(NoSuchVectorIndex):
            call()
    assert access.query_if_loaded(EVERYTHING, [KEY]) is None


def test_of_many_who_find_an_index_unready_at_once_one_makes_it_ready(
    catalogue: Catalogue, connection: Connection
) -> None:
    maker = make_access(catalogue, connection)
    begun: list[str] = []
    found_out = threading.Barrier(4)

    def is_there(index: Index) -> bool:
        # Whoever found the index unready asks this next; here they wait for each other.
        found_out.wait(WITHIN_S)
        return catalogue.is_there(index)

    def begin_load(name: str) -> None:
        begun.append(name)
        connection.begin_load(name)

    patient: Any = Standing(catalogue, is_there=is_there)
    counted: Any = Standing(connection, begin_load=begin_load)
    access = Access(maker.index, counted, patient, MilvusOptions())
    assert together([lambda: access.query(EVERYTHING, [KEY])] * 4) == [[]] * 4
    assert len(begun) == 1
    access.load(NO_DEADLINE)
    assert len(begun) == 2, "who asks for it gets it anew"
