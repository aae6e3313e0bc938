"""A real server, asked to stop with SIGTERM while everything is under way, and started again.

Four kinds of callers work when it comes: queries and puts by unary calls and requests over REST,
none of which tries again, and a put stream of the client, which does. Whatever was answered holds;
what was not answered was refused so that it can be tried again.
"""

from __future__ import annotations

import http.client
import itertools
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from durability.ledger import data_of
from long_runs import Rounds
from oss.live_rest import LiveProcess, serving
from raw_http import RawConnection
from rooms import WITHIN_S, eventually
from rpc import stubs_of
from vectorbucket import Client, PutResult
from vectorbucket.errors import VectorBucketError
from vectorbucket.v1 import vector_pb2
from vectorbucket.v1 import vector_service_pb2 as messages

VECTORS = "/vectorbucket.v1.VectorService"
BUCKET, INDEX, DIMENSION = "drained", "vectors", 32
PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}
HOST = f"{BUCKET}-1234567890.cn-hangzhou.oss-vectors.aliyuncs.com"
EARLY = ("--embedded", "graph_rows_min=50", "--embedded", "checkpoint_changes_min=1000000")
"""Options of an engine that makes a graph early and saves it at its end only."""


def vector_of(key: str) -> vector_pb2.Vector:
    """Return the vector of a key."""
    vector = vector_pb2.Vector(key=key)
    vector.data.float32_le = data_of(key, 1, DIMENSION).tobytes()
    return vector


def query() -> messages.QueryVectorsRequest:
    return messages.QueryVectorsRequest(**PLACE, top_k=5, query_vector=vector_of("query").data)


def make_index(target: str) -> None:
    with Client(target) as client:
        client.put_vector_bucket(BUCKET)
        client.put_vector_index(BUCKET, INDEX, dimension=DIMENSION, distance_metric="euclidean")


def check_content(target: str, must: set[str], may: set[str]) -> None:
    """Check that an index holds what it must, and else only what it may, once and byte by byte."""
    with Client(target) as client:
        found = list(client.list_vectors(BUCKET, INDEX, return_data=True))
        assert client.get_vector_index(BUCKET, INDEX).vector_count == len(found)
    keys = [one.key for one in found]
    assert len(keys) == len(set(keys))
    assert must <= set(keys)
    assert set(keys) <= must | may
    for one in found:
        assert one.data is not None
        assert one.data.tobytes() == data_of(one.key, 1, DIMENSION).tobytes()


class Load:
    """Callers who go on until they are told to end, and what came of their calls."""

    def __init__(self, server: LiveProcess) -> None:
        self.over = threading.Event()
        self.answered: set[str] = set()
        self.begun: set[str] = set()
        self.counts = {"query": 0, "put": 0, "rest": 0, "stream": 0}
        self.failures: list[str] = []
        self.results: list[PutResult] = []
        self._grpc, self._rest = server.grpc_address, server.rest_address

    def run(self, stack: ExitStack) -> None:
        """Start them; at the end of the stack they are told to end, and have to."""
        kinds = (self._query, self._put, self._ask_rest, self._stream)
        threads = [threading.Thread(target=kind, daemon=True) for kind in kinds]
        for thread in threads:
            thread.start()

        def end() -> None:
            self.over.set()
            for thread in threads:
                thread.join(WITHIN_S)
            assert not any(thread.is_alive() for thread in threads)

        stack.callback(end)

    def _keys(self, prefix: str) -> Iterator[str]:
        for number in itertools.count():
            if self.over.is_set():
                return
            key = f"{prefix}{number:06}"
            self.begun.add(key)
            yield key

    def _repeat(self, kind: str, call: Callable[[], object]) -> None:
        """Make a call, and note how it failed if it did."""
        try:
            call()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                self.failures.append(f"{kind}: {error.code()} {error.details()}")
            # As any client would.
            self.over.wait(0.02)
        else:
            self.counts[kind] += 1

    def _query(self) -> None:
        with stubs_of(self._grpc) as stubs:
            while not self.over.is_set():
                self._repeat("query", lambda: stubs.vectors.QueryVectors(query()))

    def _put(self) -> None:
        with stubs_of(self._grpc) as stubs:
            for key in self._keys("put"):

                def put(key: str = key) -> None:
                    request = messages.PutVectorsBatchRequest(**PLACE, vectors=[vector_of(key)])
                    stubs.vectors.PutVectorsBatch(request)
                    self.answered.add(key)

                self._repeat("put", put)

    def _ask_rest(self) -> None:
        for key in self._keys("rest"):
            numbers = data_of(key, 1, DIMENSION).tolist()
            vectors = [{"key": key, "data": {"float32": numbers}}]
            body = json.dumps({"indexName": INDEX, "vectors": vectors})
            try:
                with closing(http.client.HTTPConnection(self._rest, timeout=WITHIN_S)) as asked:
                    asked.request("POST", "/?putVectors", body, {"Host": HOST})
                    status = asked.getresponse().status
            except (OSError, http.client.HTTPException):
                status = 0  # no connection, or none any more: nobody answered
            if status == 200:
                self.answered.add(key)
                self.counts["rest"] += 1
            else:
                if status not in {0, 503}:
                    self.failures.append(f"rest: {status}")
                self.over.wait(0.02)

    def _stream(self) -> None:
        def vectors() -> Iterator[tuple[str, Any]]:
            for key in self._keys("stream"):
                self.counts["stream"] += 1
                yield key, data_of(key, 1, DIMENSION)

        try:
            with Client(self._grpc) as client:
                self.results.append(
                    client.put_vectors(BUCKET, INDEX, vectors(), batch_vectors_max=20)
                )
        except VectorBucketError as error:
            self.failures.append(f"stream: {error}")

    def goes_on(self) -> Callable[[], bool]:
        """Return a function that says whether every kind got some calls answered since now."""
        before = dict(self.counts)
        return lambda: all(self.counts[kind] >= before[kind] + 10 for kind in before)


def test_drain_under_load_fails_no_call_and_a_put_stream_survives_the_restart(
    tmp_path: Path, rounds: Rounds
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, *EARLY, credentials=""))
        addresses = ("--grpc-address", server.grpc_address, "--rest-address", server.rest_address)
        make_index(server.grpc_address)
        load = Load(server)
        with ExitStack() as working:
            load.run(working)
            for _ in range(rounds(1, 10)):
                eventually(load.goes_on(), "all kinds of calls are answered")
                assert server.end() == 0
                server = stack.enter_context(serving(tmp_path, *EARLY, *addresses, credentials=""))
            eventually(load.goes_on(), "all kinds of calls are answered again")
        assert load.failures == []
        (result,) = load.results
        streamed = {key for key in load.begun if key.startswith("stream")}
        assert (result.stored, result.rejected) == (len(streamed), [])
        check_content(server.grpc_address, load.answered | streamed, load.begun)
        assert server.end() == 0
        # It was not saved before.
        assert saved_in(tmp_path)
    failed = [one for one in server.lines() if one["level"] == "error"]
    assert failed == []


def nothing_until(over: threading.Event) -> Iterator[bytes]:
    """Yield nothing, and end only when it is over."""
    over.wait()
    yield from ()


def put_many(client: Client, count: int) -> set[str]:
    """Put so many vectors, and return their keys once the graph has them."""
    keys = [f"many{number:05}" for number in range(count)]
    rows = np.stack([data_of(key, 1, DIMENSION) for key in keys])
    assert client.put_vectors(BUCKET, INDEX, keys=keys, data=rows).stored == count
    eventually(
        lambda: client.get_vector_index(BUCKET, INDEX).pending_vector_count == 0, "all is indexed"
    )
    return set(keys)


def signalled_until_ended(server: LiveProcess) -> int:
    """Send SIGTERM now and then until a server has ended; return its exit code."""
    for _ in range(int(WITHIN_S / 0.3)):
        server.popen.send_signal(signal.SIGTERM)
        try:
            return server.popen.wait(0.3)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it did not end")


def saved_in(folder: Path) -> list[Path]:
    return list((folder / "data" / "generations").glob("*/*/checkpoint-*"))


def test_second_signal_ends_the_waiting_and_loses_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, *EARLY, "--drain-grace-s", "600", credentials="") as server:
        make_index(server.grpc_address)
        with Client(server.grpc_address) as client, stubs_of(server.grpc_address) as stubs:
            keys, over = put_many(client, 400), threading.Event()
            # One call of each door that does not end by itself.
            call: Any = stubs.channel.stream_stream(f"{VECTORS}/QueryVectors")  # type: ignore[call-arg]
            silent = call(nothing_until(over))
            stubs.vectors.QueryVectors(query())
            with RawConnection(server.rest_address) as request:
                head = f"PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n"
                request.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
                assert request.read(head_only=True).status == 100
                server.popen.send_signal(signal.SIGTERM)
                eventually(lambda: server.lines("stopping"), "the server stops")
                assert signalled_until_ended(server) == 0
                assert request.is_ended()
            with pytest.raises(grpc.RpcError) as caught:
                list(silent)
            over.set()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(server.lines("stopping at once")) == len(server.lines("stopped")) == 1
        # What only makes the next start quicker is left out.
        assert saved_in(tmp_path) == []
        assert [one for one in server.lines() if one["level"] in {"warning", "error"}] == []
    with serving(tmp_path, *EARLY, credentials="") as again:
        check_content(again.grpc_address, keys, set())
