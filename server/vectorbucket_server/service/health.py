"""The standard health service: of the server as a whole, and of each index as ``BUCKET/INDEX``.

What SERVING means:

- the server, under the empty name: it takes calls, and has not been told to stop. To start it anew
  would help nobody while what its engine works with is away, so liveness probes ask for this one;
- its services, under their names: the server is SERVING, and what its engine works with (Milvus,
  say) answers. Readiness probes and load balancers ask for one of these;
- an index: its queries are answered. One that is not in memory is loaded by the first of them, so
  it is SERVING, too: if it were not, nobody would send it the query that brings it back. So is one
  into which nothing can be put because the disk is full, as all that is in it is found. Whether an
  index is in memory, and whether writes are refused, is told by GetVectorIndex and by the metrics.

NOT_SERVING is a server that was told to stop, and with it all its indexes; and an index of an
engine that cannot work.

Rules of this file: whoever asks for the server needs no credentials, because probes have none; for
an index the caller needs the right to GetVectorIndex there, and who watches is asked again at every
look. It waits on threads of its own for as long as somebody watches.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vectorbucket.errors import NoSuchVectorIndex, NotFound, ServerError
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.auth.principal import begin, current_caller
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.naming import shown
from vectorbucket_server.service.feed import Drain
from vectorbucket_server.service.resources import Resources

LOOK_EVERY_S = 0.5
"""How often a watcher looks whether the state of its index is another; of a drain it hears at once.
"""

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"

_RIGHT = "GetVectorIndex"
"""The RPC that tells as much of an index, and whose right is asked for."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Answers Check and Watch."""

    def __init__(
        self,
        engine: Engine,
        resources: Resources,
        *,
        authenticator: Authenticator,
        drain: Drain,
        services: Collection[str],
    ) -> None:
        """Take what is asked.

        Args:
            engine: Keeps the indexes.
            resources: Finds them, for those who may know of them.
            authenticator: Knows who watches, also when the credentials have changed.
            drain: Knows whether the server was told to stop.
            services: Full names of the services that are the server.
        """
        self._engine = engine
        self._resources = resources
        self._authenticator = authenticator
        self._drain = drain
        self._services = frozenset({"", *services})

    def is_about_server(self, request: Any) -> bool:
        """Return whether a request is about the server as a whole."""
        return request.service in self._services

    def Check(  # noqa: N802 - as the contract has it
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,  # noqa: ARG002 - of the signature
    ) -> health_pb2.HealthCheckResponse:
        """Return the state of a service.

        Raises:
            NotFound: There is no such service or index.
            VectorBucketError: The caller may not know of it.
        """
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    def Watch(  # noqa: N802 - as the contract has it
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """Yield the state of a service now and whenever it is another, until the server drains.

        Raises:
            VectorBucketError: The caller may not know of it, or no longer.
        """
        changed = threading.Event()
        last = None
        with self._drain.tell(changed.set):
            context.add_callback(changed.set)
            while context.is_active():
                changed.clear()
                # In this order, so that the last state of all is that of a drain.
                is_last = self._drain.has_begun
                status = self._watched_status(request.service)
                if status != last:
                    yield health_pb2.HealthCheckResponse(status=status)
                    last = status
                if is_last:
                    return
                changed.wait(LOOK_EVERY_S)

    def _watched_status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        """Return the state of a service that may yet come."""
        if service not in self._services:
            caller = current_caller()
            renewed = self._authenticator.renewed(caller)
            if renewed is not caller:
                begin(renewed)
        try:
            return self._status(service)
        except NotFound:
            return _SERVICE_UNKNOWN

    def _status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        """Return the state of a service that exists."""
        if service and not self._can_work(service):
            return _NOT_SERVING
        return _NOT_SERVING if self._drain.is_announced else _SERVING

    def _can_work(self, service: str) -> bool:
        """Return whether the engine can work on an index, or at all, for one of the services.

        Raises:
            NotFound: It does not exist.
            VectorBucketError: The caller may not know of it, or the name is not legal.
        """
        if service in self._services:
            return self._engine_works()
        bucket, slash, index_name = service.partition("/")
        if not slash:
            raise NoSuchVectorIndex(
                f"there is no service {shown(service)}; that of an index is named BUCKET/INDEX"
            )
        if not self._engine_works():
            # Whether the caller may know of the index is not to be found out now, either.
            return False
        index = self._resources.index(_RIGHT, bucket, index_name)
        try:
            self._engine.index_statistics(index)
        except ServerError:
            return False
        return True

    def _engine_works(self) -> bool:
        """Return whether what the engine works with is there."""
        try:
            self._engine.check()
        except ServerError:
            return False
        return True
