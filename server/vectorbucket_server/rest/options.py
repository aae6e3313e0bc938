"""What an operator may choose of the HTTP side.

Rules of this file: numbers only, so that they can be sent to another process; each says its unit,
what it is for, and what is done past it.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RestOptions:
    """Bounds of the HTTP side. The defaults suit one server; none of them needs to be changed."""

    body_bytes_max: int = 64 * MIB
    """The largest body of a request; a larger one is refused (413) before it is read to its end."""

    bodies_bytes_max: int = 256 * MIB
    """Bytes of all bodies that are held at once, as far as they have arrived; a body that grows
    past it is refused at once (503). Bodies of up to 64 KiB are not counted. A body takes about
    three times its size while it is worked on."""

    answers_bytes_max: int = 256 * MIB
    """Bytes of all answers that wait to be taken by their clients; an answer that comes on top is
    thrown away, and 503 said instead. Answers of up to 64 KiB are not counted, so that whatever
    changes something is always answered."""

    idle_timeout_s: float = 20.0
    """A connection that sends nothing for so long is closed; one that has begun a request and sends
    no more of it, or has not sent its headers by then, gets 408 first."""

    handshake_timeout_s: float = 10.0
    """How long the handshake of a connection that speaks TLS may take; then it is closed."""

    body_timeout_s: float = 60.0
    """By when a request's body must be there, counted from its headers; after that it is 408."""

    answer_timeout_s: float = 60.0
    """By when a client must have taken an answer that does not leave at once; after that, and when
    it takes nothing of it for `idle_timeout_s`, its connection is cut."""

    call_timeout_s: float = 60.0
    """The deadline of each RPC that is called for a request."""

    connections_max: int = 1000
    """Connections that may be open; who comes on top is refused at once (503)."""

    linger_s: float = 5.0
    """For how long what a client goes on sending is read and thrown away, after it was refused
    before it had sent all. Without that it might not see the answer."""

    drain_grace_s: float = 10.0
    """How long requests under way may take when the server stops; then they are cut."""
