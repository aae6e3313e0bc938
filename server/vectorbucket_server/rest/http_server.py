"""uvicorn as it is used here: with connections of our own, told when to end, silent about itself.

Rules of this file: signals are the business of whoever owns the process; nothing of uvicorn is left
to what it would choose by itself.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from vectorbucket_server.rest.listener import Connection
from vectorbucket_server.rest.options import RestOptions

SERVER_NAME = "vectorbucket"
"""What answers say they come from."""


async def serve_app(
    app: Any,
    listening: socket.socket,
    options: RestOptions,
    *,
    on_ready: Callable[[], object],
    stop: asyncio.Event,
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
    """
    server = _Server(_config(app, options), on_ready)

    async def stop_when_told() -> None:
        await stop.wait()
        server.should_exit = True

    telling = asyncio.create_task(stop_when_told())
    try:
        await server.serve([listening])
    finally:
        telling.cancel()


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals alone, says when it serves, and ends when it said it would."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

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
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.cut()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


def _config(app: Any, options: RestOptions) -> uvicorn.Config:
    """Return what uvicorn has to know, and nothing that it would choose by itself."""
    protocol: Any = functools.partial(Connection, options=options)
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
