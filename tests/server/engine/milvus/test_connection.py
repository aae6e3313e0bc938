"""The connection to Milvus, before the real one."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from milvus_connections import EVERYTHING, FIELDS, PARTITION, SECRET, TOKEN, Heard, opened, row
from milvus_server import MilvusServer, temporary_database
from rooms import GivenUp, Standing, together
from vectorbucket.errors import RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.milvus.connection import Connection, Described
from vectorbucket_server.engine.milvus.failures import Missing, Refused, Unloaded
from vectorbucket_server.engine.milvus.options import MilvusOptions


@pytest.fixture(name="options", scope="module")
def fixture_options(milvus_server: MilvusServer) -> Iterator[MilvusOptions]:
    """Where a database is that these tests share."""
    with temporary_database(milvus_server.uri) as database:
        yield MilvusOptions(milvus_server.uri, database=database)


@pytest.fixture(name="heard")
def fixture_heard() -> Heard:
    """Who hears of the calls of ``connection``."""
    return Heard()


@pytest.fixture(name="connection")
def fixture_connection(options: MilvusOptions, heard: Heard) -> Iterator[Connection]:
    """A connection to that database."""
    with opened(options, heard) as connection:
        yield connection
        for name in connection.names():
            if name != "loaded":
                connection.drop(name)


@dataclass(frozen=True)
class Loaded:
    """A collection that is loaded, once for all tests."""

    connection: Connection

    def upsert(self, *rows: dict[str, Any], partition: str = PARTITION) -> None:
        """Store rows."""
        self.connection.upsert("loaded", partition, list(rows), NO_DEADLINE)

    def query(
        self, expression: str = EVERYTHING, *, partition: str = PARTITION, **how: Any
    ) -> list[dict[str, Any]]:
        """Return what holds, after all that was written."""
        fields = how.pop("fields", ["key", "vector", "metadata"])
        return self.connection.query(
            "loaded", partition, expression, fields, consistency="Strong", **how
        )

    def search(
        self, *vectors: list[float], partition: str = PARTITION, **how: Any
    ) -> list[list[tuple[str, float]]]:
        """Return keys and distances, nearest first."""
        named: dict[str, Any] = {
            "limit": 10, "expression": "", "fields": [], "ef": 50, "deadline": NO_DEADLINE,
        } | how  # fmt: skip
        found = self.connection.search(
            "loaded", partition, np.array(vectors, np.float32), consistency="Strong", **named
        )
        return [[(hit["id"], hit["distance"]) for hit in hits] for hits in found]


@pytest.fixture(name="shared", scope="module")
def fixture_shared(options: MilvusOptions) -> Iterator[Loaded]:
    """The loaded collection, with a partition."""
    with opened(options) as connection:
        assert connection.create("loaded", "what is loaded", FIELDS)
        connection.create_partition("loaded", PARTITION)
        connection.create_graph("loaded", "vector", "L2", 16, 100)
        assert not connection.is_loaded("loaded")
        connection.begin_load("loaded")
        connection.wait_until_loaded("loaded", 600.0, NO_DEADLINE)
        yield Loaded(connection)


@pytest.fixture(name="loaded")
def fixture_loaded(shared: Loaded) -> Loaded:
    """The same, without rows."""
    shared.connection.delete("loaded", PARTITION, EVERYTHING, NO_DEADLINE)
    return shared


def test_open_connection_answers_until_it_is_closed(options: MilvusOptions) -> None:
    with opened(options) as connection:
        connection.check()
        assert connection.names() == ["loaded"] * ("loaded" in connection.names())
        connection.close()
        connection.close()
        for call in (connection.check, connection.names, lambda: connection.describe("x")):
            with pytest.raises(ServiceUnavailable, match="the connection to Milvus is closed"):
                call()


def test_call_that_is_cut_off_by_closing_says_so(options: MilvusOptions) -> None:
    with opened(options) as connection:
        client = connection._client
        assert client is not None

        def list_while_it_is_closed(**named: Any) -> object:
            connection.close()
            return client.list_collections(**named)

        standing: Any = Standing(client, list_collections=list_while_it_is_closed)
        connection._client = standing
        with pytest.raises(ServiceUnavailable, match="the connection to Milvus was closed"):
            connection.names()


def test_database_that_does_not_exist_is_named(options: MilvusOptions) -> None:
    connection = Connection(replace(options, database="absent", token=TOKEN), Heard())
    with pytest.raises(ServiceUnavailable) as caught:
        connection.open()
    for words in (options.uri, "'absent'", "database not found", "milvus_database"):
        assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    with pytest.raises(ServiceUnavailable, match="closed"):
        connection.check()


def test_nothing_that_answers_is_named_with_its_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    connection = Connection(MilvusOptions(uri, token=TOKEN, timeout_s=1), Heard())
    with pytest.raises(ServiceUnavailable) as caught:
        connection.open()
    for words in (uri, "UNAVAILABLE", "Connection refused", "milvus_uri"):
        assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_collection_is_made_once_for_each_description(connection: Connection, heard: Heard) -> None:
    assert connection.describe("c") is None
    assert connection.create("c", "mine", FIELDS)
    # Whoever does not know whether his call was heard makes it again.
    assert connection.create("c", "mine", FIELDS)
    assert not connection.create("c", "another's", FIELDS)
    assert connection.describe("c") == Described("mine", {})
    assert "c" in connection.names()
    connection.drop("c")
    connection.drop("c")
    assert connection.describe("c") is None
    assert ("describe_collection", "missing") in heard.calls
    assert ("create_collection", "failed") in heard.calls
    assert ("create_collection", "ok") in heard.calls


def test_exactly_one_of_many_who_make_a_collection_at_once_reads_back_his_own(
    connection: Connection,
) -> None:
    for name in ("first", "second", "third"):
        descriptions = [f"{name} of {number}" for number in range(8)]
        made = together(
            [
                lambda one=one: connection.create(name, one, FIELDS)  # type: ignore[misc] # noqa: B023
                for one in descriptions
            ]
        )
        found = connection.describe(name)
        assert found is not None
        assert [
            one for one, is_made in zip(descriptions, made, strict=True) if is_made is True
        ] == [found.description]
        assert made.count(False) == 7


def test_collection_that_milvus_cannot_make_is_no_other_ones(connection: Connection) -> None:
    with pytest.raises(Refused):
        connection.create("c", "", [FIELDS[0], {**FIELDS[1], "dim": 10**6}])
    assert connection.describe("c") is None


def test_properties_are_kept_beside_each_other(connection: Connection) -> None:
    connection.create("c", "mine", FIELDS)
    connection.set_properties("c", {"vb.policy": '{"é": "\\"x\\""}', "vb.logging": "a"})
    connection.set_properties("c", {"vb.logging": ""})
    assert connection.describe("c") == Described(
        "mine", {"vb.policy": '{"é": "\\"x\\""}', "vb.logging": ""}
    )


def test_what_concerns_no_collection_says_so(connection: Connection, heard: Heard) -> None:
    calls: dict[str, Callable[[], object]] = {
        "alter_collection_properties": lambda: connection.set_properties("none", {"a": "b"}),
        "create_partition": lambda: connection.create_partition("none", "p"),
        "create_index": lambda: connection.create_graph("none", "vector", "L2", 16, 100),
        "load_collection": lambda: connection.begin_load("none"),
        "describe_replica": lambda: connection.replica_count("none"),
        "upsert": lambda: connection.upsert("none", "p", [row("a")], NO_DEADLINE),
        "delete": lambda: connection.delete("none", "p", 'key in ["a"]', NO_DEADLINE),
        "query": lambda: connection.query("none", "p", EVERYTHING, ["key"], consistency="Strong"),
    }
    for call in calls.values():
        with pytest.raises(Missing):
            call()
    assert heard.calls[-len(calls) :] == [(name, "missing") for name in calls]
    for wait in (
        lambda: connection.is_loaded("none"),
        lambda: connection.wait_until_loaded("none", 600.0, NO_DEADLINE),
    ):
        with pytest.raises(Missing):
            wait()


def test_what_stands_already_is_made_again_without_a_word(connection: Connection) -> None:
    connection.create("c", "mine", FIELDS)
    for _ in range(2):
        connection.create_partition("c", PARTITION)
        connection.create_graph("c", "vector", "COSINE", 16, 100)


def test_collection_that_is_not_loaded_takes_rows_and_gives_none(
    connection: Connection, heard: Heard
) -> None:
    connection.create("c", "mine", FIELDS)
    connection.create_partition("c", PARTITION)
    connection.create_graph("c", "vector", "L2", 16, 100)
    connection.upsert("c", PARTITION, [row("a")], NO_DEADLINE)
    assert not connection.is_loaded("c")
    with pytest.raises(Unloaded):
        connection.query("c", PARTITION, EVERYTHING, ["key"], consistency="Strong")
    with pytest.raises(RequestTimeout):
        connection.wait_until_loaded("c", 600.0, GivenUp())
    assert heard.calls[-2:] == [("query", "unloaded"), ("get_load_state", "ok")]
    with pytest.raises(ServiceUnavailable, match="still loading the index, after 0 s; call again"):
        connection.wait_until_loaded("c", 0.0, NO_DEADLINE)


def test_rows_come_back_as_they_were_put_in_the_order_of_their_keys(loaded: Loaded) -> None:
    # UTF-16, by which some would order, has the last two the other way round.
    keys = ["a", "b", "é", "\uffff", "\U00010000", "é" * 100]
    keys.sort(key=str.encode)
    edges = [-0.0, 1e-45, 3.4028235e38, 0.1]
    text = '{"n":1.0,"é":"\\"\\u0000","l":[1.0,true,"x"],"e":5e-324,"b":1e+308,"z":-0.0}'
    loaded.upsert(*(row(key, edges, text) for key in reversed(keys)))
    found = loaded.query()
    assert [one["key"] for one in found] == keys
    assert loaded.connection.is_loaded("loaded")
    assert loaded.connection.replica_count("loaded") == 1
    for one in found:
        numbers = np.array(one["vector"], np.float32)
        assert numbers.tobytes() == np.array(edges, np.float32).tobytes()
        wanted = {
            "n": 1.0, "é": '"\x00', "l": [1.0, True, "x"], "e": 5e-324, "b": 1e308, "z": -0.0,
        }  # fmt: skip
        assert repr(one["metadata"]) == repr(wanted)
    assert [one["key"] for one in loaded.query(limit=2)] == keys[:2]
    assert loaded.query("", fields=["count(*)"]) == [{"count(*)": len(keys)}]


def test_row_takes_the_place_of_the_one_with_its_key_and_can_be_deleted(loaded: Loaded) -> None:
    loaded.upsert(row("a", [1, 1, 1, 1]), row("b"))
    loaded.upsert(row("a", [2, 2, 2, 2]))
    assert [one["vector"][0] for one in loaded.query('key == "a"')] == [2.0]
    loaded.connection.delete("loaded", PARTITION, 'key in ["a", "never"]', NO_DEADLINE)
    assert [one["key"] for one in loaded.query()] == ["b"]


def test_nearest_rows_are_found_for_each_vector(loaded: Loaded) -> None:
    loaded.upsert(*(row(f"k{n}", [n, 0, 0, 0], f'{{"n":{n}}}') for n in range(5)))
    assert loaded.search([0, 0, 0, 0], [4, 0, 0, 0], limit=2) == [
        [("k0", 0.0), ("k1", 1.0)],
        [("k4", 0.0), ("k3", 1.0)],
    ]
    assert loaded.search([9, 0, 0, 0], expression='metadata["n"] < 2') == [
        [("k1", 64.0), ("k0", 81.0)]
    ]


def test_partition_that_is_not_there_is_missing_whatever_is_asked(loaded: Loaded) -> None:
    for call in (
        lambda: loaded.upsert(row("a"), partition="p2"),
        lambda: loaded.connection.delete("loaded", "p2", 'key in ["a"]', NO_DEADLINE),
        lambda: loaded.query(partition="p2"),
        lambda: loaded.search([0, 0, 0, 0], partition="p2"),
    ):
        with pytest.raises(Missing):
            call()


def test_call_that_is_wrong_fails_at_once(loaded: Loaded) -> None:
    began = time.monotonic()
    for call in (
        lambda: loaded.query("key == "),
        lambda: loaded.search([0, 0, 0, 0], expression="key == "),
        lambda: loaded.upsert(row("a", [1])),
        lambda: loaded.upsert(row("x" * 1025)),
        lambda: loaded.upsert({"key": "a"}),
    ):
        with pytest.raises(Refused):
            call()
    assert time.monotonic() - began < MilvusOptions().timeout_s / 2


def test_limits_of_rows_are_milvus_own_to_the_byte(loaded: Loaded) -> None:
    def of_size(size: int) -> str:
        return '{"a":"' + "x" * (size - 8) + '"}'

    loaded.upsert(row("é" * 512), row("a", metadata=of_size(65_536)))
    for wrong in (row("é" * 512 + "x"), row("a", metadata=of_size(65_537))):
        with pytest.raises(Refused, match="code 1100"):
            loaded.upsert(wrong)


def test_what_was_sent_stands_in_no_traceback(loaded: Loaded) -> None:
    for call in (
        lambda: loaded.query('key == "SECRET" and'),
        lambda: loaded.search([0, 0, 0, 0], expression='key == "SECRET" and'),
        lambda: loaded.upsert(row("SECRET" * 200)),
    ):
        with pytest.raises(Refused) as refused:
            call()
        printed = "".join(traceback.format_exception(refused.value))
        assert "SECRET" not in printed.replace('"SECRET" and', "").replace('"SECRET" * 200', "")


def test_caller_who_has_gone_costs_no_call(connection: Connection, heard: Heard) -> None:
    heard.calls.clear()
    with pytest.raises(RequestTimeout):
        connection.delete("none", PARTITION, EVERYTHING, GivenUp())
    assert heard.calls == []
