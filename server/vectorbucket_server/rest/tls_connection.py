"""One connection that speaks TLS: encrypted bytes on the one side, a plain connection on the other.

The loops' own TLS would not do. It counts only what it has not encrypted yet as unsent, so that a
client who takes nothing of a large answer looks like one who has taken all of it; it ends a failed
handshake without the alert that says why; and it has one context for all connections, whereas here
each begins with the one that is in force.

Rules of this file: it moves bytes and knows nothing of HTTP; what OpenSSL finds wrong ends the
connection, after the alert; a handshake has an end in time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

STEP_BYTES = 64 * 1024
"""How much is encrypted or decrypted at once: OpenSSL keeps as much memory for each connection."""

RECORD_BYTES = 16 * 1024
"""The most that OpenSSL decrypts at once."""


class Handshakes:
    """The handshakes of a listener: how long they may take, and those that are not over."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        timeout_s: float,
        room: Callable[[], int],
        on_failure: Callable[[str, object], object],
    ) -> None:
        """Have none.

        Args:
            context: Returns what a connection that begins now shows and asks for.
            timeout_s: How long one may take.
            room: Returns how many there may be now.
            on_failure: Is told why one failed, and with whom.
        """
        self.context = context
        self.timeout_s = timeout_s
        self.room = room
        self.on_failure = on_failure
        self.under_way: set[TlsConnection] = set()

    def cut(self) -> None:
        """Break off all that are not over."""
        for one in list(self.under_way):
            one.abort()


class TlsConnection(asyncio.Protocol, asyncio.Transport):
    """A connection: the protocol of the network's transport, and the transport of a protocol."""

    def __init__(
        self, plain: asyncio.Protocol, handshakes: Handshakes, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Be ready for a connection.

        Args:
            plain: What is said on it; it is told of it once the handshake is over.
            handshakes: Those of its listener.
            loop: The loop.
        """
        super().__init__()
        self._plain = plain
        self._handshakes = handshakes
        self._loop = loop
        self._context = handshakes.context()
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._context.wrap_bio(self._received, self._to_send, server_side=True)
        self._is_open = False
        """Whether the handshake is over, so that ``plain`` knows of the connection."""
        self._is_ended = False
        """Whether nothing more comes, or nothing that can be understood."""
        self._is_deaf = False
        """Whether what still comes is thrown away."""
        self._is_closing = False

    # --- What the network says ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake to begin."""
        self._network = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(
            self._handshakes.timeout_s, self._fail, "it took too long"
        )
        self._handshakes.under_way.add(self)
        if len(self._handshakes.under_way) > self._handshakes.room():
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decrypt."""
        if self._is_deaf:
            return
        read: list[bytes] = []
        for start in range(0, len(data), STEP_BYTES):
            if self._is_ended or self._is_closing:
                break
            self._received.write(memoryview(data)[start : start + STEP_BYTES])
            if self._is_open or self._shake():
                self._decrypt(read)
        if read:
            self._plain.data_received(b"".join(read))
        if self._is_ended and not self._is_closing:
            self._plain.eof_received()
            self.close()

    def eof_received(self) -> None:
        """Know that nothing more comes; the network's transport then closes by itself."""
        if self._is_open:
            self._plain.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who knows of the connection."""
        self._is_closing = True
        self._end_handshake()
        if self._is_open:
            self._plain.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that too much is unsent."""
        if self._is_open:
            self._plain.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it is no more."""
        if self._is_open:
            self._plain.resume_writing()

    def _shake(self) -> bool:
        """Go on with the handshake, and return whether it is over."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(error.reason or str(error))
            return False
        self._end_handshake()
        self._is_open = True
        self._flush()
        self._plain.connection_made(self)
        return True

    def _fail(self, reason: str) -> None:
        """End a connection whose handshake came to nothing, after what there is to say of it."""
        self._handshakes.on_failure(reason, self._network.get_extra_info("peername"))
        self._is_closing = True
        self._end_handshake()
        self._flush()
        self._network.close()

    def _end_handshake(self) -> None:
        """Wait for the handshake no longer."""
        self._timer.cancel()
        self._handshakes.under_way.discard(self)

    def _decrypt(self, read: list[bytes]) -> None:
        """Add what can be read now."""
        try:
            while part := self._tls.read(RECORD_BYTES):
                read.append(part)
            self._is_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._is_ended = True
        self._flush()

    def _flush(self) -> None:
        """Hand over what is encrypted."""
        if self._to_send.pending:
            self._network.write(self._to_send.read())

    # --- What is said by the connection -------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send."""
        for start in range(0, len(data), STEP_BYTES):
            if self._is_closing:
                return
            try:
                self._tls.write(memoryview(data)[start : start + STEP_BYTES])
            except ssl.SSLError:
                self.abort()
                return
            self._flush()

    def can_write_eof(self) -> bool:
        """Return that an end can be said while something still comes."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more will be said; what still comes is thrown away."""
        self._is_deaf = True
        self._say_end()
        self._network.write_eof()

    def close(self) -> None:
        """Close once everything is sent."""
        if not self._is_closing:
            self._is_closing = True
            if not self._network.is_closing():
                self._say_end()
            self._network.close()

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        self._network.abort()

    def _say_end(self) -> None:
        # The other side's end is not waited for: each side's stands by itself.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def is_closing(self) -> bool:
        """Return whether it is being closed."""
        return self._is_closing or self._network.is_closing()

    def pause_reading(self) -> None:
        """Let nothing more come than has come."""
        self._network.pause_reading()

    def resume_reading(self) -> None:
        """Let it come again."""
        self._network.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not left, as they leave."""
        return self._network.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        known = {"sslcontext": self._context, "ssl_object": self._tls}
        return known[name] if name in known else self._network.get_extra_info(name, default)
