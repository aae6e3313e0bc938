"""Buckets that are deleted while others use them, one step at a time, in a real Milvus."""

from __future__ import annotations

from typing import Any

import pytest

from catalogues import (
    COLLECTION,
    Clock,
    MakeCatalogue,
    nonce_of,
    put_bucket,
    put_index,
)
from rooms import BUCKET, Standing, eventually, running
from vectorbucket.errors import (
    NoSuchBucket,
    ServiceUnavailable,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    deletion_property,
)
from vectorbucket_server.engine.milvus.failures import Refused
from vectorbucket_server.model import Index


def test_bucket_with_an_index_is_not_deleted_and_not_marked(
    catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    made = put_index(catalogue)
    with pytest.raises(VectorBucketNotEmpty):
        catalogue.delete_bucket(BUCKET.name)
    found = connection.describe(COLLECTION)
    assert found is not None
    assert found.properties == {}
    catalogue.delete_index(made)
    catalogue.delete_bucket(BUCKET.name)
    assert connection.names() == []


def test_index_that_comes_in_between_stops_the_deletion(
    catalogue: Catalogue, make_catalogue: MakeCatalogue
) -> None:
    put_bucket(catalogue)
    late = make_catalogue(new_id=lambda: put_index(catalogue).index_id)
    with pytest.raises(VectorBucketNotEmpty):
        late.delete_bucket(BUCKET.name)
    # The mark is gone: nobody waits.
    put_index(catalogue, "b")


def test_who_makes_an_index_waits_for_who_is_deleting_the_bucket(
    catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    nonce = nonce_of(connection)
    connection.set_properties(COLLECTION, deletion_property(nonce, "1", is_on=True))
    connection.set_properties(COLLECTION, deletion_property(nonce, "2", is_on=True))
    made: list[Index] = []
    with running(lambda: made.append(put_index(catalogue))):
        eventually(lambda: set(catalogue._marks) == {"1", "2"}, "the marks are seen")
        connection.set_properties(COLLECTION, deletion_property(nonce, "1", is_on=False))
        assert made == []
        connection.set_properties(COLLECTION, deletion_property(nonce, "2", is_on=False))
    assert catalogue.get_index(BUCKET.name, "a") == made[0]


def test_index_whose_bucket_went_meanwhile_is_undone(
    catalogue: Catalogue, make_catalogue: MakeCatalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    late = make_catalogue()
    claim_index = late._claims.claim_index

    def deleted_meanwhile(claim: Any) -> bool:
        catalogue.delete_bucket(BUCKET.name)
        return claim_index(claim)

    late._claims = Standing(late._claims, claim_index=deleted_meanwhile)  # type: ignore[assignment]
    with pytest.raises(NoSuchBucket):
        put_index(late)
    assert connection.names() == []


def test_index_whose_bucket_was_replaced_meanwhile_is_undone(
    catalogue: Catalogue, make_catalogue: MakeCatalogue
) -> None:
    put_bucket(catalogue)
    late = make_catalogue()
    claim_index = late._claims.claim_index

    def replaced_meanwhile(claim: Any) -> bool:
        catalogue.delete_bucket(BUCKET.name)
        put_bucket(catalogue)
        return claim_index(claim)

    late._claims = Standing(late._claims, claim_index=replaced_meanwhile)  # type: ignore[assignment]
    with pytest.raises(NoSuchBucket):
        put_index(late)
    assert catalogue.list_indexes(BUCKET.name, limit=1).items == []
    assert catalogue.indexes() == []


def test_mark_of_a_server_that_died_is_taken_away_after_its_time(
    make_catalogue: MakeCatalogue, connection: Connection
) -> None:
    clock = Clock(step_s=0.5)
    catalogue = make_catalogue(clock=clock, timeout_s=30.0)
    put_bucket(catalogue)
    mark = deletion_property(nonce_of(connection), "1", is_on=True)
    connection.set_properties(COLLECTION, mark)
    before_s = clock.now_s
    with pytest.raises(ServiceUnavailable, match=r"things.*60 s"):
        put_index(catalogue)
    after_s = clock.now_s
    assert 5.0 < after_s - before_s < 15.0
    with pytest.raises(ServiceUnavailable):
        catalogue.delete_bucket(BUCKET.name)
    clock.now_s = before_s + 45.0
    with pytest.raises(ServiceUnavailable):
        put_index(catalogue)
    assert catalogue.get_bucket(BUCKET.name) == BUCKET
    clock.now_s = after_s + 60.0
    put_index(catalogue)
    found = connection.describe(COLLECTION)
    assert found is not None
    assert dict.fromkeys(mark, "") == found.properties


def test_deletion_that_takes_too_long_is_given_up(
    make_catalogue: MakeCatalogue, catalogue: Catalogue
) -> None:
    clock = Clock()
    slow = make_catalogue(clock=clock, timeout_s=30.0)
    put_bucket(slow)
    behind = slow._connection

    def set_slowly(name: str, properties: dict[str, str]) -> None:
        behind.set_properties(name, properties)
        clock.now_s += 15.1

    slow._connection = Standing(behind, set_properties=set_slowly)  # type: ignore[assignment]
    with pytest.raises(ServiceUnavailable, match="too slow"):
        slow.delete_bucket(BUCKET.name)
    # Its mark is gone, and the bucket is there.
    put_index(catalogue)


def test_mark_is_left_when_nobody_knows_whether_the_bucket_was_dropped(
    make_catalogue: MakeCatalogue, connection: Connection
) -> None:
    catalogue = make_catalogue()
    put_bucket(catalogue)

    def fail(*_: object) -> None:
        raise ServiceUnavailable("Milvus does not answer")

    behind = catalogue._claims._connection
    catalogue._claims._connection = Standing(behind, rename=fail)  # type: ignore[assignment]
    with pytest.raises(ServiceUnavailable):
        catalogue.delete_bucket(BUCKET.name)
    found = connection.describe(COLLECTION)
    assert found is not None
    assert list(found.properties.values()) == ["1"]


def test_claim_is_not_renamed_any_more_when_its_mark_may_end_meanwhile(
    make_catalogue: MakeCatalogue,
) -> None:
    clock = Clock()
    slow = make_catalogue(clock=clock, timeout_s=30.0)
    put_bucket(slow)
    renamed: list[object] = []

    def refuse_slowly(*given: object) -> None:
        renamed.append(given)
        clock.now_s += 15.1
        raise Refused("something else was wrong")

    behind = slow._claims._connection
    slow._claims._connection = Standing(behind, rename=refuse_slowly)  # type: ignore[assignment]
    with pytest.raises(ServiceUnavailable, match="too slow"):
        slow.delete_bucket(BUCKET.name)
    assert len(renamed) == 1
    assert slow.get_bucket(BUCKET.name) == BUCKET
