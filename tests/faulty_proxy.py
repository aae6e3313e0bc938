"""A TCP proxy on loopback that loses connections, or holds them up, where a test wants it to.

Rules of this file: it moves bytes and knows of HTTP/2 no more than where frames begin and end; each
connection has its own fault, in the order in which clients connect, and those after the last fault
have none; whoever waits, waits for a condition, and not for ever.

Source: the layout of frames is RFC 9113, sections 3.4, 4.1 and 6.7.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

WAIT_S = 20.0
"""Seconds after which a wait has failed."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame."""

_HEADER_BYTES = 9
_DATA, _HEADERS, _PING = 0, 1, 6
_END_STREAM, _ACK = 1, 1
_MARK = b"released"
_PING_FRAME = bytes((0, 0, len(_MARK), _PING, 0, 0, 0, 0, 0)) + _MARK


@dataclass(frozen=True)
class Fault:
    """What goes wrong on one connection; places count its bytes in one direction.

    Attributes:
        cut_up: Cut after so many bytes towards the server.
        cut_down: Cut after so many bytes towards the client.
        hold_up: Keep back what comes after so many bytes towards the server, until ``release``.
        reset: Cut with a reset instead of an orderly end.
    """

    cut_up: int | None = None
    cut_down: int | None = None
    hold_up: int | None = None
    reset: bool = False


class Frame(NamedTuple):
    """A frame of HTTP/2, as far as it matters here."""

    kind: int
    flags: int
    start: bytes


class Frames:
    """The frames in one direction of a connection, however its bytes are cut up."""

    def __init__(self, preface: bytes = b"") -> None:
        self._preface_bytes = len(preface)
        self._rest = b""
        self.whole: list[Frame] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        skipped = min(self._preface_bytes, len(data))
        self._preface_bytes -= skipped
        self._rest += data[skipped:]
        while len(self._rest) >= _HEADER_BYTES:
            size = _HEADER_BYTES + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < size:
                return
            kind, flags = self._rest[3], self._rest[4]
            self.whole.append(Frame(kind, flags, self._rest[_HEADER_BYTES : _HEADER_BYTES + 8]))
            self._rest = self._rest[size:]

    @property
    def partial_bytes(self) -> int:
        """How many bytes have come of a frame that is not whole yet."""
        return len(self._rest)


class Connection:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        self._client = client
        self._server = server
        self._fault = fault
        self._changed = threading.Condition()
        self._up = Frames(PREFACE)
        self._down = Frames()
        self._holding = fault.hold_up is not None
        self.up_bytes = 0
        self.down_bytes = 0
        self.held = b""
        for side in (client, server):
            # Or small writes would wait for acknowledgements of those before them, 40 ms each.
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, take in ((client, self._take_up), (server, self._take_down)):
            threading.Thread(target=self._pump, args=(source, take), daemon=True).start()

    def _pump(self, source: socket.socket, take: Callable[[bytes], bool]) -> None:
        """Move what one side sends, until it ends or the connection is cut."""
        # An error means that the other pump or the test closed the socket.
        with suppress(OSError):
            while (data := source.recv(65_536)) and take(data):
                pass
        if not self._holding:
            self.cut()

    def _take_up(self, data: bytes) -> bool:
        """Move bytes towards the server; return whether more may follow."""
        with self._changed:
            hold, cut = self._fault.hold_up, self._fault.cut_up
            room = len(data)
            if hold is not None and self._holding:
                room = max(0, hold - self.up_bytes)
            elif cut is not None:
                room = max(0, cut - self.up_bytes)
            passed = data[:room]
            self.up_bytes += len(passed)
            if self._holding:
                self.held += data[room:]
            self._up.feed(data)
            self._changed.notify_all()
        self._server.sendall(passed)
        return cut is None or self.up_bytes < cut

    def _take_down(self, data: bytes) -> bool:
        """Move bytes towards the client, if it is still there; return whether more may follow."""
        cut = self._fault.cut_down
        passed = data if cut is None else data[: max(0, cut - self.down_bytes)]
        with suppress(OSError):
            self._client.sendall(passed)
        with self._changed:
            self.down_bytes += len(passed)
            self._down.feed(passed)
            self._changed.notify_all()
        return cut is None or self.down_bytes < cut

    def cut(self) -> None:
        """Cut both sides."""
        for side in (self._client, self._server):
            _close(side, reset=self._fault.reset)

    def cut_client(self) -> None:
        """Cut the client's side; the server does not notice, and held bytes stay held."""
        _close(self._client, reset=self._fault.reset)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on this connection holds."""
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S)

    @property
    def half_closed(self) -> bool:
        """Whether the client has sent the last message of a stream; it may be held here."""
        return any(frame.kind == _DATA and frame.flags & _END_STREAM for frame in self._up.whole)

    @property
    def ended_streams(self) -> int:
        """How many streams the server has ended."""
        return sum(
            frame.kind == _HEADERS and bool(frame.flags & _END_STREAM) for frame in self._down.whole
        )

    def release(self) -> None:
        """Let the server have what was held, and wait until it has read all of it.

        A ping follows the held frames: the server answers it only after it has read them.
        """
        with self._changed:
            whole = self.held[: len(self.held) - self._up.partial_bytes]
            self.held = b""
            self._holding = False
        self._server.sendall(whole + _PING_FRAME)
        self.wait_for(lambda: Frame(_PING, _ACK, _MARK) in self._down.whole)


class FaultyProxy:
    """Listens on a free port of 127.0.0.1 and hands connections on to the target.

    Args:
        target: ``host:port`` of the server.
        faults: What goes wrong on the first connection, the second, and so on.
    """

    def __init__(self, target: str, *faults: Fault) -> None:
        self._target = target
        self._faults = iter(faults)
        self._arrived = threading.Condition()
        self.connections: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            host, _, port = self._target.rpartition(":")
            server = socket.create_connection((host, int(port)))
            connection = Connection(client, server, next(self._faults, Fault()))
            with self._arrived:
                self.connections.append(connection)
                self._arrived.notify_all()

    def redirect(self, target: str) -> None:
        """Hand connections that come from now on to another server."""
        self._target = target

    def connection(self, position: int) -> Connection:
        """Return a connection by the order of arrival, waiting for it."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.connections) > position, WAIT_S)
        return self.connections[position]

    def __enter__(self) -> Self:
        """Return the proxy."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more connections and cut those that there are."""
        _close(self._listener, reset=False)
        for connection in self.connections:
            connection.cut()


def _close(end: socket.socket, *, reset: bool) -> None:
    """Close a socket, waking whoever reads from it."""
    with suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
    end.close()
