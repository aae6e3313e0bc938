"""Which requests leave a line in the log of their bucket, over a live server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from policy_cases import hash_of
from rpc import (
    BUCKET,
    INDEX,
    Entry,
    Stubs,
    bearer,
    put_message,
    query_request,
    refused,
    saying,
    some_vectors,
    stubs_of,
    vector_of,
)
from rpc_calls import CALLS, KEY
from stubborn import eventually
from vectorbucket.errors import ServiceUnavailable, SignatureDoesNotMatch
from vectorbucket.v1 import bucket_pb2, bucket_service_pb2
from vectorbucket_server.app import Server
from vectorbucket_server.auth.entries import FAULT, PRINCIPAL, REMOTE_ADDRESS, encode_fault
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Bucket

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the server keeps its bucket logs."""
    return tmp_path / "bucket-logs"


@pytest.fixture
def lines(folder: Path) -> Lines:
    """Return all lines of all bucket logs, by time."""

    def read() -> list[dict[str, Any]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = [json.loads(line) for path in files for line in path.read_text().splitlines()]
        return sorted(found, key=lambda line: line["time"])

    return read


@pytest.fixture
def logged_server(start_server: StartServer, folder: Path) -> Server:
    return start_server(bucket_log_dir=folder)


def log_to(stubs: Stubs, target: str, prefix: str = "", bucket: str = BUCKET) -> None:
    logging = bucket_pb2.BucketLogging(target_bucket=target, target_prefix=prefix)
    stubs.buckets.PutBucketLogging(
        bucket_service_pb2.PutBucketLoggingRequest(bucket=bucket, logging=logging)
    )


def methods(found: list[dict[str, Any]]) -> list[str]:
    return [line["method"] for line in found]


@pytest.mark.parametrize("rpc", sorted(set(CALLS) - {"ListVectorBuckets", "PutVectorBucket"}))
def test_every_request_on_a_bucket_that_is_logged_leaves_a_line(
    logged_server: Server, lines: Lines, rpc: str
) -> None:
    with stubs_of(logged_server.address) as stubs:
        stubs.make_index()
        stubs.put(vector_of(KEY))
        if rpc == "DeleteVectorBucket":
            CALLS["DeleteVectorIndex"](stubs, BUCKET, INDEX)
        if rpc == "GetBucketPolicy":
            CALLS["PutBucketPolicy"](stubs, BUCKET, INDEX)
        log_to(stubs, "audit")
        CALLS[rpc](stubs, BUCKET, "new" if rpc == "PutVectorIndex" else INDEX)
        eventually(lambda: rpc in methods(lines()))
        if rpc != "PutBucketLogging":
            assert sorted(methods(lines())) == sorted(["PutBucketLogging", rpc])
        line = next(line for line in lines() if line["method"] == rpc)
        assert (line["bucket"], line["code"], line["reason"]) == (BUCKET, "OK", "")
        assert line["remote_address"].startswith(("127.0.0.1:", "[::1]:"))


def test_request_on_any_other_bucket_leaves_none(
    logged_server: Server, lines: Lines, folder: Path
) -> None:
    with stubs_of(logged_server.address) as stubs:
        stubs.make_index()
        stubs.make_index("other")
        CALLS["ListVectorBuckets"](stubs, "", "")
        refused(lambda: CALLS["GetVectorBucket"](stubs, "nowhere", ""))
        logged_server.stop()
    assert not folder.exists()
    assert lines() == []


def test_line_says_what_was_done(logged_server: Server, lines: Lines) -> None:
    with stubs_of(logged_server.address) as stubs:
        stubs.make_index()
        log_to(stubs, "audit")
        sent = [put_message(1, *some_vectors(3)), put_message(2), put_message(3, vector_of("z"))]
        list(stubs.vectors.PutVectors(iter(sent)))
        stubs.vectors.QueryVectors(query_request(top_k=2))
        refused(lambda: stubs.vectors.QueryVectors(query_request(top_k=0)))
        refused(lambda: CALLS["GetVectorIndex"](stubs, BUCKET, "none"))
    logged_server.stop()
    by_method: dict[str, dict[str, Any]] = {}
    for line in lines():
        by_method.setdefault(line["method"], line)
    put, query, get = (by_method[name] for name in ("PutVectors", "QueryVectors", "GetVectorIndex"))
    assert (put["batch_count"], put["rejected_batch_count"], put["vector_count"]) == (3, 1, 4)
    assert put["request_bytes"] == sum(message.ByteSize() for message in sent)
    assert (query["query_count"], query["vector_count"], query["index_name"]) == (1, 2, INDEX)
    assert query["latency_ms"] > 0
    assert (get["code"], get["reason"], get["index_name"]) == (
        "NOT_FOUND",
        "NoSuchVectorIndex",
        "none",
    )
    assert methods(lines()).count("QueryVectors") == 2


@pytest.fixture
def guarded_server(start_server: StartServer, tmp_path: Path, folder: Path) -> Server:
    """A server that knows an owner, a guest and a translator."""
    (tmp_path / "credentials.toml").write_text(
        '[[credential]]\nname = "owner"\naccount_id = "1"\nowner = true\n'
        f'api_keys = ["{hash_of("of-owner")}"]\n'
        '[[credential]]\nname = "guest"\naccount_id = "1"\n'
        f'api_keys = ["{hash_of("of-guest")}"]\n'
        '[[credential]]\nname = "translator"\naccount_id = "1"\nimpersonate = true\n'
        f'api_keys = ["{hash_of("of-translator")}"]\n'
    )
    return start_server(credentials=tmp_path / "credentials.toml", bucket_log_dir=folder)


def test_caller_who_is_known_and_refused_leaves_a_line_too(
    guarded_server: Server, lines: Lines
) -> None:
    with stubs_of(guarded_server.address) as stubs:
        owner, guest = (saying(stubs, bearer(f"of-{name}")) for name in ("owner", "guest"))
        owner.make_index()
        log_to(owner, "audit")
        owner.vectors.QueryVectors(query_request())
        refused(lambda: guest.vectors.QueryVectors(query_request()))
    guarded_server.stop()
    told = [(line["principal"], line["reason"]) for line in lines()]
    assert sorted(told) == [("guest", "AccessDenied"), ("owner", ""), ("owner", "")]
    assert "of-owner" not in str(lines())


WRONG_SIGNATURE = (FAULT, encode_fault(SignatureDoesNotMatch("no")))
ADDRESS = (REMOTE_ADDRESS, "192.0.2.7:4711")


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [bearer("wrong")],
        [bearer("wrong"), WRONG_SIGNATURE, ADDRESS],
        [bearer("of-guest"), WRONG_SIGNATURE, ADDRESS],
        [bearer("of-guest"), (PRINCIPAL, "owner")],
    ],
)
def test_nobody_writes_into_a_log_without_being_let_in(
    guarded_server: Server, lines: Lines, entries: list[Entry]
) -> None:
    with stubs_of(guarded_server.address) as stubs:
        owner = saying(stubs, bearer("of-owner"))
        owner.make_index()
        log_to(owner, "audit")
        caller = saying(stubs, *entries)
        refused(lambda: caller.vectors.QueryVectors(query_request()))
        refused(lambda: CALLS["ScanVectors"](caller, BUCKET, INDEX))
    guarded_server.stop()
    assert methods(lines()) == ["PutBucketLogging"]


def test_request_whose_signature_a_translator_refused_leaves_a_line_of_where_it_came_from(
    guarded_server: Server, lines: Lines
) -> None:
    with stubs_of(guarded_server.address) as stubs:
        owner = saying(stubs, bearer("of-owner"))
        owner.make_index()
        log_to(owner, "audit")
        door = saying(stubs, bearer("of-translator"), ADDRESS)
        unsigned = saying(stubs, bearer("of-translator"), WRONG_SIGNATURE, ADDRESS)
        served = saying(stubs, bearer("of-translator"), (PRINCIPAL, "owner"), ADDRESS)
        served.vectors.QueryVectors(query_request())
        refused(lambda: unsigned.vectors.QueryVectors(query_request()))
        refused(lambda: CALLS["ScanVectors"](unsigned, BUCKET, INDEX))
        refused(lambda: door.vectors.QueryVectors(query_request()))
    guarded_server.stop()
    told = [
        (line["method"], line["principal"], line["reason"], line["remote_address"])
        for line in lines()
        if line["method"] != "PutBucketLogging"
    ]
    assert sorted(told) == [
        ("QueryVectors", "", "SignatureDoesNotMatch", "192.0.2.7:4711"),
        ("QueryVectors", "owner", "", "192.0.2.7:4711"),
        ("ScanVectors", "", "SignatureDoesNotMatch", "192.0.2.7:4711"),
    ]


def test_lines_go_where_the_logging_says_from_the_call_that_says_it(
    logged_server: Server, folder: Path
) -> None:
    with stubs_of(logged_server.address) as stubs:
        stubs.make_index()
        log_to(stubs, "audit", "one/")
        log_to(stubs, "other", "two-")
        CALLS["DeleteBucketLogging"](stubs, BUCKET, "")
        stubs.put(vector_of("unseen"))
    logged_server.stop()
    (first,) = (folder / "audit" / "one").iterdir()
    assert first.name.startswith(BUCKET)
    assert methods([json.loads(line) for line in first.read_text().splitlines()]) == [
        "PutBucketLogging"
    ]
    (second,) = (folder / "other").iterdir()
    assert second.name.startswith(f"two-{BUCKET}")
    assert methods([json.loads(line) for line in second.read_text().splitlines()]) == [
        "PutBucketLogging",
        "DeleteBucketLogging",
    ]


def test_no_line_holds_a_vector_or_metadata(logged_server: Server, folder: Path) -> None:
    with stubs_of(logged_server.address) as stubs:
        stubs.make_index()
        log_to(stubs, "audit")
        numbers = (1.2345, 2, 3, 4)
        stubs.put(vector_of("secret-key", numbers, {"title": "confidential"}))
        query = query_request(numbers, filter={"title": "confidential"})
        stubs.vectors.QueryVectors(query)
        wrong = query_request(numbers, filter={"confidential": {"$eq": None}})
        refused(lambda: stubs.vectors.QueryVectors(wrong))
    logged_server.stop()
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    text = path.read_text()
    assert len(text.splitlines()) == 4
    for word in ("1.2345", "confidential", "secret-key"):
        assert word not in text


def test_call_that_failed_for_what_is_away_does_not_wait_for_it_again(
    start_server: StartServer, folder: Path, lines: Lines
) -> None:
    class AwayEngine(MemoryEngine):
        """Cannot reach what it works with, once it is told so."""

        is_away = False
        asked = 0

        def get_bucket(self, bucket_name: str) -> Bucket:
            if self.is_away:
                self.asked += 1
                raise ServiceUnavailable("Milvus does not answer")
            return super().get_bucket(bucket_name)

        def check(self) -> None:
            if self.is_away:
                raise ServiceUnavailable("Milvus does not answer")

    engine = AwayEngine()
    server = start_server(over=engine, bucket_log_dir=folder)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        log_to(stubs, "audit")
        engine.is_away = True
        assert "does not answer" in refused(lambda: stubs.put(vector_of("a"))).message
        assert engine.asked == 1
        engine.is_away = False
        stubs.put(vector_of("b"))
    server.stop()
    assert engine.asked == 1
    assert methods(lines()) == ["PutBucketLogging", "PutVectorsBatch"]
