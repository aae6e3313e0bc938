"""What both halves of the client stand on: a channel, the stubs on it, and calls through them.

Rules of this file: owns the channel, from the constructor to ``close``; knows no operation. Time
and chance come into the client here, and go down from here as arguments.
"""

from __future__ import annotations

import random
import time
import uuid
from types import TracebackType
from typing import Any, Self

from vectorbucket._calls import Calls
from vectorbucket._channel import open_channel
from vectorbucket._retry import RetryPolicy
from vectorbucket._tls import Tls
from vectorbucket.v1 import (
    bucket_service_pb2_grpc,
    index_service_pb2_grpc,
    operations_service_pb2_grpc,
    vector_service_pb2_grpc,
)

# The generated stubs carry no types; the methods that use them do.
_BUCKETS: Any = bucket_service_pb2_grpc.BucketServiceStub
_INDEXES: Any = index_service_pb2_grpc.IndexServiceStub
_VECTORS: Any = vector_service_pb2_grpc.VectorServiceStub
_OPERATIONS: Any = operations_service_pb2_grpc.OperationsServiceStub


class Caller:
    """Holds the connection to one server.

    See ``Client`` for the arguments.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float = 30.0,
        answer_timeout_s: float = 120.0,
        resume_timeout_s: float = 60.0,
        retry: RetryPolicy | None = None,
        api_key: str | None = None,
        tls: bool | Tls | None = None,
    ) -> None:
        for name, seconds in (
            ("timeout_s", timeout_s),
            ("answer_timeout_s", answer_timeout_s),
            ("resume_timeout_s", resume_timeout_s),
        ):
            if not seconds > 0:
                raise ValueError(f"{name} is {seconds}; it must be more than 0")
        self._timeout_s = timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._resume_timeout_s = resume_timeout_s
        self._pause = time.sleep
        self._calls = Calls(
            retry if retry is not None else RetryPolicy(),
            clock=time.monotonic,
            chance=random.SystemRandom().random,
            pause=self._pause,
        )
        self._channel = open_channel(target, api_key, tls=tls)
        self._buckets = _BUCKETS(self._channel)
        self._indexes = _INDEXES(self._channel)
        self._vectors = _VECTORS(self._channel)
        self._operations = _OPERATIONS(self._channel)

    def close(self) -> None:
        """Close the connection, ending every call that is under way.

        Closing twice does nothing; a closed client makes no more calls.
        """
        self._channel.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def _new_stream_id(self) -> str:
        """Return an id that no other stream has."""
        return str(uuid.uuid4())

    def _call(
        self, method: Any, request: Any, timeout_s: float | None, *, repeatable: bool = True
    ) -> Any:
        """Return the answer to a request, within the call's own time or the client's."""
        seconds = self._timeout_s if timeout_s is None else timeout_s
        return self._calls.unary(method, request, timeout_s=seconds, repeatable=repeatable)
