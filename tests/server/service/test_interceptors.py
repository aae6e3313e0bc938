"""What every call passes on its way in: authentication, unknown methods, callers who leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from conftest import StartServer
from policy_cases import hash_of
from rpc import (
    BUCKET,
    INDEX,
    WAIT_S,
    Entry,
    PutStream,
    Stubs,
    bearer,
    put_message,
    query_request,
    refused,
    saying,
    stubs_of,
    vector_of,
)
from stubborn import SlowEngine, eventually
from vectorbucket.v1 import vector_service_pb2 as messages

LogLines = Callable[[], list[dict[str, Any]]]
PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}


def lines_of(lines: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("method") == method]


@pytest.fixture
def guarded(start_server: StartServer, tmp_path: Path) -> Iterator[Stubs]:
    """Stubs of a server that asks for the key ``of-owner``, whose permits are few."""
    (tmp_path / "credentials.toml").write_text(
        '[[credential]]\nname = "owner"\naccount_id = "1"\nowner = true\n'
        f'api_keys = ["{hash_of("of-owner")}"]\n'
    )
    server = start_server(credentials=tmp_path / "credentials.toml", streams_max=1)
    with stubs_of(server.address) as stubs:
        yield stubs


# --- Authentication -------------------------------------------------------------------------------


def test_caller_who_is_known_is_named_in_the_line(guarded: Stubs, log_lines: LogLines) -> None:
    saying(guarded, bearer("of-owner")).make_index()
    assert [line["principal"] for line in log_lines() if line.get("event") == "call"] == [
        "owner",
        "owner",
    ]


@pytest.mark.parametrize("entries", [[], [bearer("")], [bearer("wrong")]])
def test_refused_caller_leaves_a_line_that_says_what_he_was_after(
    guarded: Stubs, log_lines: LogLines, entries: list[Entry]
) -> None:
    caller = saying(guarded, *entries)
    refused(lambda: caller.vectors.QueryVectors(query_request()))
    refused(lambda: list(caller.vectors.ScanVectors(messages.ScanVectorsRequest(**PLACE))))
    for method in ("QueryVectors", "ScanVectors"):
        (line,) = lines_of(log_lines(), method)
        assert (line["bucket"], line["index_name"]) == (BUCKET, INDEX)
        assert (line["code"], line["reason"]) == ("UNAUTHENTICATED", "InvalidAccessKeyId")
        assert "principal" not in line


def test_no_key_and_no_hash_of_one_is_in_any_line(guarded: Stubs, log_lines: LogLines) -> None:
    saying(guarded, bearer("of-owner")).make_index()
    refused(lambda: saying(guarded, bearer("of-somebody")).vectors.QueryVectors(query_request()))
    text = str(log_lines())
    for secret in ("of-owner", "of-somebody", hash_of("of-owner"), "Bearer"):
        assert secret not in text


def test_torn_message_of_a_stranger_is_not_told_from_a_good_one(guarded: Stubs) -> None:
    call: Any = guarded.channel.unary_unary(  # type: ignore[call-arg]
        "/vectorbucket.v1.VectorService/QueryVectors"
    )
    for raw in (b"\xff\xff", b"", b"x" * 100_000):
        refusal = refused(lambda raw=raw: call(raw))  # type: ignore[misc]
        assert refusal.reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"


def test_stranger_takes_no_permit(guarded: Stubs) -> None:
    owner = saying(guarded, bearer("of-owner"))
    owner.make_index()
    stream = PutStream(owner)
    stream.ask(put_message(1, vector_of("a")))
    # The one permit is taken: with a good key that is what a caller hears.
    scan = messages.ScanVectorsRequest(**PLACE)
    assert refused(lambda: list(owner.vectors.ScanVectors(scan))).reason.endswith(
        "QPS_LIMIT_EXCEEDED"
    )
    for call in (
        lambda: list(guarded.vectors.ScanVectors(scan)),
        lambda: list(guarded.vectors.PutVectors(iter([put_message(1)]))),
    ):
        assert refused(call).reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"
    stream.finish()


def test_entry_that_stands_twice_is_refused(guarded: Stubs) -> None:
    both: list[Entry] = [bearer("of-owner"), bearer("of-owner")]
    refusal = refused(lambda: saying(guarded, *both).vectors.QueryVectors(query_request()))
    assert refusal.reason == "ERROR_REASON_INVALID_ARGUMENT"


# --- Methods --------------------------------------------------------------------------------------


def test_unknown_method_is_told_only_to_those_who_are_known(guarded: Stubs) -> None:
    call: Any = guarded.channel.unary_unary("/nothing.Known/Get")  # type: ignore[call-arg]
    assert refused(lambda: call(b"x")).reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"
    known = refused(lambda: call(b"x", metadata=[bearer("of-owner")]))
    assert known.reason == "ERROR_REASON_METHOD_NOT_ALLOWED"


def test_unknown_method_is_told_so_with_details(stubs: Stubs) -> None:
    for path in ("/vectorbucket.v1.VectorService/Fly", "/nothing.Known/Get"):
        call: Any = stubs.channel.unary_unary(path)  # type: ignore[call-arg]
        refusal = refused(lambda call=call: call(b"x"))  # type: ignore[misc]
        assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
        assert refusal.reason == "ERROR_REASON_METHOD_NOT_ALLOWED"
        assert path in refusal.message


# --- Callers who leave ----------------------------------------------------------------------------


def test_call_that_is_cancelled_stops_its_work_and_is_no_failure(
    start_server: StartServer, slow: SlowEngine, log_lines: LogLines
) -> None:
    with stubs_of(start_server(over=slow).address) as stubs:
        stubs.make_index()
        call = stubs.vectors.QueryVectors.future(query_request())
        assert slow.entered.acquire(timeout=WAIT_S)
        call.cancel()
        eventually(lambda: slow.ended == ["gone"])
        eventually(lambda: bool(lines_of(log_lines(), "QueryVectors")))
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert line["level"] == "info"
    assert line["reason"] == "RequestTimeout"


def test_deadline_stops_the_work_of_a_call(start_server: StartServer, slow: SlowEngine) -> None:
    with stubs_of(start_server(over=slow).address) as stubs:
        stubs.make_index()
        with pytest.raises(grpc.RpcError) as caught:
            stubs.vectors.QueryVectors(query_request(), timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        eventually(lambda: slow.ended == ["gone"])


def test_stream_that_is_cancelled_while_idle_is_no_failure(
    with_index: Stubs, log_lines: LogLines
) -> None:
    stream = PutStream(with_index)
    stream.ask(put_message(1, vector_of("a")))
    stream.cancel()
    eventually(lambda: bool(lines_of(log_lines(), "PutVectors")))
    (line,) = lines_of(log_lines(), "PutVectors")
    # gRPC may say that no message follows a moment before it says that the call was cancelled.
    assert line["level"] == "info"
    assert line["code"] in {"CANCELLED", "OK"}
    assert line["vector_count"] == 1


def test_scan_whose_reader_leaves_ends_and_gives_its_permit_back(
    start_server: StartServer, log_lines: LogLines
) -> None:
    with stubs_of(start_server(streams_max=1).address) as stubs:
        stubs.make_index(dimension=4096)
        numbers = range(4096)
        for start in range(0, 1_000, 250):
            stubs.put(*[vector_of(f"{start + n:04}", numbers, as_bytes=True) for n in range(250)])
        request = messages.ScanVectorsRequest(**PLACE, return_data=True)
        call = stubs.vectors.ScanVectors(request)
        next(call)
        call.cancel()
        eventually(lambda: bool(lines_of(log_lines(), "ScanVectors")))
        assert lines_of(log_lines(), "ScanVectors")[0]["code"] == "CANCELLED"
        assert len(stubs.all_keys()) == 1_000
