"""The application: a body is read within its bounds, the translator answers, within bounds, too.

Rules of this file: it knows ASGI and no sockets; what a request says is for the translator to
understand, here only its size matters. Who sent a request is known by its head, as bodies are not
signed; so no body is read of a stranger, who could fill the memory with it. What is held is counted
until it is held no more: a body until it is answered, an answer until its client has taken it. A
table of routes, so that what is no part of the dialect can stand beside it: a page of plain text.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Message, Receive, Scope, Send

from vectorbucket.errors import (
    EntityTooLarge,
    InternalError,
    QpsLimitExceeded,
    VectorBucketError,
)
from vectorbucket_server.rest.admission import Budget, Share
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse, Identified
from vectorbucket_server.rest.parts import Parts

TARGET = "vectorbucket.target"
"""The member of a scope that holds the target of the request line as bytes, as it was sent."""

REFUSAL = "vectorbucket.refusal"
"""The member of a scope that holds the error to answer with, of a request that is not fit to be
read. It is absent otherwise."""

CLOSE = (b"connection", b"close")
"""The header that says that an answer is the connection's last."""


class Answers(Protocol):
    """Who answers requests, and says refusals in the dialect; the translator does."""

    def identify(self, request: HttpRequest) -> Identified:
        """Return who sent a request, of which the body is still missing."""

    async def translate(self, request: HttpRequest, identified: Identified) -> HttpResponse:
        """Return the answer to a request; never raises an error of its own."""

    def refused(self, error: VectorBucketError, host: str = "") -> HttpResponse:
        """Return how an error is told to a caller who asked for a host."""


class Page(Protocol):
    """Something that is no part of the dialect, asked for by GET."""

    def is_asked_for(self, request: HttpRequest) -> bool:
        """Return whether a request, of which the body is missing, is for this page."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the answer; never raises an error of its own."""


def make_app(answers: Answers, options: RestOptions, page: Page | None = None) -> Starlette:
    """Return the application that serves the dialect.

    Args:
        answers: Who answers.
        options: The bounds of bodies and answers.
        page: What stands beside the dialect, if something does.
    """

    async def failed(request: Request, _: Exception) -> Response:
        """Answer where nobody foresaw what happened; the server logs it."""
        error = InternalError("the request could not be answered")
        response = answers.refused(error, _host(request.scope))
        return Response(response.body, response.status, dict(response.headers))

    return Starlette(
        routes=[
            *([] if page is None else [_PageRoute(page)]),
            Route("/{path:path}", Dialect(answers, options)),
        ],
        exception_handlers={Exception: failed},
    )


class _PageRoute(BaseRoute):
    """The way to a page: by all of a request's head, not by its path alone."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a request is for the page; one that is not fit to be read is not."""
        fit = scope["method"] == "GET" and REFUSAL not in scope
        wanted = fit and self._page.is_asked_for(_request_of(scope))
        return (Match.FULL if wanted else Match.NONE), {}

    async def handle(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a request for the page; whatever body it has is not read."""
        await _answer(send, await self._page.answer(_request_of(scope)))


class Dialect:
    """The dialect as an ASGI application."""

    def __init__(self, answers: Answers, options: RestOptions) -> None:
        self._answers = answers
        self._options = options
        self._bodies = Budget(options.bodies_bytes_max, "bodies that are being worked on")
        self._unsent = Budget(options.answers_bytes_max, "answers that wait to be sent")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._response_to(scope, receive)
        except VectorBucketError as error:
            # What is left of its body is not read, so it is the connection's last.
            await _answer(send, self._answers.refused(error, _host(scope)), CLOSE)
        else:
            if response is not None:
                await self._answer(scope, send, response)

    async def _answer(self, scope: Scope, send: Send, response: HttpResponse) -> None:
        """Send an answer, or that there is no room for it.

        It does not wait for room: it would be held as well while it does.
        """
        with self._unsent.share() as share:
            try:
                share.grow_to(len(response.body))
            except QpsLimitExceeded as error:
                response = self._answers.refused(error, _host(scope))
            await _answer(send, response)

    async def _response_to(self, scope: Scope, receive: Receive) -> HttpResponse | None:
        """Return the answer to a request, or None if nobody waits for it.

        Raises:
            VectorBucketError: It cannot be read.
        """
        if refusal := scope.get(REFUSAL):
            raise refusal
        request = _request_of(scope)
        identified = self._answers.identify(request)
        if not identified.is_known:
            return await self._answers.translate(request, identified)
        with self._bodies.share() as share:
            body = await self._read_body(scope, receive, share)
            if body is None:
                return None
            return await self._answers.translate(replace(request, body=body), identified)

    async def _read_body(self, scope: Scope, receive: Receive, share: Share) -> bytes | None:
        """Return the body, or None if the client went away.

        Raises:
            EntityTooLarge: It is larger than it may be; raised as soon as that is known.
            QpsLimitExceeded: There is no room for it.
            VectorBucketError: It did not come in time, or is not framed as a body has to be; the
                listener says so.
        """
        self._check_size(_content_length(scope))
        parts, more = Parts(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.add(message.get("body", b""))
            self._check_size(parts.size_bytes)
            # What has come is counted and not what was announced, which costs the client nothing.
            share.grow_to(parts.size_bytes)
            more = message.get("more_body", False)
        return parts.take()

    def _check_size(self, size_bytes: int) -> None:
        """Refuse a body that has more bytes than it may have.

        Raises:
            EntityTooLarge: It has.
        """
        limit = self._options.body_bytes_max
        if size_bytes > limit:
            raise EntityTooLarge(
                f"the body has {size_bytes} bytes or more; the limit is {limit}",
                details={"limit": str(limit)},
            )


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


def _request_of(scope: Scope) -> HttpRequest:
    """Return what the translator is asked, without the body."""
    return HttpRequest(
        method=scope["method"],
        target=scope[TARGET].decode("latin-1"),
        headers=tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ),
        remote_address=_address_of(scope.get("client")),
    )


def _address_of(client: tuple[str, int] | None) -> str:
    """Return host and port of a client as text; empty if it has none."""
    if client is None:
        return ""
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
