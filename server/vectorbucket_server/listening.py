"""Addresses that are listened on: taken, or refused with the reason.

Rules of this file: whoever cannot have an address says why, in the operating system's words.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from vectorbucket_server.addresses import split_address

_BACKLOG = 1024
"""Connections that may wait to be accepted: enough for those that come while a process restarts."""


_SOCKET_PATH_BYTES_MAX = 107
"""The longest path of a unix socket, on Linux."""


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
    if address.startswith("unix:"):
        return "gRPC refused it"
    host, port = split_address(address)
    try:
        for family, kind, protocol, _, target in _targets(host, port):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(target)
    except OSError as error:
        return _words(error)
    return "gRPC refused it"


class PrivateSocket:
    """A place for a unix socket that only this user reaches, in a folder of its own."""

    def __init__(self, parents: Iterable[Path] = ()) -> None:
        """Make the folder.

        Args:
            parents: Folders that it may be made in if it cannot be in that of temporary files, or
                if there anybody could put another one in its place.

        Raises:
            StartFailed: It cannot be made anywhere, or the paths are too long.
        """
        problems = []
        there = [one for one in (_temporary(), *parents) if one is not None and one.is_dir()]
        for parent in sorted(there, key=_is_anybodys):
            try:
                # For this user alone from the first moment on.
                self.folder = Path(tempfile.mkdtemp(prefix="vectorbucket-", dir=parent.resolve()))
            except OSError as error:
                problems.append(f"{parent}: {error.strerror or error}")
                continue
            self.path = self.folder / "grpc"
            if len(os.fsencode(self.path)) <= _SOCKET_PATH_BYTES_MAX:
                return
            problems.append(f"{self.path} has over {_SOCKET_PATH_BYTES_MAX} bytes")
            self.remove()
        raise StartFailed(
            "there is no folder for the socket between gRPC and REST "
            f"({'; '.join(problems) or 'none is there'}): name a short one in TMPDIR"
        )

    @property
    def target(self) -> str:
        """How gRPC names it."""
        return f"unix:{quote(str(self.path))}"

    def remove(self) -> None:
        """Remove the folder and what is in it; idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _temporary() -> Path | None:
    """Return the folder of temporary files; None if there is none that can be written to."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def _is_anybodys(folder: Path) -> bool:
    """Return whether every user may rename what others have in a folder.

    Whoever puts a socket of his own where ours was gets the translator's key, and all its calls.
    """
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


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
