"""The server as a whole: start, address, stop, and as a real process."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from conftest import StartServer
from rpc import WAIT_S, PutStream, Stubs, put_message, query_request, refused, stubs_of, vector_of
from stubborn import SlowEngine, eventually
from vectorbucket.errors import ServiceUnavailable
from vectorbucket.v1 import bucket_service_pb2
from vectorbucket_server.app import Server, running_server, serve
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
READY = "vectorbucket-server ready grpc="


class WatchedEngine(MemoryEngine):
    """Notes how it is opened and closed."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.events: list[str] = []
        self._error = error

    def open(self) -> None:
        self.events.append("open")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.events.append("close")


def memory(**settings: Any) -> Settings:
    named = {"engine": "memory", "grpc_address": "127.0.0.1:0", "log_level": "error"} | settings
    return Settings(**named)


# --- In this process ------------------------------------------------------------------------------


def test_port_0_takes_a_free_port_and_tells_it(start_server: StartServer) -> None:
    addresses = {start_server().address for _ in range(3)}
    assert len(addresses) == 3
    for address in addresses:
        assert address.startswith("127.0.0.1:")
        with stubs_of(address) as stubs:
            listing = bucket_service_pb2.ListVectorBucketsRequest()
            assert not stubs.buckets.ListVectorBuckets(listing).buckets


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
def test_server_serves_other_spellings_of_loopback(start_server: StartServer, host: str) -> None:
    address = start_server(grpc_address=f"{host}:0").address
    assert address.startswith(f"{host}:")
    with stubs_of(address) as stubs:
        stubs.make_index()
        assert stubs.put(vector_of("a")) == 1


def test_address_in_use_is_told_and_nothing_stays_open(server: Server) -> None:
    engine = WatchedEngine()
    second = Server(memory(grpc_address=server.address), engine=engine)
    with pytest.raises(StartFailed, match="Address already in use") as caught:
        second.start()
    assert server.address in str(caught.value)
    assert engine.events == ["open", "close"]
    second.stop()
    assert engine.events == ["open", "close"]


def test_address_that_is_not_this_machines_is_told() -> None:
    elsewhere = Server(memory(grpc_address="192.0.2.1:50051", insecure=True))
    with pytest.raises(StartFailed, match=r"cannot serve on 192\.0\.2\.1:50051: "):
        elsewhere.start()


def test_engine_that_cannot_open_leaves_the_address_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    engine = WatchedEngine(ServiceUnavailable("another process holds the store"))
    with pytest.raises(ServiceUnavailable):
        Server(memory(grpc_address=address), engine=engine).start()
    assert engine.events == ["open"]
    with running_server(memory(grpc_address=address)) as server:
        assert server.address == address


def test_engine_is_opened_before_and_closed_after_the_calls() -> None:
    engine = WatchedEngine()
    with running_server(memory(), engine=engine) as server:
        assert engine.events == ["open"]
        with stubs_of(server.address) as stubs:
            stubs.make_index()
    assert engine.events == ["open", "close"]
    server.stop()
    assert engine.events == ["open", "close"]


def test_settings_choose_the_engine(tmp_path: Path) -> None:
    assert type(Server(memory()).engine).__name__ == "MemoryEngine"
    embedded = memory(engine="embedded", data_dir=tmp_path / "data")
    assert type(Server(embedded).engine).__name__ == "EmbeddedEngine"
    assert not (tmp_path / "data").exists()


def test_embedded_engine_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    settings = memory(engine="embedded", data_dir=tmp_path / "data")
    for start in ("first", "second"):
        with running_server(settings) as server, stubs_of(server.address) as stubs:
            if start == "first":
                stubs.make_index()
                stubs.put(vector_of("a", metadata={"x": "y"}))
            hits = stubs.vectors.QueryVectors(query_request(filter={"x": "y"})).vectors
            assert [hit.key for hit in hits] == ["a"]


def test_messages_up_to_64_mib_are_taken(stubs: Stubs) -> None:
    stubs.make_index(dimension=4096, non_filterable=["blob"])
    numbers = range(4096)
    fields = {"blob": "x" * 40_000}
    largest = [vector_of(f"{n:04}", numbers, fields, as_bytes=True) for n in range(500)]
    assert sum(one.ByteSize() for one in largest) > 28_000_000
    stream = PutStream(stubs)
    assert stream.ask(put_message(1, *largest)).stored.vector_count == 500
    stream.finish()


def test_message_beyond_what_grpc_takes_is_refused_by_grpc(start_server: StartServer) -> None:
    server = start_server(limit={"message_bytes_max": 1})
    with stubs_of(server.address) as stubs, pytest.raises(grpc.RpcError) as caught:
        stubs.put(vector_of("a", range(4096), {"blob": "x" * 70_000}))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_engine_is_closed_whatever_fails_before(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = WatchedEngine()
    server = Server(memory(), engine=engine)
    server.start()

    def fail(_port: int) -> int:
        raise OSError("no descriptor is left")

    monkeypatch.setattr("vectorbucket_server.app.cut_connections", fail)
    with pytest.raises(OSError, match="no descriptor is left"):
        server.stop()
    assert engine.events == ["open", "close"]
    server.stop()


def test_stop_waits_for_calls_that_are_under_way(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        waiting = stubs.vectors.QueryVectors.future(query_request())
        assert slow.entered.acquire(timeout=WAIT_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        eventually(lambda: refuses(stubs))
        assert not waiting.done()
        slow.gate.set()
        assert not waiting.result(WAIT_S).vectors
        stopping.join(WAIT_S)
        assert not stopping.is_alive()


def refuses(stubs: Stubs) -> bool:
    """Return whether a server takes no new calls."""
    try:
        stubs.buckets.ListVectorBuckets(bucket_service_pb2.ListVectorBucketsRequest())
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_stop_cancels_what_takes_longer_than_its_grace(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow, drain_grace_s=0.1)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        waiting = stubs.vectors.QueryVectors.future(query_request())
        assert slow.entered.acquire(timeout=WAIT_S)
        server.stop()
        assert slow.ended == ["gone"]
        assert waiting.exception(WAIT_S) is not None


def test_stop_in_a_hurry_cancels_what_is_under_way_and_waits_for_nobody(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow, drain_grace_s=600, drain_notice_s=600)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        waiting = stubs.vectors.QueryVectors.future(query_request())
        assert slow.entered.acquire(timeout=WAIT_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        server.hurry()
        stopping.join(WAIT_S)
        assert not stopping.is_alive()
        assert slow.ended == ["gone"]
        error: Any = waiting.exception(WAIT_S)
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_callers_who_do_not_stop_calling_hear_that_they_can_try_again_and_nothing_else(
    start_server: StartServer,
) -> None:
    # gRPC's own way to stop answers one call in twenty with CANCELLED here.
    heard, answered = set[grpc.StatusCode](), threading.Semaphore(0)
    for _ in range(3):
        server, over = start_server(), threading.Event()

        def call(address: str = server.address, over: threading.Event = over) -> None:
            listing = bucket_service_pb2.ListVectorBucketsRequest()
            with stubs_of(address, grpc__use_local_subchannel_pool=1) as stubs:
                while not over.is_set():
                    try:
                        stubs.buckets.ListVectorBuckets(listing)
                        answered.release()
                    except grpc.RpcError as error:
                        heard.add(error.code())
                        over.wait(0.002)

        callers = [threading.Thread(target=call) for _ in range(6)]
        for caller in callers:
            caller.start()
        for _ in range(100):
            assert answered.acquire(timeout=WAIT_S)
        server.stop()
        over.set()
        for caller in callers:
            caller.join(WAIT_S)
    assert heard <= {grpc.StatusCode.UNAVAILABLE}


def test_serve_leaves_one_line_on_its_output_and_returns_on_a_signal() -> None:
    # In the main thread of this process, because signals come there.
    output, before = io.StringIO(), signal.getsignal(signal.SIGTERM)
    interval, interrupt = sys.getswitchinterval(), signal.getsignal(signal.SIGINT)

    def stop_when_ready() -> None:
        eventually(lambda: output.getvalue().endswith("\n"))
        # To this thread, which is the worst that a kernel may do: the main thread is not woken.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    stopper = threading.Thread(target=stop_when_ready)
    stopper.start()
    try:
        with rerouted_logging():
            serve(memory(), output)
        assert sys.getswitchinterval() < interval
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
        sys.setswitchinterval(interval)
    stopper.join(WAIT_S)
    assert output.getvalue().startswith(f"{READY}127.0.0.1:")
    assert output.getvalue().count("\n") == 1


@contextlib.contextmanager
def rerouted_logging() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


# --- As a real process ----------------------------------------------------------------------------


class Process:
    """A real server, started as its command is."""

    def __init__(self, *arguments: str) -> None:
        path = os.pathsep.join(str(ROOT / root) for root in ("client", "server"))
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "vectorbucket_server", "serve", *arguments],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        self.ready = self.popen.stdout.readline()

    @property
    def address(self) -> str:
        return self.ready.removeprefix(READY).strip()

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Send a signal, if any; return the exit code and what else was written."""
        if number is not None:
            self.popen.send_signal(number)
        output, error = self.popen.communicate(timeout=WAIT_S)
        return self.popen.returncode, output, error


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[Process]:
    started = Process(*arguments)
    try:
        yield started
    finally:
        started.popen.kill()
        started.popen.communicate()


MEMORY = ("--engine", "memory", "--grpc-address", "127.0.0.1:0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_serves_and_drains_on_a_signal(number: signal.Signals) -> None:
    with process(*MEMORY) as server:
        assert server.ready.startswith(READY)
        with stubs_of(server.address) as stubs:
            stubs.make_index()
            stream = PutStream(stubs)
            assert stream.ask(put_message(1, vector_of("a"))).stored.vector_count == 1
            server.popen.send_signal(number)
            assert refused(stream.read).reason == "ERROR_REASON_SERVICE_UNAVAILABLE"
        code, output, error = server.end()
        assert (code, output) == (0, "")
        lines = [json.loads(line) for line in error.splitlines()]
        assert [line["event"] for line in lines if line["event"] != "call"] == [
            "serving",
            "stopping",
            "stopped",
        ]
        assert [line["method"] for line in lines if line["event"] == "call"] == [
            "PutVectorBucket",
            "PutVectorIndex",
            "PutVectors",
        ]


def test_second_process_on_the_same_port_says_so_and_ends_with_1() -> None:
    with process(*MEMORY) as first:
        with process("--engine", "memory", "--grpc-address", first.address) as second:
            code, output, error = second.end()
            assert (code, second.ready, output) == (1, "", "")
            last = error.splitlines()[-1]
            assert last == (
                f"vectorbucket-server: cannot serve on {first.address}: Address already in use"
            )
        assert first.end(signal.SIGTERM)[0] == 0


def test_process_with_bad_settings_ends_with_2() -> None:
    with process("--streams-max", "0") as server:
        code, output, error = server.end()
        assert (code, server.ready, output) == (2, "", "")
        assert error.startswith("vectorbucket-server: streams_max is '0'")
