"""Indexes in a real Milvus: what the seam promises, told by Milvus alone."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from catalogues import (
    COLLECTION,
    Clock,
    MakeCatalogue,
    index,
    put_bucket,
    put_index,
)
from engines.subject import MANY
from rooms import BUCKET, Standing
from vectorbucket.errors import (
    NoSuchVectorIndex,
    ServiceUnavailable,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
)
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    index_collection,
)
from vectorbucket_server.model import GraphOptions


def test_index_comes_back_as_it_was_made_from_another_server_too(
    catalogue: Catalogue, make_catalogue: MakeCatalogue
) -> None:
    put_bucket(catalogue)
    asked = replace(index("A.b-c_D"), non_filterable_keys=("x", "_"), dimension=4096)
    made = catalogue.put_index(asked, indexes_max=1)
    assert 0 < made.index_id < 2**63
    assert replace(made, index_id=0, graph=GraphOptions()) == asked
    for each in (catalogue, make_catalogue()):
        assert each.get_index(BUCKET.name, "A.b-c_D") == made
        assert each.list_indexes(BUCKET.name, limit=2).items == [made]
        assert each.indexes() == [made]
        assert each.is_there(made)


def test_graph_of_an_index_is_what_was_asked_and_the_rest_what_was_set(
    make_catalogue: MakeCatalogue,
) -> None:
    catalogue = make_catalogue(m=9, ef_construction=90)
    put_bucket(catalogue)
    for name, asked, kept in (
        ("a", GraphOptions(), GraphOptions(9, 90, None)),
        ("b", GraphOptions(4, None, 33), GraphOptions(4, 90, 33)),
    ):
        made = catalogue.put_index(replace(index(name), graph=asked), indexes_max=MANY)
        assert made.graph == catalogue.get_index(BUCKET.name, name).graph == kept


def test_index_that_exists_is_refused_and_that_is_said_first(catalogue: Catalogue) -> None:
    put_bucket(catalogue)
    made = put_index(catalogue)
    with pytest.raises(VectorBucketIndexAlreadyExist):
        catalogue.put_index(index(), indexes_max=1)
    assert catalogue.get_index(BUCKET.name, "a") == made
    with pytest.raises(NoSuchVectorIndex, match="A"):
        catalogue.get_index(BUCKET.name, "A")


def test_bucket_has_no_more_indexes_than_it_may(catalogue: Catalogue) -> None:
    put_bucket(catalogue)
    put_bucket(catalogue, "others")
    put_index(catalogue)
    put_index(catalogue, "a", "others")
    with pytest.raises(VectorBucketIndexExceedLimit):
        catalogue.put_index(index("b"), indexes_max=1)
    assert len(catalogue.indexes()) == 2


def test_index_too_many_is_undone_when_others_were_as_quick(
    make_catalogue: MakeCatalogue, catalogue: Catalogue
) -> None:
    put_bucket(catalogue)
    late = make_catalogue(new_id=lambda: put_index(catalogue, "other").index_id + 1)
    with pytest.raises(VectorBucketIndexExceedLimit):
        late.put_index(index(), indexes_max=1)
    assert [one.name for one in catalogue.list_indexes(BUCKET.name, limit=9).items] == ["other"]


def test_indexes_are_listed_page_by_page(catalogue: Catalogue) -> None:
    names = sorted(f"{letter}{number}" for letter in "aBc" for number in range(6))
    put_bucket(catalogue)
    put_bucket(catalogue, "things-2")
    put_index(catalogue, "a9", "things-2")
    made = {name: put_index(catalogue, name) for name in reversed(names)}
    page = catalogue.list_indexes(BUCKET.name, limit=10)
    assert page.items == [made[name] for name in names[:10]]
    assert page.next_after == names[9]
    page = catalogue.list_indexes(BUCKET.name, after=names[9], limit=8)
    assert page.items == [made[name] for name in names[10:]]
    assert page.next_after is None
    page = catalogue.list_indexes(BUCKET.name, prefix="a", after="a3", limit=1)
    assert (page.items, page.next_after) == ([made["a4"]], "a4")


def test_index_of_a_bucket_that_is_gone_is_not_there_and_is_replaced(
    catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    left_over = put_index(catalogue)
    connection.drop(COLLECTION)  # as if its maker had died before he could undo it
    assert catalogue.indexes() == []
    put_bucket(catalogue)
    with pytest.raises(NoSuchVectorIndex):
        catalogue.get_index(BUCKET.name, "a")
    assert catalogue.list_indexes(BUCKET.name, limit=1).items == []
    made = catalogue.put_index(index(), indexes_max=1)
    assert made.index_id != left_over.index_id
    assert catalogue.list_indexes(BUCKET.name, limit=1).items == [made]
    assert not catalogue.is_there(left_over)
    assert catalogue.is_there(made)


def test_bucket_with_nothing_but_what_is_left_over_is_empty(
    catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    put_index(catalogue)
    connection.drop(COLLECTION)
    put_bucket(catalogue)
    catalogue.delete_bucket(BUCKET.name)
    assert catalogue.bucket_names() == []


def test_index_is_deleted_once_and_only_the_one_that_was_meant(catalogue: Catalogue) -> None:
    put_bucket(catalogue)
    first = put_index(catalogue)
    catalogue.delete_index(first)
    with pytest.raises(NoSuchVectorIndex):
        catalogue.get_index(BUCKET.name, "a")
    second = put_index(catalogue)
    with pytest.raises(NoSuchVectorIndex):
        catalogue.delete_index(first)
    assert catalogue.get_index(BUCKET.name, "a") == second


def test_what_a_server_that_died_was_deleting_is_finished_with_the_next_deletion(
    make_catalogue: MakeCatalogue, catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    made = [put_index(catalogue, name) for name in ("a", "b")]
    dying = make_catalogue()

    def fail(_: str) -> None:
        raise ServiceUnavailable("Milvus does not answer")

    dying._claims._connection = Standing(connection, drop=fail)  # type: ignore[assignment]
    with pytest.raises(ServiceUnavailable):
        dying.delete_index(made[0])
    assert catalogue.list_indexes(BUCKET.name, limit=9).items == [made[1]]
    assert len(connection.names()) == 3
    catalogue.delete_index(made[1])
    assert connection.names() == [COLLECTION]


def test_whether_an_index_is_there_is_asked_of_milvus(
    make_catalogue: MakeCatalogue, catalogue: Catalogue
) -> None:
    slow = make_catalogue(catalogue_cache_s=MANY)
    put_bucket(slow)
    made = put_index(slow)
    catalogue.delete_index(made)
    assert slow.get_index(BUCKET.name, "a") == made
    assert not slow.is_there(made)
    with pytest.raises(NoSuchVectorIndex):
        slow.get_index(BUCKET.name, "a")
    again = put_index(catalogue)
    assert slow.get_index(BUCKET.name, "a") == again
    assert not slow.is_there(made)
    assert slow.is_there(again)
    catalogue.delete_index(again)
    assert not slow.is_there(again)
    with pytest.raises(NoSuchVectorIndex):
        slow.get_index(BUCKET.name, "a")


def test_index_is_prepared_as_often_as_one_likes_and_only_while_it_is_there(
    catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    made = put_index(catalogue)
    for _ in range(2):
        catalogue.prepare(made)
    collection = index_collection(BUCKET.name, "a")
    connection._client.create_partition(collection, f"p{made.index_id}")  # type: ignore[union-attr]
    assert connection._client.list_partitions(collection) == ["_default", f"p{made.index_id}"]  # type: ignore[union-attr]
    catalogue.delete_index(made)
    with pytest.raises(NoSuchVectorIndex):
        catalogue.prepare(made)
    put_index(catalogue)
    with pytest.raises(NoSuchVectorIndex):
        catalogue.prepare(made)
    assert connection._client.list_partitions(collection) == ["_default"]  # type: ignore[union-attr]


def test_index_that_is_replaced_while_it_is_prepared_leaves_nothing_in_the_new_one(
    make_catalogue: MakeCatalogue, connection: Connection
) -> None:
    catalogue, late = make_catalogue(), make_catalogue()
    put_bucket(catalogue)
    old = put_index(catalogue)

    def replaced_first(collection: str, partition: str) -> None:
        catalogue.delete_index(old)
        put_index(catalogue)
        connection.create_partition(collection, partition)

    late._connection = Standing(connection, create_partition=replaced_first)  # type: ignore[assignment]
    with pytest.raises(NoSuchVectorIndex):
        late.prepare(old)
    assert connection._client is not None
    collection = index_collection(old.bucket_name, old.name)
    assert connection._client.list_partitions(collection) == ["_default"]


def test_statistics_go_by_what_was_read_before(make_catalogue: MakeCatalogue) -> None:
    clock = Clock()
    catalogue = make_catalogue(clock=clock)
    put_bucket(catalogue)
    made = [put_index(catalogue, f"i{number}") for number in range(12)]
    calls: list[str] = []
    behind = catalogue._claims._connection
    lock = threading.Lock()

    def describe(name: str) -> object:
        with lock:
            calls.append(name)
        return behind.describe(name)

    catalogue._claims._connection = Standing(behind, describe=describe)  # type: ignore[assignment]
    assert sorted(catalogue.indexes(), key=lambda one: one.index_id) == sorted(
        made, key=lambda one: one.index_id
    )
    clock.now_s += 29.0
    assert len(catalogue.indexes()) == 12
    assert calls == []
    clock.now_s += 1.0
    assert len(catalogue.indexes()) == 12
    assert len(calls) == 13
