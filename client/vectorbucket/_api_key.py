"""An API key → a channel whose every call carries it.

Rules of this file: the key is shown nowhere: in no error and in no representation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc

_SENDABLE = re.compile(r"[!-~]+")
"""What a header of HTTP/2 carries as it is; but no space, which parts the scheme from the key."""


class KeyedChannel:
    """A channel, as far as stubs know one, that adds ``authorization: Bearer KEY`` to its calls.

    gRPC's interceptors could do it, but they register the method anew for each call, and after
    ``close`` that ends the process (grpcio 1.85.1: a segmentation fault).

    Args:
        channel: What makes the calls; closed with this one.
        api_key: The key; see ``check_api_key``.
    """

    def __init__(self, channel: grpc.Channel, api_key: str) -> None:
        self._channel = channel
        self._entries = (("authorization", f"Bearer {api_key}"),)

    def unary_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """Return what makes calls of one message that are answered with one."""
        return self._keyed(self._channel.unary_unary(*arguments, **named))

    def unary_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """Return what makes calls of one message that are answered with a stream."""
        return self._keyed(self._channel.unary_stream(*arguments, **named))

    def stream_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """Return what makes calls of a stream that are answered with a stream."""
        return self._keyed(self._channel.stream_stream(*arguments, **named))

    def _keyed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method of a stub with the key among its metadata."""
        entries = self._entries

        # No functools.partial, whose representation would show the key.
        def call(request: Any, timeout: float | None = None) -> Any:
            return method(request, timeout=timeout, metadata=entries)

        return call

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def check_api_key(api_key: str) -> None:
    """Raise ValueError unless a key can be sent."""
    if not _SENDABLE.fullmatch(api_key):
        raise ValueError(
            "api_key cannot be sent: it must have a character, and none that is a space, a control "
            "character or beyond ASCII"
        )
