"""Writers who try again for as long as they are refused, and a reader whom nothing may disturb.

They use the bare stubs, so that no client makes good what the server loses. What is tried again is
the same operation, so that doing it twice changes nothing, and a ledger's order holds.

Rules of this file: they work until they are stopped, and remember what they were told; what they
may be told is said by the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from types import TracebackType
from typing import Any, Self

import grpc

from durability.ledger import Ledger, Operation, data_of, random_operations
from durability.test_kill import BUCKET, DIMENSION, INDEX, messages
from rooms import WITHIN_S, eventually
from vectorbucket.v1 import vector_pb2, vector_service_pb2, vector_service_pb2_grpc

UNANSWERED_MAX = 4

ERASED_COUNT = 1_600
"""Vectors whose deletes together are more than RocksDB sets aside for its log."""

_PAUSE_S = 0.05
"""Before what was refused is tried again, and between two rounds of the reader."""

Stub = vector_service_pb2_grpc.VectorServiceStub


@dataclass(eq=False)
class Writer:
    """One writer, its book, and what it was told when it was refused."""

    seed: int
    prefix: str
    batch_max: int = 100
    delete_share: float = 0.0
    pause_s: float = 0.0
    """Between two operations."""
    ledger: Ledger = field(default_factory=lambda: Ledger(DIMENSION))
    refusals: list[grpc.RpcError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._operations = random_operations(
            self.seed,
            self.prefix,
            keys=2_000,
            batch_max=self.batch_max,
            delete_share=self.delete_share,
        )

    def next_operation(self) -> Operation:
        """Return what is to be done next, noted as begun."""
        operation = next(self._operations)
        self.ledger.begun(operation)
        return operation

    def run(self, stub: Stub, stopped: threading.Event) -> None:
        """Put and delete, one batch after the other."""
        while not stopped.is_set():
            self.do(stub, self.next_operation(), stopped)
            if self.pause_s:
                stopped.wait(self.pause_s)

    def do(self, stub: Stub, operation: Operation, stopped: threading.Event) -> None:
        """Do an operation, however often it takes."""
        named: Any = {"bucket": BUCKET, "index_name": INDEX}
        while True:
            try:
                if operation.deletes:
                    stub.DeleteVectors(
                        vector_service_pb2.DeleteVectorsRequest(**named, keys=operation.keys)
                    )
                else:
                    stub.PutVectorsBatch(
                        vector_service_pb2.PutVectorsBatchRequest(
                            **named, vectors=messages(operation)
                        )
                    )
            except grpc.RpcError as error:
                self.refusals.append(error)
                if stopped.wait(_PAUSE_S):
                    return
            else:
                self.ledger.answered()
                return


class StreamWriter(Writer):
    """Streams batches of puts, a few of them unanswered; a stream that ends is taken up again."""

    def run(self, stub: Stub, stopped: threading.Event) -> None:
        """Put."""
        for life in count():
            if stopped.is_set():
                return
            room, ended = threading.Semaphore(UNANSWERED_MAX), threading.Event()
            left = list(self.ledger.under_way)
            requests = self._requests(f"{self.prefix}-{self.seed}-{life}", left, room, ended)
            call = stub.PutVectors(requests)
            try:
                for answer in call:
                    assert not answer.HasField("error"), answer.error
                    self.ledger.answered()
                    room.release()
                    if stopped.is_set():
                        call.cancel()
            except grpc.RpcError as error:
                if not stopped.is_set():
                    self.refusals.append(error)
            finally:
                ended.set()
                room.release()
            stopped.wait(_PAUSE_S)

    def _requests(
        self,
        stream_id: str,
        left: Sequence[Operation],
        room: threading.Semaphore,
        ended: threading.Event,
    ) -> Iterator[vector_service_pb2.PutVectorsRequest]:
        """Yield what an earlier stream left unanswered, then more."""
        for number in count(1):
            room.acquire()
            if ended.wait(self.pause_s):
                return
            yield vector_service_pb2.PutVectorsRequest(
                bucket=BUCKET,
                index_name=INDEX,
                stream_id=stream_id,
                batch_number=number,
                vectors=messages(
                    left[number - 1] if number <= len(left) else self.next_operation()
                ),
            )


@dataclass(eq=False)
class Eraser(Writer):
    """Deletes long keys when it is told to, and puts them again when it is told to.

    A delete has no row: it is written to the store alone, and with such keys it is half a megabyte.
    """

    erases: threading.Event = field(default_factory=threading.Event)
    """Whether to delete."""

    def run(self, stub: Stub, stopped: threading.Event) -> None:
        """Put all and delete all, in turns."""
        for version in count(1):
            batches = [
                tuple(
                    f"{self.prefix}{number:03d}".ljust(1_000, "x") for number in range(first, last)
                )
                for first, last in pairwise(range(0, ERASED_COUNT + 1, 400))
            ]
            for wanted, deletes in ((False, False), (True, True)):
                while not stopped.is_set() and self.erases.is_set() is not wanted:
                    stopped.wait(_PAUSE_S)
                for keys in batches:
                    if stopped.is_set():
                        return
                    operation = Operation(keys, 0 if deletes else version)
                    self.ledger.begun(operation)
                    self.do(stub, operation, stopped)


@dataclass(eq=False)
class Reader:
    """Reads vectors that nobody changes, in every way, for ever; each answer has to be right."""

    keys: Sequence[str]
    rounds: int = 0

    def run(self, stub: Stub, stopped: threading.Event) -> None:
        """Read."""
        named: Any = {"bucket": BUCKET, "index_name": INDEX}
        rows = [data_of(key, 1, DIMENSION).tobytes() for key in self.keys]
        queries = [vector_pb2.VectorData(float32_le=row) for row in rows]
        while not stopped.wait(_PAUSE_S):
            got = stub.GetVectors(
                vector_service_pb2.GetVectorsRequest(
                    **named,
                    keys=self.keys,
                    return_data=True,
                    data_encoding=vector_pb2.DATA_ENCODING_FLOAT32_LE,
                )
            )
            assert [(one.key, one.data.float32_le) for one in got.vectors] == list(
                zip(self.keys, rows, strict=True)
            )
            listed = stub.ListVectors(
                vector_service_pb2.ListVectorsRequest(**named, max_results=len(self.keys))
            )
            assert [one.key for one in listed.vectors] == sorted(self.keys)
            found = stub.QueryVectors(
                vector_service_pb2.QueryVectorsRequest(
                    **named, query_vector=queries[self.rounds % len(queries)], top_k=1
                )
            )
            assert [hit.key for hit in found.vectors] == [self.keys[self.rounds % len(queries)]]
            self.rounds += 1


class Crowd:
    """Writers and a reader at work over one channel."""

    def __init__(
        self, target: str, writers: Sequence[Writer], reader: Reader, eraser: Eraser
    ) -> None:
        self.writers, self.reader, self.eraser = writers, reader, eraser
        self._stopped = threading.Event()
        self._channel = grpc.insecure_channel(target)
        self._pool = ThreadPoolExecutor(len(writers) + 2)
        stub = Stub(self._channel)  # type: ignore[no-untyped-call]
        runs = [*(one.run for one in writers), eraser.run, reader.run]
        self._futures: list[Future[None]] = [
            self._pool.submit(run, stub, self._stopped) for run in runs
        ]

    def wait(self, holds: Callable[[], object], what: str) -> None:
        """Return once something holds; fail if it does not, or if one of them failed."""

        def holds_or_failed() -> object:
            return any(one.done() for one in self._futures) or holds()

        eventually(holds_or_failed, what)
        for one in self._futures:
            if one.done():
                one.result()

    def wait_for_writes(self) -> None:
        """Return once every writer has had some more operations acknowledged."""
        wanted = [(one, one.ledger.acknowledged + 3) for one in self.writers]
        self.wait(
            lambda: all(one.ledger.acknowledged >= enough for one, enough in wanted),
            "writes are acknowledged",
        )

    def wait_for_refusals(self, writers: Sequence[Writer]) -> None:
        """Return once each of these was refused some more times."""
        wanted = [(one, len(one.refusals) + 3) for one in writers]
        self.wait(
            lambda: all(len(one.refusals) >= enough for one, enough in wanted), "writes are refused"
        )

    def forgive(self) -> None:
        """Forget what writers were told."""
        for writer in (*self.writers, self.eraser):
            writer.refusals.clear()

    def erase_until_refused(self) -> str:
        """Delete until that is refused; return how."""
        self.eraser.refusals.clear()
        self.eraser.erases.set()
        self.wait(lambda: self.eraser.refusals, "the store refuses")
        return self.eraser.refusals[0].details() or ""

    def wait_until_erased(self) -> None:
        """Return once all was deleted and put again."""
        ledger = self.eraser.ledger
        self.wait(lambda: not ledger.settled, "everything is deleted")
        self.eraser.erases.clear()
        self.wait_until_filled()

    def wait_until_filled(self) -> None:
        """Return once there is all that can be deleted."""
        self.wait(lambda: len(self.eraser.ledger.settled) == ERASED_COUNT, "everything is put")

    def wait_for_reads(self) -> None:
        """Return once the reader has read everything some more times."""
        enough = self.reader.rounds + 3
        self.wait(lambda: self.reader.rounds >= enough, "reads go on")

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Let everybody end in the block, however: the server is going away."""
        self._stopped.set()
        yield
        for one in self._futures:
            one.exception(WITHIN_S)
        self._channel.close()
        self._pool.shutdown()

    def __enter__(self) -> Self:
        """Return the crowd at work."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send everybody home."""
        self._stopped.set()
        self._channel.close()
        self._pool.shutdown()
