"""The application: a body is read within its bounds, the translator answers.

Rules of this file: it knows ASGI and no sockets; what a request says is for the translator to
understand, here only its size matters. A table of routes, so that what is no part of the dialect
can stand beside it.
"""

from __future__ import annotations

from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from vectorbucket.errors import (
    EntityTooLarge,
    InternalError,
    VectorBucketError,
)
from vectorbucket_server.rest.admission import BodyBudget, BodyShare
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse

TARGET = "vectorbucket.target"
"""The member of a scope that holds the target of the request line as bytes, as it was sent."""

REFUSAL = "vectorbucket.refusal"
"""The member of a scope that holds the error to answer with, of a request that is not fit to be
read. It is absent otherwise."""

CLOSE = (b"connection", b"close")
"""The header that says that an answer is the connection's last."""


class Answers(Protocol):
    """Who answers requests, and says refusals in the dialect; the translator does."""

    async def translate(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to a request; never raises an error of its own."""

    def refused(self, error: VectorBucketError, host: str = "") -> HttpResponse:
        """Return how an error is told to a caller who asked for a host."""


def make_app(answers: Answers, options: RestOptions) -> Starlette:
    """Return the application that serves the dialect.

    Args:
        answers: Who answers.
        options: The bounds of bodies.
    """

    async def failed(request: Request, _: Exception) -> Response:
        """Answer where nobody foresaw what happened; the server logs it."""
        error = InternalError("the request could not be answered")
        response = answers.refused(error, _host(request.scope))
        return Response(response.body, response.status, dict(response.headers))

    return Starlette(
        routes=[Route("/{path:path}", Dialect(answers, options))],
        exception_handlers={Exception: failed},
    )


class Dialect:
    """The dialect as an ASGI application."""

    def __init__(self, answers: Answers, options: RestOptions) -> None:
        self._answers = answers
        self._options = options
        self._budget = BodyBudget(options.in_flight_bytes_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._response_to(scope, receive)
        except VectorBucketError as error:
            # What is left of its body is not read, so it is the connection's last.
            await _answer(send, self._answers.refused(error, _host(scope)), CLOSE)
        else:
            if response is not None:
                await _answer(send, response)

    async def _response_to(self, scope: Scope, receive: Receive) -> HttpResponse | None:
        """Return the answer to a request, or None if nobody waits for it.

        Raises:
            VectorBucketError: It cannot be read.
        """
        if refusal := scope.get(REFUSAL):
            raise refusal
        with self._budget.share() as share:
            body = await self._read_body(scope, receive, share)
            if body is None:
                return None
            return await self._answers.translate(_request_of(scope, body))

    async def _read_body(self, scope: Scope, receive: Receive, share: BodyShare) -> bytes | None:
        """Return the body, or None if the client went away.

        Raises:
            EntityTooLarge: It is larger than it may be; raised as soon as that is known.
            QpsLimitExceeded: There is no room for it.
            VectorBucketError: It did not come in time, or is not framed as a body has to be; the
                listener says so.
        """
        self._admit(_content_length(scope), share)
        parts: list[bytes] = []
        size_bytes, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part: bytes = message.get("body", b"")
            size_bytes += len(part)
            self._admit(size_bytes, share)
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _admit(self, size_bytes: int, share: BodyShare) -> None:
        """Let a body have so many bytes.

        Raises:
            EntityTooLarge: It may not have so many.
            QpsLimitExceeded: There is no room for them.
        """
        limit = self._options.body_bytes_max
        if size_bytes > limit:
            raise EntityTooLarge(
                f"the body has {size_bytes} bytes or more; the limit is {limit}",
                details={"limit": str(limit)},
            )
        share.grow_to(size_bytes)


async def _answer(send: Send, response: HttpResponse, *more_headers: tuple[bytes, bytes]) -> None:
    """Send an answer."""
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers
    ]
    start: Message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": [*headers, *more_headers],
    }
    await send(start)
    await send({"type": "http.response.body", "body": response.body})


def _request_of(scope: Scope, body: bytes) -> HttpRequest:
    """Return what the translator is asked."""
    return HttpRequest(
        method=scope["method"],
        target=scope[TARGET].decode("latin-1"),
        headers=tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ),
        body=body,
    )


def _content_length(scope: Scope) -> int:
    """Return how long the body says it is; 0 if it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0


def _host(scope: Scope) -> str:
    """Return the host that was asked for: of an absolute target, or of the Host header."""
    scheme, found, rest = scope.get(TARGET, b"").partition(b"://")
    if found and b"/" not in scheme:
        return str(rest.partition(b"/")[0].partition(b"?")[0].decode("latin-1"))
    hosts = (value.decode("latin-1") for name, value in scope["headers"] if name == b"host")
    return next(hosts, "")
