"""Two real servers on one Milvus: what one does, the other knows; and Milvus' own rate limits.

Rules of this file: every test goes through the client, from one server to the other and back, and
nothing waits between the two. The servers, their bucket and an index are shared by all tests of the
file; each has keys, and what it makes besides, of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import numpy as np
import pytest

from bench_server import start_server
from milvus_server import MilvusServer, temporary_database
from oracles import Float32Array
from oss.live_rest import milvus_flags
from policy_cases import hash_of
from rooms import WITHIN_S, eventually
from vectorbucket import Client, RetryPolicy, Vector
from vectorbucket.errors import (
    AccessDenied,
    NoSuchBucket,
    NoSuchVectorIndex,
    QpsLimitExceeded,
    VectorBucketIndexAlreadyExist,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.milvus.definitions import index_collection

BUCKET, INDEX = "shared", "vectors"
DIMENSION = 32

ONCE = RetryPolicy(attempts_max=1)

CREDENTIALS = f"""
[[credential]]
name = "owner"
account_id = "1"
api_keys = ["{hash_of("of-owner")}"]
owner = true

[[credential]]
name = "guest"
account_id = "1"
api_keys = ["{hash_of("of-guest")}"]
"""


@pytest.fixture(name="database", scope="module")
def fixture_database(milvus_server: MilvusServer) -> Iterator[str]:
    """The name of a database of this file's own."""
    with temporary_database(milvus_server.uri) as name:
        yield name


@pytest.fixture(name="targets", scope="module")
def fixture_targets(
    milvus_server: MilvusServer, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Where two servers listen, who know the same credentials."""
    folder = tmp_path_factory.mktemp("two")
    credentials = folder / "credentials.toml"
    credentials.write_text(CREDENTIALS)
    credentials.chmod(0o600)
    flags = (*milvus_flags(milvus_server.uri, database), "--credentials", str(credentials))
    with ExitStack() as started:
        yield [
            started.enter_context(start_server(folder / name, *flags)).target
            for name in ("one", "other")
        ]


@pytest.fixture(name="clients", scope="module")
def fixture_clients(targets: list[str]) -> Iterator[tuple[Client, Client]]:
    """The owner's clients of the two, with an index made through the first."""
    with (
        Client(targets[0], api_key="of-owner") as one,
        Client(targets[1], api_key="of-owner", retry=ONCE) as other,
    ):
        one.put_vector_bucket(BUCKET)
        one.put_vector_index(BUCKET, INDEX, dimension=DIMENSION, distance_metric="cosine")
        yield one, other


def rows_of(count: int, seed: int) -> Float32Array:
    """Return numbers: float32, shape (count, DIMENSION)."""
    return np.random.default_rng(seed).standard_normal((count, DIMENSION), np.float32)


def check_there(client: Client, key: str, row: Float32Array) -> None:
    """Check that a vector is found by every read."""
    (got,) = client.get_vectors(BUCKET, INDEX, [key], return_data=True, return_metadata=True)
    assert got.data is not None
    assert (got.data.tobytes(), got.metadata) == (row.tobytes(), {"of": key})
    assert key in {one.key for one in client.scan_vectors(BUCKET, INDEX)}
    (hit,) = client.query_vectors(BUCKET, INDEX, row, top_k=1)
    assert hit.key == key
    (hit,) = client.query_vectors(BUCKET, INDEX, -row, top_k=3, filter={"of": key})
    assert hit.key == key


def check_gone(client: Client, key: str, row: Float32Array) -> None:
    """Check that a vector is found by no read."""
    assert client.get_vectors(BUCKET, INDEX, [key]) == []
    assert key not in {one.key for one in client.scan_vectors(BUCKET, INDEX)}
    assert key not in [hit.key for hit in client.query_vectors(BUCKET, INDEX, row, top_k=5)]
    assert client.query_vectors(BUCKET, INDEX, row, top_k=5, filter={"of": key}) == []


@pytest.mark.parametrize("way", ["stream", "unary"])
def test_put_and_delete_through_one_are_seen_through_the_other_at_once(
    clients: tuple[Client, Client], way: str
) -> None:
    for number, row in enumerate(rows_of(10, seed=len(way))):
        writer, reader = clients if number % 2 else reversed(clients)
        # The same few keys again and again: most puts replace a vector.
        key = f"{way}{number % 3}"
        put = writer.put_vectors if way == "stream" else writer.put_vectors_batch
        put(BUCKET, INDEX, [Vector(key, row, {"of": key})])
        check_there(reader, key, row)
        if number % 4 == 3:
            writer.delete_vectors(BUCKET, INDEX, [key])
            check_gone(reader, key, row)


def test_bucket_and_index_of_one_are_known_to_the_other_at_once(
    clients: tuple[Client, Client],
) -> None:
    one, other = clients
    with pytest.raises(NoSuchBucket):
        other.get_vector_bucket("made")
    one.put_vector_bucket("made")
    assert other.get_vector_bucket("made").bucket == "made"
    assert [found.bucket for found in other.list_vector_buckets(prefix="ma")] == ["made"]
    other.put_vector_index("made", "first", dimension=3, distance_metric="euclidean")
    assert one.get_vector_index("made", "first").dimension == 3
    assert [found.index_name for found in one.list_vector_indexes("made")] == ["first"]
    with pytest.raises(VectorBucketIndexAlreadyExist):
        one.put_vector_index("made", "first", dimension=3, distance_metric="euclidean")
    with pytest.raises(VectorBucketNotEmpty):
        one.delete_vector_bucket("made")
    one.delete_vector_index("made", "first")
    other.delete_vector_bucket("made")
    with pytest.raises(NoSuchBucket):
        one.get_vector_bucket("made")


def test_index_deleted_through_one_is_gone_for_the_other_also_when_another_has_its_name(
    clients: tuple[Client, Client],
) -> None:
    one, other = clients
    for dimension in (3, 4):
        row = np.ones(dimension, np.float32)
        one.put_vector_index(BUCKET, "fleeting", dimension=dimension, distance_metric="euclidean")
        assert other.get_vector_index(BUCKET, "fleeting").dimension == dimension
        other.put_vectors(BUCKET, "fleeting", [("k", row)])
        assert [hit.key for hit in one.query_vectors(BUCKET, "fleeting", row, top_k=1)] == ["k"]
        one.delete_vector_index(BUCKET, "fleeting")
        for call in (
            lambda: other.get_vectors(BUCKET, "fleeting", ["k"]),
            lambda: list(other.scan_vectors(BUCKET, "fleeting")),
            lambda: other.query_vectors(BUCKET, "fleeting", row, top_k=1),  # noqa: B023
            lambda: other.put_vectors_batch(BUCKET, "fleeting", [("k", row)]),  # noqa: B023
            lambda: other.put_vectors(BUCKET, "fleeting", [("k", row)]),  # noqa: B023
            lambda: other.delete_vectors(BUCKET, "fleeting", ["k"]),
            lambda: other.get_vector_index(BUCKET, "fleeting"),
        ):
            with pytest.raises(NoSuchVectorIndex):
                call()


def test_policy_set_through_one_is_in_force_in_the_other_when_the_call_returns(
    clients: tuple[Client, Client], targets: list[str]
) -> None:
    one, other = clients
    one.put_vectors_batch(BUCKET, INDEX, [Vector("secret", rows_of(1, seed=9)[0], {})])
    with Client(targets[1], api_key="of-guest", retry=ONCE) as guest:
        for effect in ("Allow", "Deny", "Allow"):
            statement = {
                "Effect": effect,
                "Principal": ["1"],
                "Action": ["oss:GetVectors"],
                "Resource": ["*"],
            }
            policy = json.dumps({"Version": "1", "Statement": [statement]})
            one.put_bucket_policy(BUCKET, policy)
            assert other.get_bucket_policy(BUCKET) == policy
            if effect == "Allow":
                assert [found.key for found in guest.get_vectors(BUCKET, INDEX, ["secret"])]
            else:
                with pytest.raises(AccessDenied):
                    guest.get_vectors(BUCKET, INDEX, ["secret"])
        one.delete_bucket_policy(BUCKET)
        with pytest.raises(AccessDenied):
            guest.get_vectors(BUCKET, INDEX, ["secret"])


def test_rate_limit_of_milvus_refuses_calls_and_slows_streams_down(
    clients: tuple[Client, Client], milvus_server: MilvusServer, database: str
) -> None:
    """The limit is one of the collection, which spares the other tests: 40 kB a second.

    Milvus lets a call through and then refuses others for as long as its bytes should have taken:
    a batch of 300 kB is followed by more seconds than a call has patience for.
    """
    from pymilvus import MilvusClient  # noqa: PLC0415 - takes a second, which few tests need

    one, impatient = clients
    name, wide = "limited", 1_024
    one.put_vector_index(BUCKET, name, dimension=wide, distance_metric="euclidean")
    rows = np.random.default_rng(4).standard_normal((75, wide), np.float32)
    keys = [f"k{number:02d}" for number in range(len(rows))]
    limits = {f"collection.{what}Rate.max.mb": "0.04" for what in ("insert", "upsert")}
    with closing(MilvusClient(milvus_server.uri, db_name=database)) as operator:
        operator.alter_collection_properties(index_collection(BUCKET, name), properties=limits)

    refusals: list[QpsLimitExceeded] = []

    def is_refused() -> bool:
        # Milvus looks at its limits every three seconds.
        try:
            impatient.put_vectors_batch(BUCKET, name, keys=keys, data=rows)
        except QpsLimitExceeded as refusal:
            refusals.append(refusal)
        return bool(refusals)

    eventually(is_refused, "the limit is in force")
    (refusal,) = refusals
    assert "quotaAndLimits" in refusal.message
    assert refusal.retry_after_s is not None
    assert 0 < refusal.retry_after_s < WITHIN_S
    # What is refused waits, and all of it is stored.
    began_s = time.monotonic()
    more = [(f"s{number:02d}", rows[number]) for number in range(40)]
    assert one.put_vectors(BUCKET, name, more, batch_vectors_max=10).stored == 40
    assert time.monotonic() - began_s > 1.0, "nothing was slowed down"
    found = [vector.key for vector in impatient.scan_vectors(BUCKET, name)]
    assert found == keys + [key for key, _ in more]
