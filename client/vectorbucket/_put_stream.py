"""The streaming put: batches go out, answers come in, broken connections are resumed.

Rules of this file:

- One thread, the caller's, decides everything; a second one only carries answers from gRPC into a
  queue, so that whoever waits for one can wait with a deadline.
- What is not answered is kept, to be sent again: a window that is bounded in messages and in bytes,
  and the only thing here that grows.
- A broken connection is followed by another with the same stream id, on which everything
  unanswered is sent again under its old number. A stream that was superseded is never resumed.

Source: the comments of PutVectors in proto/vectorbucket/v1/vector_service.proto.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import grpc

from vectorbucket._batching import Batch
from vectorbucket._models import RejectedBatch
from vectorbucket._retry import Patience, Pause
from vectorbucket._tally import Tally
from vectorbucket.errors import InternalError, RequestTimeout, VectorBucketError
from vectorbucket.status import error_of_call, error_of_status
from vectorbucket.v1 import vector_service_pb2

WINDOW_MESSAGES = 8
"""Messages that may be unanswered. Source: tried with 20,000 vectors of 384 numbers over loopback,
where more than 4 gain nothing; a longer way to the server needs more."""

WINDOW_BYTES = 32 * 1024 * 1024
"""Bytes that may be unanswered, but for a single larger message: four of the largest batches."""

END_WAIT_S = 2.0
"""Seconds to wait for the end of a stream after its last answer: a network's way and back."""

Request: TypeAlias = vector_service_pb2.PutVectorsRequest
Response: TypeAlias = vector_service_pb2.PutVectorsResponse
OpenCall: TypeAlias = Callable[[Iterator[Request]], Any]
"""The stub's PutVectors: takes the messages to send, returns the call."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a stream goes, and how it is called there.

    Attributes:
        bucket: The bucket.
        index_name: The index.
        stream_id: Names the stream across connections.
    """

    bucket: str
    index_name: str
    stream_id: str


class Answer(NamedTuple):
    """What became of a batch: stored if there is no error."""

    batch: Batch
    error: VectorBucketError | None


class _Connection:
    """One call of PutVectors: what one connection carries of a stream."""

    def __init__(self, open_call: OpenCall) -> None:
        self._outbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[Response | grpc.RpcError | None] = queue.SimpleQueue()
        self._call = open_call(iter(self._outbox.get, None))
        reader = threading.Thread(target=self._read, name="vectorbucket-answers", daemon=True)
        reader.start()

    def _read(self) -> None:
        """Carry answers to the inbox; then how the call ended, None if well."""
        try:
            for response in self._call:
                self._inbox.put(response)
        except grpc.RpcError as ended:
            self._inbox.put(ended)
        else:
            self._inbox.put(None)

    def send(self, message: Request) -> None:
        """Send a message when gRPC and the server are ready for it; do not wait for that."""
        self._outbox.put(message)

    def half_close(self) -> None:
        """Say that no message follows."""
        self._outbox.put(None)

    def receive(self, timeout_s: float) -> Response | grpc.RpcError | None:
        """Return the next answer, or how the call ended.

        Raises:
            queue.Empty: Neither came in time.
        """
        return self._inbox.get(block=timeout_s > 0, timeout=timeout_s)

    def close(self) -> None:
        """Give the call up, whatever is under way."""
        self._call.cancel()
        # gRPC's own thread waits for messages: let it go.
        self._outbox.put(None)


class PutStream:
    """One stream of batches, over as many connections as it takes.

    Args:
        open_call: Opens a connection.
        destination: Where to.
        patience: For how long a broken connection is tried again without progress.
        answer_timeout_s: Seconds to wait for each answer.
        pause: How to wait before connecting again.
    """

    def __init__(
        self,
        open_call: OpenCall,
        destination: Destination,
        *,
        patience: Patience,
        answer_timeout_s: float,
        pause: Pause,
    ) -> None:
        self._open_call = open_call
        self._destination = destination
        self._patience = patience
        self._answer_timeout_s = answer_timeout_s
        self._pause = pause
        self._connection: _Connection | None = None
        self._window: deque[Batch] = deque()
        self._window_bytes = 0
        self._last_number = 0
        self._finished = False

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give up what is not finished."""
        if self._connection is not None:
            self._connection.close()

    @property
    def unanswered(self) -> int:
        """How many batches were sent and not answered."""
        return len(self._window)

    def has_room_for(self, batch: Batch) -> bool:
        """Return whether the batch may be sent before another answer is taken."""
        if not self._window:
            return True
        fits = self._window_bytes + batch.size_bytes <= WINDOW_BYTES
        return fits and len(self._window) < WINDOW_MESSAGES

    def send(self, batch: Batch) -> None:
        """Send a batch, for which there must be room."""
        self._last_number += 1
        message = batch.message
        message.bucket = self._destination.bucket
        message.index_name = self._destination.index_name
        message.stream_id = self._destination.stream_id
        message.batch_number = self._last_number
        self._window.append(batch)
        self._window_bytes += batch.size_bytes
        if self._connection is None:
            self._connection = _Connection(self._open_call)
        self._connection.send(message)

    def arrived(self) -> Answer | None:
        """Return the next answer if it is here already, else None.

        Raises:
            VectorBucketError: The stream ended, and not for a reason to resume it.
        """
        try:
            return self._answer(0)
        except queue.Empty:
            return None

    def wait(self) -> Answer:
        """Return the next answer; at least one batch must be unanswered.

        Raises:
            VectorBucketError: The stream ended, and not for a reason to resume it.
            RequestTimeout: The answer did not come in time.
        """
        try:
            return self._answer(self._answer_timeout_s)
        except queue.Empty:
            number = self._window[0].message.batch_number
            raise self._ended(
                RequestTimeout(
                    f"batch {number} of the stream was not answered within "
                    f"{self._answer_timeout_s:g} s",
                    details={"batch_number": str(number)},
                )
            ) from None

    def finish(self) -> None:
        """Say that no batch follows; answers may still be waited for."""
        self._finished = True
        if self._connection is not None:
            self._connection.half_close()

    def wait_for_end(self) -> None:
        """Wait a moment for the server to end a stream on which all was answered.

        How it ends changes nothing any more; but a server that was not left in the middle of a call
        has a permit free for the next one.
        """
        if self._connection is not None:
            with suppress(queue.Empty):
                self._connection.receive(END_WAIT_S)

    def _answer(self, timeout_s: float) -> Answer:
        """Return the next answer, resuming the stream as often as it takes.

        Raises:
            queue.Empty: No answer came in time.
            VectorBucketError: The stream ended.
        """
        while self._connection is not None and self._window:
            received = self._connection.receive(timeout_s)
            if isinstance(received, grpc.RpcError):
                self._resume(received)
            elif received is None:
                raise self._ended(InternalError("the server ended the stream before answering all"))
            else:
                return self._matched(received)
        raise queue.Empty

    def _matched(self, response: Response) -> Answer:
        """Take the batch that a response answers out of the window."""
        batch = self._window[0]
        if response.batch_number != batch.message.batch_number:
            raise self._ended(
                InternalError(
                    f"the server answered batch {response.batch_number} when "
                    f"{batch.message.batch_number} was due"
                )
            )
        self._window.popleft()
        self._window_bytes -= batch.size_bytes
        self._patience.progressed()
        error = error_of_status(response.error) if response.HasField("error") else None
        return Answer(batch, error)

    def _resume(self, ended: grpc.RpcError) -> None:
        """Connect again and send all that is unanswered, or raise how the connection ended."""
        assert self._connection is not None  # noqa: S101 - for types: a connection ended
        self._connection.close()
        error = error_of_call(ended)
        delay_s = self._patience.delay_s(error)
        if delay_s is None:
            raise self._ended(error) from ended
        self._pause(delay_s)
        self._connection = _Connection(self._open_call)
        for batch in self._window:
            self._connection.send(batch.message)
        if self._finished:
            self._connection.half_close()

    def _ended(self, error: VectorBucketError) -> VectorBucketError:
        """Return the error with the place from which a caller could put again."""
        if self._window:
            place = str(self._window[0].first_position)
            error.details.setdefault("first_unanswered_position", place)
        return error


def put_batches(stream: PutStream, batches: Iterable[Batch | RejectedBatch], tally: Tally) -> None:
    """Send all batches and tell the tally what became of each.

    Building the next batch overlaps with the server's work on those before it.

    Raises:
        VectorBucketError: The stream ended before all were answered.
    """
    for batch in batches:
        if isinstance(batch, RejectedBatch):
            tally.rejected(batch)
            continue
        while not stream.has_room_for(batch):
            _count(tally, stream.wait())
        stream.send(batch)
        while answer := stream.arrived():
            _count(tally, answer)
    stream.finish()
    while stream.unanswered:
        _count(tally, stream.wait())
    stream.wait_for_end()


def _count(tally: Tally, answer: Answer) -> None:
    """Tell the tally what became of a batch."""
    batch = answer.batch
    if answer.error is None:
        tally.stored(batch.count)
    else:
        tally.rejected(RejectedBatch(batch.first_position, batch.count, answer.error))
