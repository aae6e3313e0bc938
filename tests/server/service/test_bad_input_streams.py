"""What bad input gets: streams, and messages that are none, at a real server.

Method: each case is what a stream sends; the last message is the one that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import pytest

from conftest import StartServer
from rpc import (
    BUCKET,
    INDEX,
    PutStream,
    Stubs,
    assert_parameter_refused,
    put_message,
    refused,
    stubs_of,
    vector_of,
)
from vectorbucket.v1 import (
    vector_service_pb2,
)

STREAM_FAULTS: Mapping[
    str, tuple[list[vector_service_pb2.PutVectorsRequest], str, tuple[str, ...]]
] = {
    "names no index": (
        [put_message(1, vector_of("b"), index_name="")],
        "index_name",
        ("index_name is empty",),
    ),
    "names neither bucket nor index": (
        [put_message(1, vector_of("b"), bucket="", index_name="")],
        "index_name",
        ("no bucket and no index",),
    ),
    "names no stream": (
        [put_message(1, vector_of("b"), stream_id="")],
        "stream_id",
        ("0 bytes", "1 to 64"),
    ),
    "has an id of 65 bytes": (
        [put_message(1, vector_of("b"), stream_id="s" * 65)],
        "stream_id",
        ("65 bytes", "1 to 64"),
    ),
    "changes its index midway": (
        [put_message(1, vector_of("a")), put_message(2, vector_of("b"), index_name="other")],
        "index_name",
        ("'other'", f"'{INDEX}'"),
    ),
    "changes its bucket midway": (
        [put_message(1, vector_of("a")), put_message(2, vector_of("b"), bucket="other")],
        "bucket",
        ("'other'", f"'{BUCKET}'"),
    ),
    "changes its id midway": (
        [put_message(1, vector_of("a")), put_message(2, vector_of("b"), stream_id="other")],
        "stream_id",
        ("'other'", "'stream'"),
    ),
    "repeats a number": (
        [put_message(1, vector_of("a")), put_message(1, vector_of("b"))],
        "batch_number",
        ("is 1", "2 or more"),
    ),
    "counts down": (
        [put_message(7, vector_of("a")), put_message(6, vector_of("b"))],
        "batch_number",
        ("is 6", "8 or more"),
    ),
    "has no number": ([put_message(0, vector_of("b"))], "batch_number", ("is 0", "1 or more")),
}


@pytest.mark.parametrize(("sent", "field", "words"), STREAM_FAULTS.values(), ids=STREAM_FAULTS)
def test_stream_fault_ends_the_stream_after_its_last_answer(
    with_index: Stubs,
    sent: list[vector_service_pb2.PutVectorsRequest],
    field: str,
    words: tuple[str, ...],
) -> None:
    stream = PutStream(with_index)
    for message in sent[:-1]:
        assert stream.ask(message).WhichOneof("result") == "stored"
    stream.send(sent[-1])
    assert_parameter_refused(refused(stream.read), field, words)
    assert "b" not in with_index.all_keys()
    assert with_index.count() == len(sent) - 1


def framed(field: int, body: bytes) -> bytes:
    """Return a length-delimited field as protobuf writes it."""
    length, written = len(body), bytearray([field << 3 | 2])
    while length > 0x7F:
        written.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(written) + bytes([length]) + body


def deep_filter(levels: int) -> bytes:
    """Return a QueryVectorsRequest whose filter nests $and, as another language might send it."""
    struct = b""
    for _ in range(levels):
        value = framed(5, struct)
        listed_value = framed(6, framed(1, value))
        struct = framed(1, framed(1, b"$and") + framed(2, listed_value))
    return framed(5, struct)


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", deep_filter(200)], ids=["torn", "text", "deep"]
)
def test_bytes_that_are_no_message_are_the_callers_fault(stubs: Stubs, raw: bytes) -> None:
    call: Any = stubs.channel.unary_unary("/vectorbucket.v1.VectorService/QueryVectors")  # type: ignore[call-arg]
    refusal = refused(lambda: call(raw))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "ERROR_REASON_INVALID_ARGUMENT"
    assert f"the {len(raw)} bytes" in refusal.message
    assert "100 levels" in refusal.message


def test_message_over_the_limit_is_refused_with_the_limit(start_server: StartServer) -> None:
    with stubs_of(start_server(limit={"message_bytes_max": 10_000}).address) as stubs:
        stubs.make_index(non_filterable=["blob"])
        large = vector_of("large", metadata={"blob": "x" * 10_000})
        refusal = refused(lambda: stubs.put(large))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "ERROR_REASON_ENTITY_TOO_LARGE"
        assert refusal.retry_after_s is None
        assert "limit is 10000" in refusal.message
        assert stubs.all_keys() == []
