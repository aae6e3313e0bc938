"""Calls of Milvus that fail: before one that asks who calls, and one that fails as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from milvus_connections import FIELDS, PARTITION, SECRET, TOKEN, Heard, opened, row
from milvus_server import MilvusServer
from rooms import WITHIN_S, eventually
from vectorbucket.errors import QpsLimitExceeded, RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.failures import Refused
from vectorbucket_server.engine.milvus.options import MilvusOptions


class Within:
    """The deadline of a caller who waits so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def check(self) -> None:
        """Raise when they are over."""
        if self.remaining_s() <= 0:
            raise RequestTimeout("the call's deadline passed")

    def remaining_s(self) -> float:
        """Return what is left of them."""
        return self._until - time.monotonic()


# --- One that asks who calls, and limits rates ----------------------------------------------------


@pytest.fixture(name="strict", scope="module")
def fixture_strict(
    milvus_package: None,  # noqa: ARG001 - marks what needs it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MilvusServer]:
    """A Milvus with passwords, and with a rate limit of a few rows a second."""
    said = {
        "COMMON_SECURITY_AUTHORIZATIONENABLED": "true",
        "QUOTAANDLIMITS_ENABLED": "true",
        "QUOTAANDLIMITS_DML_ENABLED": "true",
        "QUOTAANDLIMITS_DML_UPSERTRATE_MAX": "0.001",
        "QUOTAANDLIMITS_DML_INSERTRATE_MAX": "0.001",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in said.items():
            patch.setenv(name, value)
        server = MilvusServer(tmp_path_factory.mktemp("strict"), lease_s=30)
        server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("token", ["", "root:SECRET", "SECRET"], ids=["none", "bad", "api-key"])
def test_who_is_not_let_in_is_told_so_without_his_token(strict: MilvusServer, token: str) -> None:
    connection = Connection(MilvusOptions(strict.uri, token=token), Heard())
    with pytest.raises(ServiceUnavailable) as caught:
        connection.open()
    assert "UNAUTHENTICATED" in str(caught.value)
    assert "milvus_token" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_rate_limit_is_told_at_once_and_holds_nothing_that_was_sent(strict: MilvusServer) -> None:
    heard = Heard()
    with opened(MilvusOptions(strict.uri, "root:Milvus"), heard) as connection:
        connection.create("c", "mine", FIELDS)
        connection.create_partition("c", PARTITION)
        rows = [row(f"SECRET{n}", metadata='{"a":"SECRET"}') for n in range(100)]

        def put_often() -> None:
            # The first passes.
            for _ in range(20):
                connection.upsert("c", PARTITION, rows, NO_DEADLINE)

        with pytest.raises(QpsLimitExceeded) as caught:
            put_often()
        assert heard.calls[-1] == ("upsert", "rate_limited")
        assert caught.value.retry_after_s is not None
        assert SECRET not in str(caught.value)


# --- One that fails as it is told -----------------------------------------------------------------


class Scripted(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]  # it has no types
    """Speaks Milvus' protocol, as far as to list collections; fails so often, then answers."""

    def __init__(self) -> None:
        self.failures: list[int | grpc.StatusCode | threading.Event] = []
        self.asked = 0

    def Connect(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - as the protocol has it
        return milvus_pb2.ConnectResponse(status=common_pb2.Status(), identifier=1)

    def ShowCollections(self, _request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.asked += 1
        failure = self.failures.pop(0) if self.failures else 0
        if isinstance(failure, threading.Event):
            failure.wait(WITHIN_S)
            failure = 0
        if isinstance(failure, grpc.StatusCode):
            context.abort(failure, "as it was told")
        status = common_pb2.Status(code=failure, reason="as it was told" if failure else "")
        return milvus_pb2.ShowCollectionsResponse(status=status, collection_names=["c"])


@pytest.fixture(name="scripted")
def fixture_scripted() -> Scripted:
    """It, without failures yet."""
    return Scripted()


@pytest.fixture(name="scripted_uri")
def fixture_scripted_uri(scripted: Scripted) -> Iterator[str]:
    """Where it serves."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(scripted, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"http://127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize("code", [1, 2, 4, 503, 901])
def test_milvus_that_is_not_ready_is_asked_again_and_each_time_is_counted(
    scripted: Scripted, scripted_uri: str, code: int
) -> None:
    heard = Heard()
    with opened(MilvusOptions(scripted_uri), heard) as connection:
        scripted.failures += [code, code]
        assert connection.names() == ["c"]
    assert heard.calls == [
        ("list_collections", "unavailable"),
        ("list_collections", "unavailable"),
        ("list_collections", "ok"),
    ]


def test_milvus_that_does_not_become_ready_is_given_up_when_the_time_is_over(
    scripted: Scripted, scripted_uri: str
) -> None:
    with opened(MilvusOptions(scripted_uri, timeout_s=0.2)) as connection:
        scripted.failures += [1] * 100
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match=r"Milvus is not ready \(as it was told"):
            connection.names()
        assert time.monotonic() - began < WITHIN_S
        assert 2 <= scripted.asked < 20


def test_milvus_that_hangs_is_given_up_when_the_time_is_over(
    scripted: Scripted, scripted_uri: str
) -> None:
    goes_on, heard = threading.Event(), Heard()
    with opened(MilvusOptions(scripted_uri, timeout_s=0.2), heard) as connection:
        scripted.failures += [goes_on, goes_on]
        with pytest.raises(
            ServiceUnavailable, match=r"Milvus does not answer \(DEADLINE_EXCEEDED\)"
        ):
            connection.names()
        with pytest.raises(RequestTimeout):
            connection._call("list_collections", deadline=Within(0.05))
        assert heard.calls == [("list_collections", "unavailable")] * 2
        goes_on.set()
        assert connection.names() == ["c"]


def test_health_is_asked_with_less_patience_than_all_else(
    scripted: Scripted, scripted_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vectorbucket_server.engine.milvus.connection.CHECK_S", 0.05)
    goes_on = threading.Event()
    with opened(MilvusOptions(scripted_uri)) as connection:
        scripted.failures.append(goes_on)
        with pytest.raises(ServiceUnavailable, match="DEADLINE_EXCEEDED"):
            connection.check()
        goes_on.set()
        connection.check()


def test_caller_who_goes_between_two_tries_is_the_last_to_be_asked_for(
    scripted: Scripted, scripted_uri: str
) -> None:
    with opened(MilvusOptions(scripted_uri)) as connection:
        scripted.failures += [1] * 1_000
        gone = threading.Event()

        class Leaves:
            """A caller without a deadline, who cancels."""

            def check(self) -> None:
                if gone.is_set():
                    raise RequestTimeout("cancelled")

            def remaining_s(self) -> None:
                return None

        deadline: Deadline = Leaves()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(connection._call, "list_collections", deadline=deadline)
            eventually(lambda: scripted.asked > 3, "it is asked again")
            gone.set()
            assert isinstance(waiting.exception(WITHIN_S), RequestTimeout)


@pytest.mark.parametrize("failure", [8, 9, 65535], ids=["rate", "full", "wrong"])
def test_what_waiting_does_not_help_is_not_asked_again(
    scripted: Scripted, scripted_uri: str, failure: int
) -> None:
    with opened(MilvusOptions(scripted_uri)) as connection:
        scripted.failures += [failure] * 3
        before = scripted.asked
        with pytest.raises((QpsLimitExceeded, ServiceUnavailable, Refused)):
            connection.names()
        assert scripted.asked == before + 1


def test_who_is_let_in_no_longer_is_told_where_to_look(
    scripted: Scripted, scripted_uri: str
) -> None:
    with opened(MilvusOptions(scripted_uri, token=TOKEN)) as connection:
        scripted.failures.append(grpc.StatusCode.UNAUTHENTICATED)
        with pytest.raises(ServiceUnavailable, match=r"does not let us in .* see milvus_token"):
            connection.check()
