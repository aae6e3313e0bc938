"""What the peers of the bench have in common: packages, addresses, fields, connections.

Rules of this file: it knows no peer by name. A peer's package is asked for when the peer is made
and nowhere else, so that the bench runs without it; whatever keeps a peer from being measured is
one sentence that says what to do.
"""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from bench_subject import CONDITIONS

COLLECTION = "vectorbucket_bench"
"""What a server calls the vectors of the bench. It is removed before a run and after it."""

INDEXED_FIELDS = tuple(dict.fromkeys(condition.field for condition in CONDITIONS))
"""Fields that get an index of their own in a peer: those that a user who knows his queries would
choose. The service indexes all of them, so this favours the peer."""

FieldKind: TypeAlias = Literal["text", "number", "list"]
Thing = TypeVar("Thing")

_REACHED_WITHIN_S = 5.0


class PeerUnavailable(RuntimeError):
    """A peer cannot be measured; the message is a sentence that says why and what to do."""


# --- Packages and addresses -----------------------------------------------------------------------


def peer_package(peer: str, module: str, distribution: str) -> Any:
    """Return a peer's module.

    Args:
        peer: Whose it is.
        module: What is imported, such as ``qdrant_edge``.
        distribution: What pip calls it, such as ``qdrant-edge-py``.

    Raises:
        PeerUnavailable: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise PeerUnavailable(
            f"the peer {peer} needs a package that is not installed: pip install {distribution}"
        ) from missing


def peer_address(peer: str, target: str | None, port: int) -> tuple[str, int]:
    """Return host and port of a server that the user has started.

    Args:
        peer: Whose server it is.
        target: HOST:PORT; None: the port below on the loopback.
        port: Where the server listens when it is told nothing.

    Raises:
        PeerUnavailable: The target is malformed, or nothing answers there.
    """
    host, _, shown = (target or f"127.0.0.1:{port}").rpartition(":")
    if not host or not shown.isdecimal():
        raise PeerUnavailable(f"the address of {peer} is {target!r}; it must be HOST:PORT")
    try:
        socket.create_connection((host, int(shown)), _REACHED_WITHIN_S).close()
    except OSError as refused:
        raise PeerUnavailable(
            f"nothing answers at {host}:{shown}; start {peer} and say where with --peer-target"
        ) from refused
    return host, int(shown)


# --- Metadata -------------------------------------------------------------------------------------


def field_kinds(metadata: Sequence[Mapping[str, Any]]) -> dict[str, FieldKind]:
    """Return what each field holds, in the order in which the fields first appear.

    Raises:
        ValueError: A field holds one kind here and another there: a column cannot.
    """
    kinds: dict[str, FieldKind] = {}
    for fields in metadata:
        for name, value in fields.items():
            kind = _kind_of(value)
            if kinds.setdefault(name, kind) != kind:
                raise ValueError(f"{name} holds a {kinds[name]} here and a {kind} there")
    return kinds


def _kind_of(value: Any) -> FieldKind:
    """Return what a value is."""
    if isinstance(value, list):
        return "list"
    return "number" if isinstance(value, int | float) else "text"


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield the slices that cut ``count`` rows into batches of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


# --- Threads --------------------------------------------------------------------------------------


class PerThread(Generic[Thing]):
    """One thing a thread, such as a connection: made at its first use, all ended together."""

    def __init__(self, make: Callable[[], Thing], end: Callable[[Thing], object]) -> None:
        """Remember how the things are made and ended.

        Args:
            make: Makes one; called once a thread, in that thread.
            end: Ends one.
        """
        self._make = make
        self._end = end
        self._own = threading.local()
        self._made: list[Thing] = []
        self._lock = threading.Lock()

    def get(self) -> Thing:
        """Return the thing of this thread."""
        thing: Thing | None = getattr(self._own, "thing", None)
        if thing is None:
            thing = self._make()
            self._own.thing = thing
            with self._lock:
                self._made.append(thing)
        return thing

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for thing in self._made:
                self._end(thing)
            self._made.clear()
