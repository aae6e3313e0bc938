"""The standard health service: who may ask what, what he hears, and what he hears in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

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
from vectorbucket.errors import ServiceUnavailable
from vectorbucket.v1 import index_service_pb2
from vectorbucket_server.app import Server
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index, IndexStatistics
from vectorbucket_server.service.workers import WATCHES_MAX

LogLines = Callable[[], list[dict[str, Any]]]

Status = health_pb2.HealthCheckResponse
SERVING, NOT_SERVING, UNKNOWN = Status.SERVING, Status.NOT_SERVING, Status.SERVICE_UNKNOWN
PLACE = f"{BUCKET}/{INDEX}"
SERVICES = ["", *(f"vectorbucket.v1.{one}Service" for one in ("Bucket", "Index", "Vector"))]
OWNER = bearer("of-owner")


def check(stubs: Stubs, service: str = "", *entries: Entry) -> int:
    """Return the status that Check answers."""
    stub: Any = health_pb2_grpc.HealthStub(stubs.channel)
    request = health_pb2.HealthCheckRequest(service=service)
    status: int = stub.Check(request, metadata=entries, timeout=WAIT_S).status
    return status


class Watch:
    """A Watch call; another thread reads what it says."""

    def __init__(self, stubs: Stubs, service: str = "", *entries: Entry) -> None:
        stub: Any = health_pb2_grpc.HealthStub(stubs.channel)
        self.call = stub.Watch(health_pb2.HealthCheckRequest(service=service), metadata=entries)
        self._said: SimpleQueue[object] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for response in self.call:
                self._said.put(response.status)
        except grpc.RpcError as error:
            self._said.put(error.code())
        else:
            self._said.put("end")

    def next(self) -> object:
        """Return what it says next: a status, the code with which it failed, or that it ended."""
        return self._said.get(timeout=WAIT_S)


def table(*names: str) -> str:
    statement = (
        '[[credential.statement]]\neffect = "Allow"\nresource = ["*"]\n'
        'action = ["oss:GetVectorIndex"]\n'
    )
    rights = {"owner": "owner = true\n", "watcher": statement, "guest": ""}
    return "".join(
        f'[[credential]]\nname = "{name}"\naccount_id = "1"\n'
        f'api_keys = ["{hash_of(f"of-{name}")}"]\n{rights[name]}'
        for name in names
    )


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.toml"
    path.write_text(table("owner", "watcher", "guest"))
    return path


@pytest.fixture
def guarded(start_server: StartServer, credentials: Path) -> Iterator[Stubs]:
    """Stubs of a server that asks for credentials, with an index."""
    with stubs_of(start_server(credentials=credentials).address) as stubs:
        saying(stubs, OWNER).make_index()
        yield stubs


# --- The server as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [[], [bearer("wrong")], [OWNER]], ids=["none", "bad", "good"])
def test_server_tells_anybody_that_it_serves(guarded: Stubs, entries: list[Entry]) -> None:
    assert [check(guarded, service, *entries) for service in SERVICES] == [SERVING] * 4
    watch = Watch(guarded, "", *entries)
    assert watch.next() == SERVING
    watch.call.cancel()


def test_nothing_but_the_server_is_told_to_strangers(guarded: Stubs) -> None:
    for service in (PLACE, "nothing/here", "nothing", "grpc.health.v1.Health.", " "):
        for entries in ([], [bearer("wrong")]):
            refusal = refused(lambda s=service, e=entries: check(guarded, s, *e))  # type: ignore[misc]
            assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
            assert Watch(guarded, service, *entries).next() is grpc.StatusCode.UNAUTHENTICATED
    # Nor is anything else of the server open because its health is.
    refusal = refused(lambda: guarded.vectors.QueryVectors(query_request()))
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED


def test_probes_are_in_the_log_at_debug_only(guarded: Stubs, log_lines: LogLines) -> None:
    check(guarded)
    check(guarded, PLACE, OWNER)
    refused(lambda: check(guarded, "nothing", OWNER))
    lines = [line for line in log_lines() if line.get("method") == "Check"]
    assert [line["level"] for line in lines] == ["debug"] * 3
    assert [line["code"] for line in lines] == ["OK", "OK", "NOT_FOUND"]
    assert [line.get("principal", "") for line in lines] == ["", "owner", "owner"]


def test_server_answers_while_all_its_other_threads_are_taken(
    start_server: StartServer, slow: SlowEngine
) -> None:
    settings = {"streams_max": 2, "unary_workers": 2, "rate_limits": "oss"}
    with stubs_of(start_server(over=slow, **settings).address) as stubs:
        stubs.make_index()
        streams = [PutStream(stubs) for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.send(put_message(1, vector_of("a"), stream_id=f"s{number}"))
        queries = [stubs.vectors.QueryVectors.future(query_request()) for _ in range(20)]
        for _ in range(4):
            assert slow.entered.acquire(timeout=WAIT_S)
        assert [check(stubs, service) for service in (*SERVICES, PLACE)] == [SERVING] * 5
        slow.gate.set()
        for query in queries:
            query.result(WAIT_S)
        for stream in streams:
            stream.finish()


def test_health_can_be_left_out(start_server: StartServer) -> None:
    with stubs_of(start_server(health=False).address) as stubs:
        assert refused(lambda: check(stubs)).code is grpc.StatusCode.UNIMPLEMENTED


# --- An index -------------------------------------------------------------------------------------


def test_index_is_told_to_those_who_may_know_of_it(guarded: Stubs) -> None:
    for name in ("owner", "watcher"):
        assert check(guarded, PLACE, bearer(f"of-{name}")) == SERVING
    guest = bearer("of-guest")
    # Whether it exists or not.
    for service in (PLACE, f"{BUCKET}/nothing", "nothing/here"):
        refusal = refused(lambda service=service: check(guarded, service, guest))  # type: ignore[misc]
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert Watch(guarded, service, guest).next() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (f"{BUCKET}/nothing", "NO_SUCH_VECTOR_INDEX"),
        ("nothing/here", "NO_SUCH_BUCKET"),
        ("nothing", "NO_SUCH_VECTOR_INDEX"),
        ("vectorbucket.v1.NothingService", "NO_SUCH_VECTOR_INDEX"),
    ],
)
def test_what_does_not_exist_is_not_found_and_may_be_watched(
    guarded: Stubs, service: str, reason: str
) -> None:
    refusal = refused(lambda: check(guarded, service, OWNER))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == f"ERROR_REASON_{reason}"
    watch = Watch(guarded, service, OWNER)
    assert watch.next() == UNKNOWN
    watch.call.cancel()


@pytest.mark.parametrize("service", ["/", "/faces", "photos/", "Photos/faces", "photos/fa/ces"])
def test_name_that_no_index_can_have_is_refused(guarded: Stubs, service: str) -> None:
    refusal = refused(lambda: check(guarded, service, OWNER))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert Watch(guarded, service, OWNER).next() is grpc.StatusCode.INVALID_ARGUMENT


def test_watch_hears_of_an_index_that_comes_and_goes(stubs: Stubs) -> None:
    watch = Watch(stubs, PLACE)
    assert watch.next() == UNKNOWN
    stubs.make_index()
    assert watch.next() == SERVING
    stubs.indexes.DeleteVectorIndex(
        index_service_pb2.DeleteVectorIndexRequest(bucket=BUCKET, index_name=INDEX)
    )
    assert watch.next() == UNKNOWN
    watch.call.cancel()


def test_watch_ends_when_its_caller_loses_his_right_or_his_key(
    guarded: Stubs, credentials: Path
) -> None:
    def rewrite(text: str) -> None:
        fresh = credentials.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(credentials)

    watch = Watch(guarded, PLACE, bearer("of-watcher"))
    assert watch.next() == SERVING
    rewrite(table("owner", "watcher").replace("oss:GetVectorIndex", "oss:GetVectors"))
    assert watch.next() is grpc.StatusCode.PERMISSION_DENIED
    watch = Watch(guarded, PLACE, OWNER)
    assert watch.next() == SERVING
    rewrite(table("watcher"))
    assert watch.next() is grpc.StatusCode.UNAUTHENTICATED


class LameEngine(MemoryEngine):
    """An engine that cannot work while it is lame."""

    is_lame = False

    def index_statistics(self, index: Index) -> IndexStatistics:
        if self.is_lame:
            raise ServiceUnavailable("the engine does not answer")
        return super().index_statistics(index)


def test_index_of_an_engine_that_cannot_work_is_not_serving(start_server: StartServer) -> None:
    engine = LameEngine()
    with stubs_of(start_server(over=engine).address) as stubs:
        stubs.make_index()
        watch = Watch(stubs, PLACE)
        assert watch.next() == SERVING
        engine.is_lame = True
        assert watch.next() == NOT_SERVING
        assert check(stubs, PLACE) == NOT_SERVING
        engine.is_lame = False
        assert watch.next() == SERVING
        watch.call.cancel()


# --- An engine that works with something else -----------------------------------------------------


class RemoteEngine(MemoryEngine):
    """An engine that works with something that may be away."""

    is_away = False

    def check(self) -> None:
        if self.is_away:
            raise ServiceUnavailable("Milvus does not answer")
        super().check()


def test_services_are_not_serving_while_what_the_engine_needs_is_away(
    start_server: StartServer,
) -> None:
    engine = RemoteEngine()
    with stubs_of(start_server(over=engine).address) as stubs:
        stubs.make_index()
        watches = [Watch(stubs, service) for service in (SERVICES[3], PLACE)]
        assert [watch.next() for watch in watches] == [SERVING] * 2
        engine.is_away = True
        assert [watch.next() for watch in watches] == [NOT_SERVING] * 2
        # To start the server anew would help nobody.
        assert [check(stubs, service) for service in SERVICES] == [SERVING, *[NOT_SERVING] * 3]
        assert check(stubs, PLACE) == NOT_SERVING
        engine.is_away = False
        assert [watch.next() for watch in watches] == [SERVING] * 2
        assert [check(stubs, service) for service in (*SERVICES, PLACE)] == [SERVING] * 5
        for watch in watches:
            watch.call.cancel()


def test_index_of_which_nothing_can_be_known_now_is_told_to_nobody_unknown(
    start_server: StartServer, credentials: Path
) -> None:
    engine = RemoteEngine()
    with stubs_of(start_server(over=engine, credentials=credentials).address) as stubs:
        saying(stubs, OWNER).make_index()
        engine.is_away = True
        assert check(stubs, PLACE, bearer("of-watcher")) == NOT_SERVING
        assert check(stubs, f"{BUCKET}/nothing", bearer("of-watcher")) == NOT_SERVING
        refusal = refused(lambda: check(stubs, PLACE, bearer("wrong")))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        # What is not an index's name is none of the engine's business.
        refusal = refused(lambda: check(stubs, "nothing", OWNER))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        # The server as a whole is open to strangers, whatever state it is in.
        assert [check(stubs, service) for service in SERVICES] == [SERVING, *[NOT_SERVING] * 3]


# --- Watchers -------------------------------------------------------------------------------------


def test_watchers_are_bounded_and_take_nobody_elses_place(
    start_server: StartServer, log_lines: LogLines
) -> None:
    with stubs_of(start_server(streams_max=1).address) as stubs:
        stubs.make_index()
        watches = [Watch(stubs) for _ in range(WATCHES_MAX)]
        assert [watch.next() for watch in watches] == [SERVING] * WATCHES_MAX
        assert Watch(stubs).next() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert check(stubs) == SERVING
        stream = PutStream(stubs)
        assert stream.ask(put_message(1, vector_of("a"))).stored.vector_count == 1
        stream.finish()
        assert stubs.all_keys() == ["a"]
        watches[0].call.cancel()

        def cancelled() -> bool:
            return any(line.get("method") == "Watch" for line in log_lines()[-5:])

        eventually(cancelled)
        eventually(lambda: Watch(stubs).next() == SERVING)
        for watch in watches:
            watch.call.cancel()


# --- The drain ------------------------------------------------------------------------------------


@contextmanager
def stopping(server: Server) -> Iterator[None]:
    """Stop a server beside the block; at the end, wait until it has."""
    thread = threading.Thread(target=server.stop)
    thread.start()
    yield
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_stopping_server_says_so_at_once_and_serves_until_its_notice_is_over(
    start_server: StartServer,
) -> None:
    server = start_server(drain_notice_s=60)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        watches = [Watch(stubs, service) for service in ("", PLACE, f"{BUCKET}/nothing")]
        assert [watch.next() for watch in watches] == [SERVING, SERVING, UNKNOWN]
        stream = PutStream(stubs)
        stream.ask(put_message(1, vector_of("a")))
        with stopping(server):
            assert [watch.next() for watch in watches[:2]] == [NOT_SERVING] * 2
            assert [check(stubs, service) for service in (*SERVICES, PLACE)] == [NOT_SERVING] * 5
            # All else goes on as before, new calls and old ones.
            assert stubs.put(vector_of("b")) == 1
            assert stream.ask(put_message(2, vector_of("c"))).stored.vector_count == 1
            assert len(stubs.vectors.QueryVectors(query_request()).vectors) == 3
            server.hurry()
            assert {watch.next() for watch in watches} <= {"end", grpc.StatusCode.UNAVAILABLE}


def test_health_says_not_serving_while_what_is_under_way_finishes(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        watch = Watch(stubs)
        assert watch.next() == SERVING
        query = stubs.vectors.QueryVectors.future(query_request())
        assert slow.entered.acquire(timeout=WAIT_S)
        with stopping(server):
            assert [watch.next(), watch.next()] == [NOT_SERVING, "end"]
            assert not query.done()
            slow.gate.set()
            assert not query.result(WAIT_S).vectors


def test_refusal_is_as_complete_as_any(guarded: Stubs) -> None:
    refusal = refused(lambda: check(guarded, "nothing", OWNER))
    assert refusal.request_id
    assert refusal.domain
    assert "BUCKET/INDEX" in refusal.message
