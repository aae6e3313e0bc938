"""Our server killed, and Milvus killed, in the middle of streams of puts; then started again.

Writers and watchers work when the blow falls, and every answer that a watcher gets has to be right,
from the first one after the restart on. Writers use the bare stubs, so that no client makes good
what is lost; the client's own stream, which is resumed, is looked at by itself.

Rules of this file: the Milvus that all tests share is never killed; the one that is has a folder
and ports of its own. One Milvus is started, and killed, a round.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench_server import start_server
from durability.ledger import data_of
from durability.patient_writers import StreamWriter, Stub, Writer
from durability.test_kill import BUCKET, DIMENSION, INDEX
from durability.watchers import Watcher, check_all, set_to_work
from long_runs import Rounds
from milvus_server import MilvusServer
from oss.live_rest import milvus_flags
from rooms import eventually
from vectorbucket import Client, PutProgress, Vector
from vectorbucket.v1.vector_service_pb2 import DESCRIPTOR

IMPATIENT_S = 1.0
"""``timeout_s`` of the server that is to give up."""

PATIENT_S = 240.0
"""``timeout_s`` of the server whose callers are to notice nothing: Milvus starts in less."""

REFUSED_WITHIN_S = 4 * IMPATIENT_S + 5.0
"""What a question may take until it is refused: up to four calls of Milvus, on a busy machine."""

PAUSE_S = 0.03
"""Between two batches of a writer, so that in long runs there is not too much to look at."""

SERVICE = DESCRIPTOR.services_by_name["VectorService"].full_name
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

STREAMED = "streamed"
"""The index that the client's own stream fills."""


@contextmanager
def at_work(writers: Sequence[tuple[str, Writer]], watchers: Sequence[Watcher]) -> Iterator[None]:
    """Let watchers, and writers with the servers that they write to, work beside the block."""
    stopped = threading.Event()
    with ThreadPoolExecutor(len(writers) + len(watchers)) as pool, ExitStack() as stack:
        futures: list[Future[None]] = [pool.submit(one.run, stopped) for one in watchers]
        for target, writer in writers:
            channel = stack.enter_context(grpc.insecure_channel(target))
            stub = Stub(channel)  # type: ignore[no-untyped-call]
            futures.append(pool.submit(writer.run, stub, stopped))
        try:
            yield
        finally:
            stopped.set()
            for one in futures:
                one.result()


def go_on(writers: Sequence[Writer], watchers: Sequence[Watcher]) -> None:
    """Return once every writer has been acknowledged, and every watcher answered, some more."""
    wanted = [(one.ledger, one.ledger.acknowledged + 5) for one in writers]
    answered = [(one, one.rounds + 9) for one in watchers]
    eventually(
        lambda: (
            all(ledger.acknowledged >= enough for ledger, enough in wanted)
            and all(one.rounds >= enough for one, enough in answered)
        ),
        "writers and watchers go on",
    )


def make_index(target: str, name: str = INDEX) -> None:
    """Make an index, and the bucket with the first."""
    with Client(target) as client:
        if name == INDEX:
            client.put_vector_bucket(BUCKET)
        client.put_vector_index(BUCKET, name, dimension=DIMENSION, distance_metric="euclidean")


class ClientStream:
    """The client's own stream, which goes on until it is told to end, over whatever happens."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._ending = threading.Event()
        self.sent = 0
        self.stored = 0

    def run(self) -> int:
        """Put vectors; return how many the client says are stored."""
        with Client(self._target) as client:
            result = client.put_vectors(
                BUCKET, STREAMED, self._vectors(), progress=self._note, batch_vectors_max=50
            )
        return result.stored

    def end(self) -> None:
        """Say that no vector follows."""
        self._ending.set()

    def wait_for_more(self) -> None:
        """Return once some more are stored."""
        enough = self.stored + 500
        eventually(lambda: self.stored >= enough, "the client's stream goes on")

    def _note(self, progress: PutProgress) -> None:
        self.stored = progress.stored

    def _vectors(self) -> Iterator[Vector]:
        while not self._ending.is_set():
            key = f"c{self.sent:06d}"
            self.sent += 1
            yield Vector(key, data_of(key, 1, DIMENSION), {"key": key})


def test_killed_server_has_all_that_it_acknowledged_and_the_clients_stream_goes_on(
    milvus_server: MilvusServer, milvus_database: str, tmp_path: Path, rounds: Rounds
) -> None:
    rng = np.random.default_rng(60)
    flags = milvus_flags(milvus_server.uri, milvus_database)
    writers = [
        set_to_work(StreamWriter(1, "s", batch_max=20, pause_s=PAUSE_S)),
        set_to_work(Writer(2, "u", batch_max=10, delete_share=0.3, pause_s=PAUSE_S)),
    ]
    with start_server(tmp_path / "other", *flags) as other, ExitStack() as started:
        server = started.enter_context(start_server(tmp_path / "killed", *flags))
        make_index(server.target)
        make_index(server.target, STREAMED)
        stream, watcher = ClientStream(server.target), Watcher(other.target, writers)
        placed = [(server.target, one) for one in writers]
        with at_work(placed, [watcher]), ThreadPoolExecutor(1) as pool:
            streaming = pool.submit(stream.run)
            try:
                for _ in range(rounds(1, 10)):
                    go_on(writers, [watcher])
                    stream.wait_for_more()
                    # Anywhere in what a batch takes: it is the moment that is random.
                    threading.Event().wait(float(rng.uniform(0, 0.1)))
                    server.kill()
                    again = ("--grpc-address", server.target)
                    server = started.enter_context(
                        start_server(tmp_path / "killed", *flags, *again)
                    )
                    stream.wait_for_more()
                    go_on(writers, [watcher])
            finally:
                stream.end()
            assert streaming.result() == stream.sent
        assert not watcher.refusals, "the other server has nothing to do with it"
        assert all(
            one.code() is grpc.StatusCode.UNAVAILABLE
            for writer in writers
            for one in writer.refusals
        )
        check_all(server.target, writers, 60)
        with Client(server.target) as client:
            keys = [f"c{number:06d}" for number in range(stream.sent)]
            found = list(client.scan_vectors(BUCKET, STREAMED, return_data=True))
            assert [one.key for one in found] == keys
            assert all(
                one.data is not None
                and one.data.tobytes() == data_of(one.key, 1, DIMENSION).tobytes()
                for one in found
            )
            assert client.get_vector_index(BUCKET, STREAMED).vector_count == len(keys)


def health(target: str, service: str) -> int:
    """Return what a server says of itself, or of one of its services."""
    with grpc.insecure_channel(target) as channel:
        asked = health_pb2.HealthCheckRequest(service=service)
        status: int = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5.0).status
        return status


def check_outage(target: str, writer: Writer, watcher: Watcher) -> None:
    """Check what those hear who ask an impatient server while Milvus is away."""
    writer.refusals.clear()
    watcher.refusals.clear()
    eventually(lambda: writer.refusals and len(watcher.refusals) >= 3, "they are refused")
    assert health(target, SERVICE) == NOT_SERVING
    assert health(target, "") == SERVING, "to start it anew would help nobody"


def check_refusals(writer: Writer, watcher: Watcher) -> None:
    """Check that all who were refused were told why, and soon."""
    for error in writer.refusals:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "Milvus" in (error.details() or "")
    for refusal, seconds in watcher.refusals:
        assert "Milvus" in refusal.message
        assert seconds < REFUSED_WITHIN_S


@pytest.mark.usefixtures("milvus_package")
def test_killed_milvus_has_all_that_was_acknowledged(tmp_path: Path, rounds: Rounds) -> None:
    rng = np.random.default_rng(61)
    streaming, calling, hurried = writers = [
        set_to_work(StreamWriter(1, "s", batch_max=20, pause_s=PAUSE_S)),
        set_to_work(Writer(2, "u", batch_max=10, delete_share=0.3, pause_s=PAUSE_S)),
        set_to_work(StreamWriter(3, "i", batch_max=20, pause_s=PAUSE_S)),
    ]
    with ExitStack() as started:
        milvus = started.enter_context(MilvusServer(tmp_path / "milvus"))
        patient, impatient = (
            started.enter_context(
                start_server(tmp_path / str(seconds), *milvus_flags(milvus.uri, timeout_s=seconds))
            ).target
            for seconds in (PATIENT_S, IMPATIENT_S)
        )
        make_index(patient)
        calm, told = watchers = [Watcher(patient, writers), Watcher(impatient, writers)]
        placed = [(patient, streaming), (patient, calling), (impatient, hurried)]
        with at_work(placed, watchers):
            for _ in range(rounds(1, 10)):
                go_on(writers, watchers)
                threading.Event().wait(float(rng.uniform(0, 0.1)))
                milvus.kill()
                check_outage(impatient, hurried, told)
                milvus.restart()
                go_on(writers, watchers)
                eventually(lambda: health(impatient, SERVICE) == SERVING, "it serves again")
                check_refusals(hurried, told)
        assert not [*streaming.refusals, *calling.refusals, *calm.refusals], "nothing to be noticed"
        for target in (patient, impatient):
            check_all(target, writers, 61)
