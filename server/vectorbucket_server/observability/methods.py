"""The methods that a server may serve: of which service each is, and whether it streams.

Rules of this file: the contract's own descriptions say it, so that no method can be forgotten; a
method's name stands alone, as in log lines, because no two services share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)

UNKNOWN = "unknown"
"""What a method is called that is none of the server's, whatever the caller calls it."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service."""

    service: str
    """The full name, as ``vectorbucket.v1.VectorService``."""
    streams: bool
    """Whether there can be more than one message, in either direction."""


_STANDARD: Mapping[str, Method] = {
    "Check": Method("grpc.health.v1.Health", streams=False),
    "List": Method("grpc.health.v1.Health", streams=False),
    "Watch": Method("grpc.health.v1.Health", streams=True),
    "ServerReflectionInfo": Method("grpc.reflection.v1alpha.ServerReflection", streams=True),
}
"""Those of the standard services that may stand beside ours."""


def _ours() -> dict[str, Method]:
    """Return the methods of the contract, by name."""
    files = (bucket_service_pb2, index_service_pb2, vector_service_pb2, operations_service_pb2)
    return {
        method.name: Method(
            service.full_name, streams=method.client_streaming or method.server_streaming
        )
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


METHODS: Mapping[str, Method] = {**_ours(), **_STANDARD}
"""Every method by its name."""


def label_of(method: str) -> str:
    """Return what a method is called where only so many names may occur."""
    return method if method in METHODS else UNKNOWN
