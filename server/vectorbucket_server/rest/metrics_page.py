"""``GET /metrics`` on the REST listener: the metrics of the server behind it, for Prometheus.

It is no part of the dialect, so its answers are plain text. The caller's own API key is handed on,
and not the translator's: the server decides whether he may see them.

Rules of this file: nothing but exactly this request is taken, so that whatever the dialect may ever
ask for stays the dialect's; no error leaves it but as an answer.
"""

from __future__ import annotations

import re
from typing import Any

import grpc

from vectorbucket.errors import InvalidAccessKeyId, ServiceUnavailable, VectorBucketError
from vectorbucket.status import error_of_call
from vectorbucket.v1 import operations_service_pb2
from vectorbucket_server.auth.entries import AUTHORIZATION
from vectorbucket_server.rest.oss.browsers import refusal_of_browser
from vectorbucket_server.rest.oss.hosts import address_of
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse
from vectorbucket_server.rest.oss.traces import trace_entries
from vectorbucket_server.rest.oss.translator import Door

PATH = "/metrics"

TEXT = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
"""Of metrics. Source: Prometheus, exposition formats."""

PLAIN = ("content-type", "text/plain; charset=utf-8")
"""Of everything else that is said here."""

_SENDABLE = re.compile(r"[ -~]*", re.ASCII)


class MetricsPage:
    """Answers requests for metrics by asking a server."""

    def __init__(
        self, operations: Any, door: Door, *, asks_for_credentials: bool, timeout_s: float
    ) -> None:
        """Take what requests are answered with.

        Args:
            operations: The stub of the server's OperationsService.
            door: What is known of this place.
            asks_for_credentials: Whether callers of this door are asked who they are.
            timeout_s: Longest that the RPC may take.
        """
        self._operations = operations
        self._base_domains = frozenset(name.lower() for name in door.base_domains)
        self._own_names = (*self._base_domains, door.public_endpoint)
        self._asks_for_credentials = asks_for_credentials
        self._timeout_s = timeout_s

    def is_asked_for(self, request: HttpRequest) -> bool:
        """Return whether a request is for metrics: by GET, without a query, on no bucket's host."""
        if request.method != "GET" or not request.target.endswith(PATH):
            return False
        address = address_of(request, self._base_domains)
        on_bucket = address.host != address.service_host
        named = address.bucket == PATH[1:] and address.fault is None
        return named and not on_bucket and not address.query

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the metrics, or why they are not shown."""
        try:
            return HttpResponse(200, (TEXT,), (await self._text(request)).encode())
        except VectorBucketError as error:
            return refusal(error)

    async def _text(self, request: HttpRequest) -> str:
        """Return what the server says.

        Raises:
            VectorBucketError: It refuses, or a browser asks that may not know what it does.
        """
        if not self._asks_for_credentials:
            host = address_of(request, self._base_domains).host
            refused = refusal_of_browser(request.headers, host, self._own_names)
            if refused is not None:
                raise refused
        said = request.header(AUTHORIZATION)
        if not _SENDABLE.fullmatch(said):
            raise InvalidAccessKeyId("the API key has characters that no API key has")
        entries = trace_entries(request.headers)
        if said:
            entries = (*entries, (AUTHORIZATION, said))
        message = operations_service_pb2.GetMetricsRequest()
        try:
            answer = await self._operations.GetMetrics(
                message, metadata=entries, timeout=self._timeout_s
            )
        except grpc.RpcError as error:
            told = error_of_call(error)
            if told.request_id is None and isinstance(told, ServiceUnavailable):
                # gRPC's own words, which name addresses that are no caller's business.
                told = ServiceUnavailable("the server behind this address cannot be reached now")
            raise told from None
        except grpc.aio.UsageError:
            raise ServiceUnavailable("this translator is stopping") from None
        text: str = answer.text
        return text


def refusal(error: VectorBucketError) -> HttpResponse:
    """Return an error as plain text: of who is not known 401, and otherwise its own status."""
    body = f"{error.code}: {error.message}\n".encode("utf-8", "replace")
    if isinstance(error, InvalidAccessKeyId):
        return HttpResponse(401, (PLAIN, ("www-authenticate", "Bearer")), body)
    return HttpResponse(error.http_status, (PLAIN,), body)
