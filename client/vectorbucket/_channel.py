"""A target, and who calls it → the channel that reaches it.

Rules of this file: every option of the channel is set here, with its reason. No limits on time:
those are the calls' own.
"""

from __future__ import annotations

from typing import Any

import grpc

from vectorbucket._api_key import KeyedChannel, check_api_key
from vectorbucket._tls import Tls, channel_credentials
from vectorbucket._version import __version__
from vectorbucket.limits import OSS

MESSAGE_BYTES_MAX = OSS.message_bytes_max + 1024 * 1024
"""The largest message that is received: the server's own limit, and room for what frames it."""

KEEPALIVE_EVERY_S = 30
"""Seconds without a byte after which the server is asked whether it is there, while a call is
open."""

KEEPALIVE_WAIT_S = 15
"""Seconds without an answer to that after which the connection counts as broken."""

CONNECT_WAIT_S = 5
"""Seconds that one attempt to connect may take, the server's first frame included. gRPC's own
default, 20, would use up a third of the time for which a broken stream is resumed."""

RECONNECT_S_MAX = 2
"""Seconds between attempts to connect, at most. gRPC's own default, two minutes, would outlast the
time for which a broken stream is resumed."""

_LOOPBACK = ("127.", "localhost", "[::1]", "unix:")


def open_channel(
    target: str, api_key: str | None = None, *, tls: bool | Tls | None = None
) -> grpc.Channel | KeyedChannel:
    """Return a channel to the target, which connects when it is first used.

    Args:
        target: ``host:port``, or any other name that gRPC knows, as
            ``unix:/run/vectorbucket.sock``.
        api_key: Sent with every call; None for a server that asks for none.
        tls: Whether TLS is spoken, and how; True trusts whom gRPC trusts by itself.

    Raises:
        ValueError: The target is empty, the key cannot be sent, or TLS cannot be spoken so.
    """
    if not target:
        raise ValueError("target is empty; it must be as 127.0.0.1:50051")
    if api_key is not None:
        check_api_key(api_key)
    options = channel_options(target)
    if tls is None or tls is False:
        channel = grpc.insecure_channel(target, options=options)
    else:
        credentials = channel_credentials(Tls() if tls is True else tls)
        channel = grpc.secure_channel(target, credentials, options=options)
    return channel if api_key is None else KeyedChannel(channel, api_key)


def channel_options(target: str) -> list[tuple[str, Any]]:
    """Return the options of a channel to the target."""
    options: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", f"vectorbucket-python/{__version__}"),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        # What is too large to send, the server refuses: its limit is a setting.
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", KEEPALIVE_EVERY_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_WAIT_S * 1000),
        # A slow source may leave a stream silent for longer than two pings.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # What gRPC calls the least time between attempts is the time that one of them may take.
        ("grpc.min_reconnect_backoff_ms", CONNECT_WAIT_S * 1000),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_S_MAX * 1000),
    ]
    if target.startswith(_LOOPBACK):
        # A proxy that the environment names cannot reach this machine's own loopback.
        options.append(("grpc.enable_http_proxy", 0))
    return options
