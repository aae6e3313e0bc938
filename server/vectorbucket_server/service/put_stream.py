"""PutVectors: one call, many batches, one answer each.

Rules of this file: a batch's own faults are its answer and the stream goes on; everything else ends
the stream. What is which stands here and in the comment of PutVectors in vector_service.proto, and
nowhere else. Who calls, whether he may, and what bucket and index are, is asked again for every
message, because all of it may have changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack

from vectorbucket.errors import InvalidRequest, NoSuchVectorIndex, VectorBucketError
from vectorbucket.limits import Limits
from vectorbucket.status import to_status
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.auth.principal import begin, current_caller
from vectorbucket_server.engine.base import Deadline, Engine
from vectorbucket_server.model import Index
from vectorbucket_server.naming import check_stream_id, shown
from vectorbucket_server.observability.logs import CallRecord
from vectorbucket_server.service.batches import batch_of
from vectorbucket_server.service.checks import refused
from vectorbucket_server.service.feed import Drain, Feed
from vectorbucket_server.service.resources import Resources
from vectorbucket_server.service.streams import PutStream, StreamRegistry, superseded_error

_LATE_MAX = 16
"""Batches whose answers wait for each other; clients have fewer under way."""

_NEAR_S = 0.005
"""How long to wait for another batch before those that are stored are answered."""


class PutStreams:
    """Serves PutVectors; one for a server."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        resources: Resources,
        *,
        authenticator: Authenticator,
        registry: StreamRegistry,
        drain: Drain,
        readers: Executor,
    ) -> None:
        """Take what streams are served with.

        Args:
            engine: Stores the batches.
            limits: What callers are held to.
            resources: Finds the index, for those who may put there.
            authenticator: Knows who calls, also when the credentials have changed.
            registry: Knows which stream is the current one of its id.
            drain: Ends streams when the server stops.
            readers: Waits for the next message of each stream.
        """
        self.engine = engine
        self.limits = limits
        self.resources = resources
        self.authenticator = authenticator
        self.registry = registry
        self._drain = drain
        self._readers = readers
        self._visible_at_once = engine.capabilities.visible_at_once

    def answers(
        self,
        requests: Generator[messages.PutVectorsRequest, None, None],
        deadline: Deadline,
        record: CallRecord,
    ) -> Iterator[messages.PutVectorsResponse]:
        """Yield the answer to each message, in order, once it is durable or rejected.

        Args:
            requests: The call's messages.
            deadline: Over when the call is.
            record: The call's log record.

        Raises:
            VectorBucketError: What ends the stream.
        """
        feed = Feed(requests, self._readers)
        with ExitStack() as stack:
            stack.callback(feed.close)
            stack.enter_context(self._drain.watch(feed.interrupt))
            call: _PutCall | None = None
            late = _LateAnswers()
            try:
                for request in feed:
                    record.message_count += 1
                    if call is None:
                        call = _PutCall(self, request, feed, deadline, record)
                        stack.callback(call.stream.close)
                    late.add(call.answer(request))
                    # An idle stream must not keep its last message.
                    del request
                    if self._visible_at_once or late.is_time(feed):
                        yield from late.given(call)
            except VectorBucketError:
                # What was stored before is acknowledged before the stream ends.
                if call is not None:
                    yield from late.given(call)
                raise
            if call is not None:
                yield from late.given(call)


class _LateAnswers:
    """Answers to batches that are stored, and may not be given until readers see them.

    Where waiting for that takes long, it is done for several batches at once: for as many as the
    caller has sent, up to a bound.
    """

    def __init__(self) -> None:
        self._answers: list[messages.PutVectorsResponse] = []

    def add(self, answer: messages.PutVectorsResponse) -> None:
        """Keep an answer."""
        self._answers.append(answer)

    def is_time(self, feed: Feed[messages.PutVectorsRequest]) -> bool:
        """Return whether to wait for nothing more: nothing comes, or enough has come."""
        return len(self._answers) >= _LATE_MAX or not feed.is_near(_NEAR_S)

    def given(self, call: _PutCall) -> Iterator[messages.PutVectorsResponse]:
        """Yield the answers, in order, once readers see the batches.

        Raises:
            VectorBucketError: Readers may not see them; the answers are forgotten.
        """
        answers, self._answers = self._answers, []
        if any(answer.HasField("stored") for answer in answers):
            call.wait_until_visible()
        yield from answers


class _PutCall:
    """One PutVectors call, from its first message on."""

    def __init__(
        self,
        streams: PutStreams,
        first: messages.PutVectorsRequest,
        feed: Feed[messages.PutVectorsRequest],
        deadline: Deadline,
        record: CallRecord,
    ) -> None:
        if not first.bucket and not first.index_name:
            raise refused("index_name", "the stream's first message names no bucket and no index")
        self._engine = streams.engine
        self._limits = streams.limits
        self._resources = streams.resources
        self._authenticator = streams.authenticator
        self._bucket = first.bucket
        self._index_name = first.index_name
        self._stream_id = first.stream_id
        self._deadline = deadline
        self._record = record
        self._last_number = 0
        self._index = self._found()
        check_stream_id(self._stream_id, self._limits)
        self.stream: PutStream = streams.registry.open(
            self._index.index_id,
            self._stream_id,
            lambda: feed.interrupt(superseded_error(first.stream_id)),
        )

    def answer(self, request: messages.PutVectorsRequest) -> messages.PutVectorsResponse:
        """Store a batch and return the answer to it.

        Raises:
            VectorBucketError: What ends the stream.
        """
        index = self._same_index(request)
        number = self._next_number(request)
        try:
            batch = batch_of(request.vectors, index, self._limits)
        except InvalidRequest as error:
            self._record.batch_count += 1
            self._record.rejected_batch_count += 1
            status = to_status(error, self._record.request_id)
            return messages.PutVectorsResponse(batch_number=number, error=status)
        late = {} if self._engine.capabilities.visible_at_once else {"visible": False}
        self._engine.put_vectors(
            index,
            batch,
            guard=self.stream.guard(number),
            backlog_wait_s=None,
            deadline=self._deadline,
            **late,
        )
        self._record.batch_count += 1
        self._record.vector_count += len(batch)
        stored = messages.PutVectorsStored(vector_count=len(batch))
        return messages.PutVectorsResponse(batch_number=number, stored=stored)

    def wait_until_visible(self) -> None:
        """Return once readers see all batches that were stored.

        Raises:
            VectorBucketError: What ends the stream.
        """
        if not self._engine.capabilities.visible_at_once:
            self._engine.wait_until_visible(self._index, deadline=self._deadline)

    def _same_index(self, request: messages.PutVectorsRequest) -> Index:
        """Return the stream's index, which the message must not contradict."""
        for name, given, known in (
            ("bucket", request.bucket, self._bucket),
            ("index_name", request.index_name, self._index_name),
            ("stream_id", request.stream_id, self._stream_id),
        ):
            if given and given != known:
                raise refused(
                    name,
                    f"{name} is {shown(given)}; the stream's first message said {shown(known)}",
                    value=shown(given),
                )
        index = self._found()
        if index.index_id != self._index.index_id:
            # Deleted, and another one made under its name, which this stream never meant.
            raise NoSuchVectorIndex.of(self._bucket, self._index_name)
        return index

    def _found(self) -> Index:
        """Return the index that is there now, if the caller may still put into it."""
        caller = current_caller()
        renewed = self._authenticator.renewed(caller)
        if renewed is not caller:
            begin(renewed)
        return self._resources.index("PutVectors", self._bucket, self._index_name)

    def _next_number(self, request: messages.PutVectorsRequest) -> int:
        """Return the message's batch number, which must be higher than the one before."""
        number, last = request.batch_number, self._last_number
        if number <= last:
            raise refused(
                "batch_number",
                f"batch_number is {number}; it must be {last + 1} or more, because they ascend",
                value=number,
                limit=last + 1,
            )
        self._last_number = number
        return number
