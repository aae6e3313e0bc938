"""Engines that share a database of a real Milvus, and one that loses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from faulty_proxy import FaultyProxy
from milvus_server import MilvusServer
from rooms import BUCKET, MANY, WITHIN_S, eventually, make_index, numbered, refused
from vectorbucket.errors import MethodNotAllowed, NoSuchVectorIndex, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.milvus.connection import CHECK_S
from vectorbucket_server.engine.milvus.engine import MilvusEngine
from vectorbucket_server.model import Index, Query

MakeEngine = Callable[..., MilvusEngine]


def calls_on(engine: MilvusEngine, index: Index) -> dict[str, Callable[[], object]]:
    """Return every call about what is in an index, by its name."""
    return {
        "put": lambda: engine.put_vectors(index, numbered(1)[0]),
        "get": lambda: engine.get_vectors(index, ["k0"], data=True, metadata=True),
        "list": lambda: engine.list_vectors(index, limit=1, bytes_max=MANY),
        "delete": lambda: engine.delete_vectors(index, ["k0"]),
        "query": lambda: engine.query_vectors(index, Query(np.zeros((1, 4), np.float32), 1)),
        "count": lambda: engine.index_statistics(index),
        "wait": lambda: engine.wait_until_visible(index),
        "load": lambda: engine.load_index(index, deadline=NO_DEADLINE),
        "unload": lambda: engine.unload_index(index),
        "rebuild": lambda: engine.rebuild_index(index),
    }


def test_index_that_another_engine_deleted_is_gone_also_when_another_has_its_name(
    make_engine: MakeEngine,
) -> None:
    one, other = make_engine(), make_engine()
    one.put_bucket(BUCKET, buckets_max=MANY)
    old = one.put_index(make_index(), indexes_max=MANY)
    other.put_vectors(old, numbered(3)[0])
    one.delete_index(old)
    gone: dict[str, object] = {}
    for name, call in calls_on(other, old).items():
        gone[name] = refused(call)
        assert other._open == {}, f"{name} leaves something"
    assert {name: type(outcome) for name, outcome in gone.items()} == dict.fromkeys(
        gone, NoSuchVectorIndex
    ), gone

    new = one.put_index(make_index(), indexes_max=MANY)
    assert one.put_vectors(new, numbered(2)[0])
    gone = {name: refused(call) for name, call in calls_on(other, old).items()}
    assert {name: type(outcome) for name, outcome in gone.items()} == dict.fromkeys(
        gone, NoSuchVectorIndex
    ), gone
    assert other.index_statistics(new).vector_count == 2


def test_what_is_milvus_own_business_is_refused_with_the_way_to_do_it(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    engine.put_bucket(BUCKET, buckets_max=MANY)
    index = engine.put_index(make_index(), indexes_max=MANY)
    with pytest.raises(MethodNotAllowed, match="release"):
        engine.unload_index(index)
    with pytest.raises(MethodNotAllowed, match="compact"):
        engine.rebuild_index(index)
    with pytest.raises(MethodNotAllowed, match="milvus-backup"):
        engine.back_up(tmp_path)


def test_statistics_count_what_is_loaded_and_load_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.put_bucket(BUCKET, buckets_max=MANY)
    for name in ("a", "b"):
        index = engine.put_index(make_index(name=name), indexes_max=MANY)
        engine.put_vectors(index, numbered(3)[0])
    found = make_engine().statistics()
    assert (found.bucket_count, found.index_count, found.loaded_index_count) == (1, 2, 2)
    assert (found.vector_count, found.pending_vector_count) == (6, 0)


def test_check_says_that_milvus_is_gone_and_asks_once_a_second(
    make_engine: MakeEngine, milvus_server: MilvusServer
) -> None:
    with FaultyProxy(urlsplit(milvus_server.uri).netloc) as proxy:
        engine = make_engine(uri=f"http://{proxy.address}", timeout_s=1.0)
        engine.check()
    eventually(lambda: isinstance(refused(engine.check), ServiceUnavailable), "it is noticed")
    began_s = time.monotonic()
    for _ in range(100):
        with pytest.raises(ServiceUnavailable, match="Milvus does not answer"):
            engine.check()
    assert time.monotonic() - began_s < 3 * CHECK_S, "each of them asked"
    with pytest.raises(ServiceUnavailable, match="Milvus does not answer"):
        engine.list_buckets(BUCKET.account_id, limit=1)


def test_hurry_ends_what_waits_for_milvus(
    make_engine: MakeEngine, milvus_server: MilvusServer
) -> None:
    with FaultyProxy(urlsplit(milvus_server.uri).netloc) as proxy:
        engine = make_engine(uri=f"http://{proxy.address}", timeout_s=300.0)
    outcomes: list[object] = []
    waiter = threading.Thread(
        target=lambda: outcomes.append(refused(lambda: engine.get_bucket(BUCKET.name)))
    )
    waiter.start()
    assert outcomes == []
    engine.hurry()
    waiter.join(WITHIN_S)
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable]
