"""One request on a connection and its answer: what an ASGI application receives and sends.

Rules of this file: it frames answers and never makes one up; head and body of an answer leave in
one piece; after an answer to a request that was not read to its end, nothing more is said. Whoever
sends an answer waits until it has left, so that they know for how long it is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from uvicorn._types import (
    ASGI3Application,
    ASGIReceiveEvent,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from vectorbucket.errors import VectorBucketError
from vectorbucket_server.rest.app import CLOSE
from vectorbucket_server.rest.parts import Parts

_BODILESS = frozenset({204, 304})
"""Statuses that have no body, and say no length of one."""

_PART_BYTES = 1024 * 1024
"""How much of a body may wait to be received."""

_UNREAD_BYTES = 64 * 1024
"""The same of a body that nobody has asked for yet; perhaps nobody will."""

_JOINED_BYTES_MAX = 64 * 1024
"""Bodies up to this size are copied behind their head, so that both leave in one packet."""

_logger = logging.getLogger(__name__)


class Exchange(RequestResponseCycle):
    """One request and its answer."""

    def __init__(
        self,
        scope: HTTPScope,
        *,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        expect_100_continue: bool,
        keep_alive: bool,
        on_answered: Callable[[Exchange], None],
    ) -> None:
        """Take a request of which the headers are known.

        Args:
            scope: What is known.
            transport: Where the answer goes.
            flow: Whether it takes any.
            default_headers: What every answer has that does not say otherwise.
            expect_100_continue: The client waits to be told to send its body.
            keep_alive: The client may ask more after this.
            on_answered: Is told when the answer has left, but for what fits into a packet or two.
        """
        super().__init__(
            scope=scope,
            transport=transport,
            flow=flow,
            logger=_logger,
            access_logger=_logger,
            access_log=False,
            default_headers=default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expect_100_continue,
            keep_alive=keep_alive,
            on_response=lambda: on_answered(self),
        )
        self.task: asyncio.Task[None] | None = None
        """What runs the application; None before it does."""
        self._parts = Parts()
        self._is_read = False
        self._fault: VectorBucketError | None = None
        self._start: HTTPResponseStartEvent | None = None

    def fail(self, fault: VectorBucketError) -> None:
        """Let whoever reads the rest of the body find an error instead of it."""
        self._fault = fault
        self.message_event.set()

    def abandon(self) -> None:
        """Break off: nobody waits for the answer."""
        self.disconnected = True
        if self.task is not None and not self.response_complete:
            self.task.cancel()

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the application; if that is broken off, so is the connection."""

        async def run(
            scope: object, receive: object, send: object, app: ASGI3Application = app
        ) -> None:
            try:
                await app(scope, receive, send)  # type: ignore[arg-type]
            except asyncio.CancelledError:
                self.disconnected = True
                self.transport.abort()

        await super().run_asgi(run)

    def feed(self, part: bytes) -> bool:
        """Take a part of the body, and return whether that is enough until it is received."""
        self._parts.add(part)
        self.message_event.set()
        return self._parts.size_bytes >= (_PART_BYTES if self._is_read else _UNREAD_BYTES)

    async def receive(self) -> ASGIReceiveEvent:
        """Return what has come of the body since the last time, when something has.

        Raises:
            VectorBucketError: It will never be whole.
        """
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        self._is_read = True
        idle = not self._parts.size_bytes and self._fault is None
        if idle and not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self._fault is not None:
            raise self._fault
        return {"type": "http.request", "body": self._parts.take(), "more_body": self.more_body}

    async def send(self, message: ASGISendEvent) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            # It waits for the body, so that both leave together.
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if self.more_body:
                self.keep_alive = False
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await self._send_whole(start, message)
                return
            await super().send(start)
        await super().send(message)

    async def _send_whole(
        self, start: HTTPResponseStartEvent, message: HTTPResponseBodyEvent
    ) -> None:
        """Send an answer that is all there."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        body = b"" if self.scope["method"] == "HEAD" else message.get("body", b"")
        head = self._head(start, len(message.get("body", b"")))
        self.response_started = True
        self.waiting_for_100_continue = False
        if len(body) <= _JOINED_BYTES_MAX:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self.response_complete = True
        self.message_event.set()
        if self.flow.write_paused:
            await self.flow.drain()
        self.on_response()

    def _head(self, start: HTTPResponseStartEvent, body_bytes: int) -> bytes:
        """Return status line and headers, with those that every answer has."""
        headers = [(name.lower(), value) for name, value in start.get("headers", ())]
        named = {name for name, _ in headers}
        headers += [pair for pair in self.default_headers if pair[0] not in named]
        if start["status"] not in _BODILESS and b"content-length" not in named:
            headers.append((b"content-length", b"%d" % body_bytes))
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)
        lines = b"\r\n".join([b"%b: %b" % pair for pair in headers])
        if lines.count(b"\n") != len(headers) - 1 or lines.count(b"\r") != len(headers) - 1:
            raise RuntimeError("a header of the answer has a line break in it")
        return b"%b%b\r\n\r\n" % (STATUS_LINE[start["status"]], lines)
