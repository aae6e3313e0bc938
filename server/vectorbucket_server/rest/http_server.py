"""uvicorn as it is used here: with connections of our own, told when to end, silent about itself.

Rules of this file: signals are the business of whoever owns the process; nothing of uvicorn is left
to what it would choose by itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from vectorbucket_server.rest.listener import REFUSED_MAX, Connection
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.tls_connection import Handshakes, TlsConnection

SERVER_NAME = "vectorbucket"
"""What answers say they come from."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a listener speaks TLS with."""

    context: Callable[[], ssl.SSLContext]
    """Returns what a connection that begins now shows and asks for."""
    on_failure: Callable[[str, object], object]
    """Is told why a handshake failed, and with whom."""


async def serve_app(
    app: Any,
    listening: socket.socket,
    options: RestOptions,
    *,
    on_ready: Callable[[], object],
    stop: asyncio.Event,
    hurry: asyncio.Event | None = None,
    tls: Tls | None = None,
) -> None:
    """Serve an ASGI application until told to stop.

    Then nobody may connect, connections that ask for nothing are closed, requests under way end or
    are cut when their grace is over.

    Args:
        app: The application; it finds what app.py says in its scopes.
        listening: The socket, bound; it is closed at the end.
        options: The bounds.
        on_ready: Is called once requests are served.
        stop: Is set when this is to end.
        hurry: Is set later if requests under way get no grace any more; None: that will not be.
        tls: What TLS is spoken with; None: it is not.
    """
    server = _Server(app, options, on_ready, tls)

    async def stop_when_told() -> None:
        await stop.wait()
        server.should_exit = True
        if hurry is not None:
            await hurry.wait()
            server.force_exit = True

    telling = asyncio.create_task(stop_when_told())
    try:
        await server.serve([listening])
    finally:
        telling.cancel()


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals alone, says when it serves, and ends when it said it would."""

    def __init__(
        self, app: Any, options: RestOptions, on_ready: Callable[[], object], tls: Tls | None
    ) -> None:
        super().__init__(_config(app, options, self._protocol))
        self._options = options
        self._on_ready = on_ready
        self._handshakes: Handshakes | None = None
        if tls is not None:
            self._handshakes = Handshakes(
                tls.context,
                timeout_s=options.handshake_timeout_s,
                room=self._room,
                on_failure=tls.on_failure,
            )

    def _protocol(self, **named: Any) -> asyncio.Protocol:
        """Return who serves a connection that begins now; the arguments are uvicorn's."""
        connection = Connection(**named, options=self._options)
        if self._handshakes is None:
            return connection
        return TlsConnection(connection, self._handshakes, connection.loop)

    def _room(self) -> int:
        """Return how many handshakes there may be, which count as connections."""
        most = self._options.connections_max + REFUSED_MAX
        return most - len(self.server_state.connections)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever owns the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        # Before the first connection, so that its answers have a date, too.
        await self.on_tick(0)
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way, and cut what does not."""
        if self._handshakes is not None:
            self._handshakes.cut()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.cut()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


def _config(app: Any, options: RestOptions, protocol: Any) -> uvicorn.Config:
    """Return what uvicorn has to know, and nothing that it would choose by itself."""
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", SERVER_NAME)],
        timeout_graceful_shutdown=options.drain_grace_s,  # type: ignore[arg-type]  # fractions do
        workers=1,
    )
