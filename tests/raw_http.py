"""HTTP over a bare socket: what a client sends byte by byte, and what it gets.

Rules of this file: it sends what it is told, right or wrong, and reads answers strictly; every wait
has an end; nothing here knows the dialect.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import uvloop

from rooms import WITHIN_S
from vectorbucket_server.rest.http_server import Tls, serve_app
from vectorbucket_server.rest.options import RestOptions


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it stood on the wire."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """In their order, with lower-case names."""
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for one, value in self.headers if one == name]

    def header(self, name: str) -> str:
        """Return the value of a header that is there exactly once."""
        (value,) = self.all(name)
        return value

    def json(self) -> Any:
        """Return the body as a value."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error in the dialect's envelope."""
        return str(self.json()["Error"]["Code"])


class RawConnection:
    """One connection of a client."""

    def __init__(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=WITHIN_S)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away."""
        self._stream.close()
        self.socket.close()

    def send(self, *parts: bytes) -> Self:
        """Send bytes."""
        self.socket.sendall(b"".join(parts))
        return self

    def send_as_far_as_it_goes(self, data: bytes) -> None:
        """Send bytes until the other side has had enough of them."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            return

    def read(self, *, head_only: bool = False) -> RawAnswer:
        """Read an answer.

        Args:
            head_only: The request was a HEAD.
        """
        version, status, reason = self._line().split(" ", 2)
        assert version == "HTTP/1.1"
        headers = []
        while line := self._line():
            name, colon, value = line.partition(": ")
            assert colon, line
            headers.append((name.lower(), value))
        return RawAnswer(
            int(status),
            reason,
            tuple(headers),
            b"" if head_only else self._body(int(status), dict(headers)),
        )

    def ask(self, *parts: bytes) -> RawAnswer:
        """Send bytes and read an answer."""
        return self.send(*parts).read()

    def has_answer(self, within_s: float) -> bool:
        """Wait so long for the other side to say anything, and return whether it did."""
        answered = select.poll()  # select knows no descriptor above 1,023
        answered.register(self.socket, select.POLLIN)
        return bool(answered.poll(within_s * 1000))

    def read_to_end(self) -> bytes:
        """Read until the other side ends, and return what came."""
        parts = []
        with suppress(ConnectionResetError):
            while part := self.socket.recv(1 << 20):
                parts.append(part)
        return b"".join(parts)

    def is_ended(self) -> bool:
        """Wait for the other side's end, and return whether nothing came before it."""
        try:
            return self._stream.read() == b""
        except ConnectionResetError:
            return True

    def _line(self) -> str:
        line = self._stream.readline()
        assert line.endswith(b"\r\n"), f"the answer breaks off at {line!r}"
        return line[:-2].decode("latin-1")

    def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status < 200 or status == 204:
            assert not {"content-length", "transfer-encoding"} & set(headers)
            return b""
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        return self._exactly(int(headers["content-length"]))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._line(), 16):
            yield self._exactly(size)
            assert self._line() == ""
        assert self._line() == ""

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        assert len(data) == size, "the body breaks off"
        return data


def request(
    line: str = "GET / HTTP/1.1",
    body: bytes | None = None,
    *headers: str,
    host: str = "vectors.local",
) -> bytes:
    """Return the bytes of a request: of its line, its headers, and its body if it has one."""
    lengths = [] if body is None else [f"content-length: {len(body)}"]
    lines = [line, f"host: {host}", *lengths, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def chunked(*chunks: bytes) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (*chunks, b""))


class Serving:
    """An application that is being served, in a thread of its own."""

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        self.address = address
        self.tls: ssl.SSLContext | None = None
        """What its clients speak TLS with; None: they do not."""
        self._loop = loop
        self._stop = stop
        self.ended: Future[None] = Future()
        """Done when it serves no more."""

    def connect(self) -> RawConnection:
        """Return a new connection."""
        return RawConnection(self.address, self.tls)

    def ask(self, *parts: bytes) -> RawAnswer:
        """Return the answer to a request on a connection of its own."""
        with self.connect() as connection:
            return connection.ask(*parts)

    def stop(self) -> None:
        """Tell it to end."""
        with suppress(RuntimeError):  # its loop is closed, so it has ended
            self._loop.call_soon_threadsafe(self._stop.set)


Serve: TypeAlias = Callable[
    [socket.socket, Callable[[], object], asyncio.Event], Coroutine[Any, Any, None]
]
"""Serves on a socket until an event is set; calls a function once it does."""


@contextmanager
def serving(app: Any, options: RestOptions, tls: Tls | None = None) -> Iterator[Serving]:
    """Serve an ASGI application on a free port while the block runs."""
    with served_by(
        lambda listening, on_ready, stop: serve_app(
            app, listening, options, on_ready=on_ready, stop=stop, tls=tls
        )
    ) as served:
        yield served


@contextmanager
def served_by(serve: Serve) -> Iterator[Serving]:
    """Serve on a free port, in a thread with a loop of its own, while the block runs."""
    listening = socket.create_server(("127.0.0.1", 0))
    started: Future[Serving] = Future()

    async def run() -> None:
        host, port = listening.getsockname()
        stop = asyncio.Event()
        one = Serving(f"{host}:{port}", asyncio.get_running_loop(), stop)
        await serve(listening, lambda: started.set_result(one), stop)
        one.ended.set_result(None)

    def run_in_thread() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=run_in_thread)
    thread.start()
    try:
        one = started.result(WITHIN_S)
        yield one
    finally:
        one.stop()
        thread.join(WITHIN_S)
        assert not thread.is_alive()
