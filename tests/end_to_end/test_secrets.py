"""Nothing secret is told: every RPC with secrets in it, right and wrong, over both doors.

Method: one real server with its translator, metrics and traces; whatever a caller may not want to
read elsewhere has a form that is recognised, and is looked for in all that the server writes, shows
and sends.
"""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import grpc
import pytest

from collector import Collector, collecting, facts_of
from oss.dialect import ACCOUNT_ID
from oss.live_rest import LiveProcess, serving
from oss.signing import ACCESS_KEY, signed
from rpc import (
    BUCKET,
    INDEX,
    Stubs,
    bearer,
    data_of,
    filter_struct,
    index_request,
    put_message,
    query_request,
    saying,
    stubs_of,
    vector_of,
)
from rpc_calls import CALLS, OPERATED_CALLS, OPERATOR_CALLS
from vectorbucket.v1 import bucket_service_pb2
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.auth.api_keys import hash_api_key

API_KEY = "vbk_hiddenapikey0123456789"
OTHER = "anotheraccesskeysecret"
WRONG_API_KEY = "vbk_wrongapikey9876543210"
SECRET = "hiddenaccesskeysecret"  # noqa: S105 - for recognising it
NUMBER = 8765.4321
"""In each vector; 8765.432 as float32."""
METADATA = "hiddenmetadatavalue"
FILTER = "hiddenfiltervalue"
KEY = "hiddenvectorkey"

NEVER_TOLD = (
    API_KEY,
    API_KEY.removeprefix("vbk_"),
    WRONG_API_KEY.removeprefix("vbk_"),
    SECRET,
    OTHER,
    "8765.4",
    METADATA,
    FILTER,
    "traceback",
)

EVERY_CALL = {**CALLS, **OPERATED_CALLS, **OPERATOR_CALLS}

LAST = (
    "UnloadVectorIndex",
    "DeleteBackup",
    "DeleteVectors",
    "DeleteBucketPolicy",
    "DeleteBucketLogging",
    "DeleteVectorIndex",
    "DeleteVectorBucket",
)
"""What takes away what other calls are about, in the order in which it can."""

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"

CREDENTIALS = f"""
[[credential]]
name = "owner"
account_id = "{ACCOUNT_ID}"
access_key_id = "{ACCESS_KEY}"
access_key_secret = "{SECRET}"
api_keys = ["{hash_api_key(API_KEY)}"]
owner = true
operator = true
"""

NUMBERS = (NUMBER, 2.0, 3.0, 4.0)
HOST = f"{BUCKET}-{ACCOUNT_ID}.oss-vectors.example.com"


@dataclass(frozen=True)
class Told:
    """All that a server has told of its calls, when they were over."""

    log: str
    metrics: str
    spans: str
    lines: list[dict[str, Any]]
    collector: Collector
    statuses: list[int]
    """Of the answers over REST."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Run every call, and return what became known."""
    folder = tmp_path_factory.mktemp("secrets")
    with collecting() as collector:
        flags = ["--otlp-endpoint", collector.endpoint, "--metrics-address", "127.0.0.1:0"]
        flags += ["--log-level", "debug"]
        with serving(folder, *flags, credentials=CREDENTIALS) as server:
            (folder / "data" / "backups" / "kept").mkdir(parents=True)
            with stubs_of(server.grpc_address) as stubs:
                call_all(saying(stubs, bearer(API_KEY)))
                call_wrongly(saying(stubs, bearer(WRONG_API_KEY)), wrong_calls()[:2])
                statuses = call_rest(server)
                for rpc in LAST:
                    call_anyhow(saying(stubs, bearer(API_KEY)), rpc)
            metrics = scraped(server)
            server.end()
            spans = "".join(map(str, collector.requests))
            yield Told(server.said(), metrics, spans, server.lines("call"), collector, statuses)


# --- What is called -------------------------------------------------------------------------------


def secret_vector(key: str = KEY, *, as_bytes: bool = False, **more: object) -> Any:
    """Return a vector that nobody else may know."""
    return vector_of(key, NUMBERS, {"title": METADATA, "blob": METADATA, **more}, as_bytes=as_bytes)


def call_all(stubs: Stubs) -> None:
    """Call every RPC but the last ones, well and badly."""
    stubs.buckets.PutVectorBucket(bucket_service_pb2.PutVectorBucketRequest(bucket=BUCKET))
    stubs.indexes.PutVectorIndex(index_request(non_filterable=["blob"]))
    stubs.put(secret_vector(), secret_vector("b", as_bytes=True))
    list(stubs.vectors.PutVectors(iter([put_message(1, secret_vector())])))
    for rpc in EVERY_CALL:
        if rpc not in LAST:
            call_anyhow(stubs, rpc)
    call_wrongly(stubs, wrong_calls())


def call_anyhow(stubs: Stubs, rpc: str) -> None:
    """Call an RPC, whatever becomes of it."""
    with suppress(grpc.RpcError):
        EVERY_CALL[rpc](stubs, BUCKET, INDEX)


def call_wrongly(stubs: Stubs, calls: list[Callable[[Stubs], object]]) -> None:
    """Make calls that must be refused."""
    for call in calls:
        with pytest.raises(grpc.RpcError):
            call(stubs)


def wrong_calls() -> list[Callable[[Stubs], object]]:
    """Return calls that are refused for something in them, each with what is secret in it."""
    place: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}

    def query(raw: dict[str, Any], **fields: Any) -> Callable[[Stubs], object]:
        request = query_request(NUMBERS, filter=raw, **fields)
        return lambda stubs: stubs.vectors.QueryVectors(request)

    def put(*vectors: Any) -> Callable[[Stubs], object]:
        return lambda stubs: stubs.put(*vectors)

    torn = vector_of(KEY, [])
    torn.data.float32_le = struct.pack("<3f", *NUMBERS[:3]) + b"\0"
    return [
        query({"title": FILTER}, top_k=0),
        put(vector_of(KEY, (NUMBER,))),
        put(secret_vector(), secret_vector()),
        put(secret_vector(title=METADATA * 5000)),
        put(secret_vector(nothing=None)),
        put(secret_vector(title=[METADATA, None])),
        put(secret_vector(title=float("nan"))),
        put(vector_of(KEY, (NUMBER, float("nan"), 1.0, 2.0), {"title": METADATA})),
        put(vector_of(KEY, (NUMBER, 1e39, 1.0, 2.0), {"title": METADATA})),
        put(torn),
        query({"blob": FILTER}),
        query({"title": {"$no": FILTER}}),
        query({"title": {"$in": FILTER}}),
        query({"title": {"$in": NUMBER}}),
        query({"$and": NUMBER}),
        query({"title": {"$exists": NUMBER}}),
        query({"title": {"$eq": {"a": FILTER}}}),
        query({"title": {"$eq": [FILTER]}}),
        query({"title": {"$gt": [FILTER]}}),
        query({"title": {"$exists": FILTER}}),
        query({"$and": FILTER}),
        query({"$or": [FILTER]}),
        query({"title": {"$in": [FILTER] * 5000}}),
        query({"title": FILTER * 20_000}),
        lambda stubs: list(
            stubs.vectors.QueryVectorsBatch(
                messages.QueryVectorsBatchRequest(
                    **place, top_k=1, query_vectors=data_of(NUMBERS[:3])
                )
            )
        ),
        lambda stubs: list(
            stubs.vectors.ScanVectors(
                messages.ScanVectorsRequest(**place, filter=filter_struct({"blob": FILTER}))
            )
        ),
        lambda stubs: stubs.channel.unary_unary("/vectorbucket.v1.VectorService/QueryVectors")(
            METADATA.encode()
        ),
    ]


def call_rest(server: LiveProcess) -> list[int]:
    """Ask over REST for what is right and wrong, and return the statuses of the answers."""
    vector = {"key": KEY, "data": {"float32": NUMBERS}, "metadata": {"title": METADATA}}
    put = {"indexName": INDEX, "vectors": [vector]}
    asked = {"indexName": INDEX, "queryVector": {"float32": NUMBERS}, "topK": 1}
    bad = {**vector, "data": {"float32": [NUMBER]}, "metadata": {"title": {"a": METADATA}}}
    bodies = [
        ("putVectors", json.dumps(put)),
        ("queryVectors", json.dumps({**asked, "filter": {"title": FILTER}})),
        ("queryVectors", json.dumps({**asked, "filter": {"title": {"$no": FILTER}}})),
        ("queryVectors", json.dumps({**asked, "filter": FILTER})),
        ("queryVectors", json.dumps({**asked, "filter": {"title": {"$in": NUMBER}}})),
        ("queryVectors", json.dumps({**asked, "filter": NUMBER})),
        ("queryVectors", json.dumps({**asked, "queryVector": NUMBER})),
        ("putVectors", json.dumps({**put, "vectors": [{**vector, "metadata": NUMBER}]})),
        ("putVectors", json.dumps({**put, "vectors": [{**vector, "data": NUMBER}]})),
        ("putVectors", json.dumps({**put, "vectors": [{**vector, "key": NUMBER}]})),
        ("queryVectors", json.dumps({**asked, "topK": FILTER})),
        ("queryVectors", json.dumps({**asked, "queryVector": {"float32": [METADATA]}})),
        ("putVectors", json.dumps({**put, "vectors": [bad]})),
        ("putVectors", json.dumps({**put, "vectors": [{**vector, "key": [METADATA]}]})),
        ("putVectors", json.dumps({**put, "vectors": METADATA})),
        ("putVectors", json.dumps(put)[:-5]),
        ("putVectors", f'{{"{METADATA}": {NUMBER}, {METADATA}'),
        ("putVectors", METADATA),
        ("getVectors", json.dumps({"indexName": INDEX, "keys": [KEY], "returnData": True})),
        ("listVectors", json.dumps({"indexName": INDEX, "returnMetadata": METADATA})),
    ]
    statuses = [ask_rest(server, "POST", flag, body) for flag, body in bodies]
    statuses.append(ask_rest(server, "POST", "putVectors", json.dumps(put), secret=OTHER))
    return statuses


def ask_rest(
    server: LiveProcess, method: str, flag: str, body: str, *, secret: str = SECRET
) -> int:
    """Return the status of an answer over REST."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    request = signed(method, flag, bucket=BUCKET, host=HOST, secret=secret, at=at)
    connection = http.client.HTTPConnection(server.rest_address, timeout=20)
    try:
        connection.putrequest(method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in (*request.headers, ("traceparent", TRACEPARENT)):
            connection.putheader(name, value)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def scraped(server: LiveProcess) -> str:
    """Return the metrics of both addresses."""
    texts = []
    for address in (server.metrics_address, server.rest_address):
        request = Request(
            f"http://{address}/metrics", headers={"authorization": f"Bearer {API_KEY}"}
        )
        with urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            texts.append(answer.read().decode())
    return "".join(texts)


# --- What is told ---------------------------------------------------------------------------------


def test_every_rpc_was_called_and_some_were_refused(told: Told) -> None:
    called = {line["method"] for line in told.lines}
    assert called >= set(EVERY_CALL)
    assert {line["code"] for line in told.lines} >= {"OK", "INVALID_ARGUMENT", "UNAUTHENTICATED"}
    assert told.statuses[:2] == [200, 200]
    assert told.statuses[-1] == 403
    assert len([status for status in told.statuses if status == 400]) >= 9
    assert not [line for line in told.lines if line["code"] == "INTERNAL"]


@pytest.mark.parametrize("place", ["log", "metrics", "spans"])
def test_nothing_secret_is_told(told: Told, place: str) -> None:
    text = getattr(told, place).lower()
    assert len(text) > 1000
    assert [secret for secret in NEVER_TOLD if secret.lower() in text] == []


@pytest.mark.parametrize("place", ["metrics", "spans"])
def test_no_key_of_a_vector_is_measured_or_traced(told: Told, place: str) -> None:
    assert KEY not in getattr(told, place)


def test_trace_of_a_rest_client_goes_through_both_processes(told: Told) -> None:
    theirs = [span for span in told.collector.spans if span.trace_id.hex() == TRACE_ID]
    assert {span.parent_span_id.hex() for span in theirs} == {PARENT_ID}
    methods = {facts_of(span.attributes)["rpc.method"] for span in theirs}
    assert {"PutVectorsBatch", "QueryVectors", "GetVectors"} <= methods
    logged = [line for line in told.lines if line.get("trace_id") == TRACE_ID]
    assert len(logged) == len(theirs)


def test_every_line_of_a_call_says_what_an_operator_looks_for(told: Told) -> None:
    assert all(
        {"request_id", "method", "code", "latency_ms", "trace_id"} <= set(line)
        for line in told.lines
    )
    (query,) = [
        line
        for line in told.lines
        if line["method"] == "QueryVectors" and line.get("trace_id") == TRACE_ID
        if line["code"] == "OK"
    ]
    assert (query["principal"], query["bucket"], query["index_name"]) == ("owner", BUCKET, INDEX)
    assert (query["plan"], query["query_count"]) == ("exact_scan", 1)


def test_metrics_know_calls_by_both_doors(told: Told) -> None:
    assert 'vectorbucket_calls_total{code="OK",method="QueryVectors"}' in told.metrics
    assert 'vectorbucket_call_errors_total{reason="SignatureDoesNotMatch"} 1.0' in told.metrics
    assert "vectorbucket_translator_up 1.0" in told.metrics


def test_every_span_is_of_a_line_in_the_log(told: Told) -> None:
    spans = {facts_of(span.attributes)["vectorbucket.request_id"] for span in told.collector.spans}
    assert spans == {line["request_id"] for line in told.lines}
