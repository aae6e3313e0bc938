"""Addresses that are listened on: taken, or refused with the reason.

Rules of this file: whoever cannot have an address says why, in the operating system's words.
"""

from __future__ import annotations

import os
import socket

from vectorbucket_server.settings import split_address

_BACKLOG = 1024
"""Connections that may wait to be accepted: enough for those that come while a process restarts."""


class StartFailed(Exception):
    """The server cannot start; the message is one line and says why."""


def listen(address: str) -> socket.socket:
    """Return a socket that listens on HOST:PORT.

    Raises:
        StartFailed: The address cannot be had.
    """
    host, port = split_address(address)
    try:
        family, _, _, _, target = _targets(host, port)[0]
        # Of IPv6's "any address", IPv4 is a part, as gRPC has it.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(
            target[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        raise StartFailed(f"cannot serve on {address}: {_words(error)}") from error
    except UnicodeError as error:  # of a host that is no name
        raise StartFailed(f"cannot serve on {address}: {error}") from error


def why_not(address: str) -> str:
    """Return why an address cannot be bound, which gRPC does not say, by trying it again."""
    host, port = split_address(address)
    try:
        for family, kind, protocol, _, target in _targets(host, port):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(target)
    except OSError as error:
        return _words(error)
    return "gRPC refused it"


def _words(error: OSError) -> str:
    """Return the system's words; Python adds the address to some, which stands there already."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _targets(
    host: str, port: int
) -> list[tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]]:
    """Return what a host and port stand for, the system's first choice first."""
    return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)  # type: ignore[return-value]
