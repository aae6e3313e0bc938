"""Connections: uvicorn's protocol, made patient with nobody and polite to everybody.

What it adds: the target of a request line reaches the application as it was sent, absolute or not;
silent, slow and stuck connections end; whatever is wrong with a request is answered by the
application, in its dialect; a client that goes away takes its request with it.

Rules of this file: no answer is written here, each comes from the application, also refusals; each
connection has one timer, which looks at its deadline and is set again; once a connection is deaf,
nothing that it sends is looked at.
"""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from contextlib import suppress
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from vectorbucket.errors import QpsLimitExceeded, RequestTimeout, VectorBucketError
from vectorbucket_server.rest.app import REFUSAL, TARGET
from vectorbucket_server.rest.exchange import Exchange
from vectorbucket_server.rest.heads import (
    HEAD_BYTES_MAX,
    check_head,
    fault_of,
    path_of,
    too_long,
)
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.outflow import Outflow

PIPELINED_MAX = 32
"""Requests that may wait on a connection for the answer to the one before."""

REFUSED_MAX = 100
"""Connections over the bound that get an answer; who comes on top of these is cut."""

_QUICK_ACK = socket.TCP_QUICKACK if sys.platform == "linux" else None
"""The option of a socket that has what came acknowledged at once, where there is one."""

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Connection(HttpToolsProtocol):
    """One connection."""

    parser: httptools.HttpRequestParser | None  # type: ignore[assignment]  # None once it is lost
    cycle: Exchange | None  # type: ignore[assignment]  # the request of which something came last

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        options: RestOptions,
    ) -> None:
        """Be ready for a connection; all but the options is uvicorn's."""
        super().__init__(config, server_state, app_state, _loop)
        self._options = options
        self._running: Exchange | None = None
        self._in_head = False
        self._deaf = False
        self._draining = False
        self._lingering = False
        self._head_bytes = 0
        self._framing: list[tuple[bytes, bytes]] | None = None
        """How the body is framed of a request that wants another protocol; else None."""
        self._reframing = False
        self._unclear_bytes = 0
        """What came since the last part of a request that was understood."""
        self._deadline_s = math.inf
        """When to lose patience; never, while it is we who are awaited."""
        self._body_end_s = math.inf
        """By when the body has to be there that is being read."""
        self._outflow = Outflow(options.idle_timeout_s)

    # --- The transport --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        self._deadline_s = self.loop.time() + self._options.idle_timeout_s
        self._timer = self.loop.call_at(self._deadline_s, self._look)
        limit = self._options.connections_max
        if len(self.connections) > limit + REFUSED_MAX:
            transport.abort()
        elif len(self.connections) > limit:
            message = f"more than {limit} connections are open"
            self._refuse(QpsLimitExceeded(message, details={"limit": str(limit)}))

    def connection_lost(self, exc: Exception | None) -> None:
        """Break off what was asked for: nobody waits for it."""
        self._timer.cancel()
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._running is not None:
            self._running.abandon()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        while data and not self._deaf and self.parser is not None:
            self._unclear_bytes += len(data)
            try:
                data = self._feed(self.parser, data)
            except httptools.HttpParserError as error:
                # Of data in which nothing was understood, the fault is at the beginning.
                is_beginning = self._unclear_bytes == len(data)
                self._refuse(fault_of(error, data, is_beginning=is_beginning))
                return
        if self._unclear_bytes > HEAD_BYTES_MAX and not self._deaf:
            self._refuse(too_long())
        self._acknowledge()

    def _feed(self, parser: httptools.HttpRequestParser, data: bytes) -> bytes:
        """Let the parser read, and return what it has left.

        Raises:
            httptools.HttpParserError: It is not what it has to be.
        """
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            taken = upgrade.args[0]
        else:
            return b""
        self._ignore_upgrade()
        return data[taken:]

    def _acknowledge(self) -> None:
        """Have what came acknowledged, if more of a body is to come.

        Clients that send headers and body one after the other may hold back the rest until the
        beginning is acknowledged, which the system would put off for 40 ms. It is to be told each
        time.
        """
        waiting = self.cycle is not None and self.cycle.more_body and not self._deaf
        if waiting and _QUICK_ACK is not None and self.client is not None:
            with suppress(OSError):  # it was closed meanwhile
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def pause_writing(self) -> None:
        """Begin to wait for the client to take an answer."""
        super().pause_writing()
        now_s = self.loop.time()
        unsent_bytes = self.transport.get_write_buffer_size()
        self._outflow.begin(unsent_bytes, now_s, self._options.answer_timeout_s)
        self._look_again(now_s)

    def resume_writing(self) -> None:
        """Know that the client has taken an answer, nearly."""
        super().resume_writing()
        self._outflow.end()

    def shutdown(self) -> None:
        """Say no more than what is being said."""
        self._draining = True
        super().shutdown()

    def cut(self) -> None:
        """Close at once, whatever is under way."""
        self.transport.abort()

    # --- What the parser finds ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._reframing:
            return
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._deadline_s = self.loop.time() + self._options.idle_timeout_s

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what follows a body in its place is none."""
        if self._in_head:
            super().on_header(name, value)
            self._head_bytes += len(name) + len(value) + len(b": \r\n")

    def on_headers_complete(self) -> None:
        """Hand on the request, of which the body is still to come."""
        if self._reframing:
            return
        if self._head_bytes > HEAD_BYTES_MAX:
            raise too_long()
        if len(self.pipeline) >= PIPELINED_MAX:
            raise QpsLimitExceeded(f"more than {PIPELINED_MAX} requests wait on one connection")
        parser = cast("httptools.HttpRequestParser", self.parser)
        version = parser.get_http_version()
        check_head(version, self.url, self.headers)
        self._in_head = False
        self._deadline_s = math.inf
        self._unclear_bytes = 0
        if parser.should_upgrade():
            self._framing = [pair for pair in self.headers if pair[0] in _FRAMING]
        method = parser.get_method().decode("ascii")
        target, _, query = self.url.partition(b"?")
        self.scope["method"] = method
        self.scope["http_version"] = version
        self.scope["raw_path"] = target
        self.scope["path"] = path_of(target)
        self.scope["query_string"] = query
        cast("dict[str, Any]", self.scope)[TARGET] = self.url
        self._queue(
            expect_100_continue=self.expect_100_continue and version != "1.0",
            keep_alive=version != "1.0"
            and method != "CONNECT"
            and parser.should_keep_alive()
            and not self._draining,
        )

    def on_chunk_header(self) -> None:
        """Know that a chunk comes."""
        self._unclear_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unclear_bytes = 0
        exchange = cast("Exchange", self.cycle)
        if exchange.response_complete:
            return
        if exchange.feed(body):
            self.flow.pause_reading()
        if exchange is self._running:
            idle_s = self._options.idle_timeout_s
            self._deadline_s = min(self._body_end_s, self.loop.time() + idle_s)

    def on_message_complete(self) -> None:
        """Know that the body is all there."""
        self._unclear_bytes = 0
        if self._framing is None:
            self._complete()

    def _complete(self) -> None:
        """Wait no longer for a body."""
        super().on_message_complete()
        self._deadline_s = math.inf
        if self.cycle is self._running:
            self.flow.resume_reading()  # so that it is seen if the client goes away

    def _ignore_upgrade(self) -> None:
        """Read on as if the request had not asked for another protocol.

        The parser takes what follows its headers for that protocol, also if it is the body. So
        another one is told of nothing but the body, and reads on.
        """
        framing, self._framing = self._framing, None
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if framing and self.scope["method"] != "CONNECT":
            self._reframing = True
            lines = [b"%b: %b\r\n" % pair for pair in framing]
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))
            self._reframing = False
        else:
            self._complete()
            self._deaf = self.scope["method"] == "CONNECT"

    # --- One request after the other ------------------------------------------------------------

    def _queue(self, *, expect_100_continue: bool, keep_alive: bool) -> None:
        """Have the request of the scope answered, when those before it are."""
        self.cycle = Exchange(
            self.scope,
            transport=self.transport,
            flow=self.flow,
            default_headers=self.server_state.default_headers,
            expect_100_continue=expect_100_continue,
            keep_alive=keep_alive,
            on_answered=self._answered,
        )
        if self._running is None:
            self._start(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start(self, exchange: Exchange, app: ASGI3Application) -> None:
        """Have a request answered."""
        self._running = exchange
        if exchange.more_body:
            now_s = self.loop.time()
            self._deadline_s = now_s + self._options.idle_timeout_s
            self._body_end_s = now_s + self._options.body_timeout_s
        self._start_asgi_task(exchange, app)

    def _start_asgi_task(self, cycle: Any, app: ASGI3Application) -> None:
        """Run the application, in a task that can be broken off."""
        cycle.task = task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _answered(self, exchange: Exchange) -> None:
        """Go on after an answer."""
        self.server_state.total_requests += 1
        self._running = None
        self._outflow.add()
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            self._end(more_to_come=exchange.more_body)
        elif self.pipeline:
            self._start(*cast("tuple[Exchange, ASGI3Application]", self.pipeline.pop()))
        else:
            self.flow.resume_reading()
            if not self._in_head:
                self._deadline_s = self.loop.time() + self._options.idle_timeout_s

    def _refuse(self, refusal: VectorBucketError) -> None:
        """Have an error answered when its turn comes, and listen to nothing more."""
        self._deaf = True
        self._deadline_s = math.inf
        unfinished = self.cycle
        if unfinished is not None and unfinished.more_body and not self._in_head:
            unfinished.fail(refusal)
            return
        if not self._in_head:
            super().on_message_begin()
        self._in_head = False
        scope = cast("dict[str, Any]", self.scope)
        scope |= {"method": "GET", "path": "/", "raw_path": b"/", "query_string": b""}
        scope |= {TARGET: self.url, REFUSAL: refusal}
        self._queue(expect_100_continue=False, keep_alive=False)

    # --- Patience -------------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether this connection still gets anywhere, and look again later."""
        now_s = self.loop.time()
        idle_s = self._options.idle_timeout_s
        unsent_bytes = self.transport.get_write_buffer_size()
        stuck = self._outflow.is_stuck(unsent_bytes, now_s)
        if stuck or (unsent_bytes and self._lingering):
            self.transport.abort()
            return
        if now_s >= self._deadline_s:
            if unsent_bytes:
                self._deadline_s = now_s + idle_s  # what was asked for is still being read
            elif self._in_head:
                message = f"the headers of the request did not come within {idle_s:g} s"
                self._refuse(RequestTimeout(message))
            elif self._running is not None and self._running.more_body:
                self._refuse(
                    RequestTimeout(
                        "the body of the request did not come in time: it may take "
                        f"{self._options.body_timeout_s:g} s, and pause for {idle_s:g} s"
                    )
                )
            else:
                self._deadline_s = math.inf
                self.transport.close()
        self._look_again(now_s)

    def _look_again(self, now_s: float) -> None:
        """Look again when it is time to."""
        self._timer.cancel()
        when_s = min(self._deadline_s, self._outflow.look_at_s(now_s))
        self._timer = self.loop.call_at(when_s, self._look)

    def _end(self, *, more_to_come: bool) -> None:
        """Close after the last answer.

        What the client still sends is read and thrown away for a while: if it were left, the
        system would reset the connection, and the client might never see the answer.
        """
        self._deaf = True
        self.pipeline.clear()
        if not more_to_come:
            self.transport.close()
            return
        self._lingering = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._timer.cancel()
        self._deadline_s = self.loop.time() + self._options.linger_s
        self._timer = self.loop.call_at(self._deadline_s, self._look)
