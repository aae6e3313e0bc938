"""What every call passes on its way in: authentication, unknown methods, callers who leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from rpc_calls import CALLS
from stubborn import SlowEngine, eventually
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.auth.entries import PRINCIPAL, REMOTE_ADDRESS, REQUEST_ID

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
def test_refused_caller_leaves_a_line_that_believes_nothing_of_what_he_said(
    guarded: Stubs, log_lines: LogLines, entries: list[Entry]
) -> None:
    caller = saying(guarded, *entries, (REMOTE_ADDRESS, "192.0.2.7:1"), (PRINCIPAL, "owner"))
    refused(lambda: caller.vectors.QueryVectors(query_request()))
    refused(lambda: list(caller.vectors.ScanVectors(messages.ScanVectorsRequest(**PLACE))))
    refused(lambda: list(caller.vectors.PutVectors(iter([put_message(1)]))))
    for method in ("QueryVectors", "ScanVectors", "PutVectors"):
        (line,) = lines_of(log_lines(), method)
        assert (line["code"], line["reason"]) == ("UNAUTHENTICATED", "InvalidAccessKeyId")
        assert not {"bucket", "index_name", "principal"} & set(line)
        assert "192.0.2.7" not in line["peer"]


def test_caller_who_names_somebody_and_may_not_is_named_himself(
    guarded: Stubs, log_lines: LogLines
) -> None:
    for entry in ((PRINCIPAL, "somebody"), (REQUEST_ID, "0" * 24), (REMOTE_ADDRESS, "192.0.2.7:1")):
        caller = saying(guarded, bearer("of-owner"), entry)
        refused(lambda caller=caller: caller.vectors.QueryVectors(query_request()))  # type: ignore[misc]
    lines = lines_of(log_lines(), "QueryVectors")
    assert [(line["principal"], line["reason"]) for line in lines] == [
        ("owner", "AccessDenied")
    ] * 3
    assert all(line["peer"].startswith("ipv") for line in lines)


# --- Strangers and threads ------------------------------------------------------------------------


@contextmanager
def silent_calls(stubs: Stubs, rpc: str, count: int, entries: list[Entry]) -> Iterator[list[Any]]:
    """Yield calls of which only the headers are sent while the block runs."""
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    call: Any = stubs.channel.stream_stream(  # type: ignore[call-arg]
        f"/vectorbucket.v1.VectorService/{rpc}"
    )
    try:
        yield [call(nothing(), metadata=entries, timeout=WAIT_S) for _ in range(count)]
    finally:
        over.set()


@pytest.mark.parametrize("entries", [[], [bearer("wrong")], [bearer("of-owner")] * 2])
@pytest.mark.parametrize("rpc", ["QueryVectors", "PutVectorsBatch", "ScanVectors"])
def test_strangers_who_send_headers_only_are_refused_and_keep_nobody_waiting(
    guarded: Stubs, rpc: str, entries: list[Entry]
) -> None:
    owner = saying(guarded, bearer("of-owner"))
    owner.make_index()
    with silent_calls(guarded, rpc, 40, entries) as silent:
        owner.put(vector_of("a"))
        owner.vectors.QueryVectors(query_request(), timeout=WAIT_S)
        assert owner.all_keys() == ["a"]
        for call in silent:
            code = refused(lambda call=call: list(call)).code  # type: ignore[misc]
            assert code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT}


def test_key_that_is_good_since_a_moment_ago_serves_its_first_call(
    start_server: StartServer, tmp_path: Path
) -> None:
    def table(name: str) -> str:
        return (
            f'[[credential]]\nname = "{name}"\naccount_id = "1"\nowner = true\n'
            f'api_keys = ["{hash_of(f"of-{name}")}"]\n'
        )

    path, fresh = tmp_path / "credentials.toml", tmp_path / "credentials.new"
    path.write_text(table("owner"))
    with stubs_of(start_server(credentials=path).address) as stubs:
        saying(stubs, bearer("of-owner")).make_index()
        for rpc in ("QueryVectors", "ScanVectors", "PutVectors", "PutVectorsBatch"):
            fresh.write_text(table(f"for-{rpc}"))
            fresh.replace(path)
            newcomer = saying(stubs, bearer(f"of-for-{rpc}"))
            eventually(lambda newcomer=newcomer, rpc=rpc: is_served(newcomer, rpc))  # type: ignore[misc]


def is_served(stubs: Stubs, rpc: str) -> bool:
    """Return whether a call is served; if not, then for its key."""
    try:
        CALLS[rpc](stubs, BUCKET, INDEX)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return False
    return True


def test_call_that_ends_without_a_message_is_refused(guarded: Stubs, tmp_path: Path) -> None:
    call: Any = guarded.channel.stream_stream(  # type: ignore[call-arg]
        "/vectorbucket.v1.VectorService/QueryVectors"
    )

    def refusal_to(key: str) -> str:
        return refused(lambda: list(call(iter([]), metadata=[bearer(key)]))).reason

    assert refusal_to("of-nobody") == "ERROR_REASON_INVALID_ACCESS_KEY_ID"
    path, fresh = tmp_path / "credentials.toml", tmp_path / "credentials.new"
    fresh.write_text(path.read_text().replace(hash_of("of-owner"), hash_of("of-newcomer")))
    fresh.replace(path)
    eventually(lambda: refusal_to("of-newcomer") == "ERROR_REASON_INVALID_ARGUMENT")


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
