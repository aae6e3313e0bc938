"""The channel's options, and that gRPC heeds those that matter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vectorbucket import Client, __version__
from vectorbucket._channel import (
    CONNECT_WAIT_S,
    KEEPALIVE_EVERY_S,
    MESSAGE_BYTES_MAX,
    RECONNECT_S_MAX,
    channel_options,
    open_channel,
)
from vectorbucket.limits import OSS
from vectorbucket_server import grpc_listener
from vectorbucket_server.app import Server

ELSEWHERE = "vectors.example.org:50051"


def test_largest_message_of_a_server_is_received() -> None:
    options = dict(channel_options(ELSEWHERE))
    server_sends_max = OSS.message_bytes_max + grpc_listener.MESSAGE_SLACK_BYTES
    assert options["grpc.max_receive_message_length"] == MESSAGE_BYTES_MAX >= server_sends_max
    assert options["grpc.max_send_message_length"] == -1


def test_keepalive_is_no_more_frequent_than_the_server_allows() -> None:
    options = dict(channel_options(ELSEWHERE))
    assert options["grpc.keepalive_time_ms"] == KEEPALIVE_EVERY_S * 1000
    assert KEEPALIVE_EVERY_S > grpc_listener.CLIENT_PING_INTERVAL_MIN_S
    assert options["grpc.http2.max_pings_without_data"] == 0


def test_reconnecting_takes_less_time_than_a_broken_stream_is_resumed_for() -> None:
    resume_timeout_s = 60
    assert resume_timeout_s > 5 * (CONNECT_WAIT_S + RECONNECT_S_MAX)


def test_client_says_who_it_is() -> None:
    options = dict(channel_options(ELSEWHERE))
    assert options["grpc.primary_user_agent"] == f"vectorbucket-python/{__version__}"


def test_every_option_is_given_once() -> None:
    names = [name for name, _ in channel_options("127.0.0.1:50051")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "127.8.0.1:1", "localhost:1", "[::1]:1", "unix:/run/vb.sock"]
)
def test_loopback_is_never_reached_through_a_proxy(target: str) -> None:
    assert ("grpc.enable_http_proxy", 0) in channel_options(target)
    assert ("grpc.enable_http_proxy", 0) not in channel_options(ELSEWHERE)


def test_proxy_of_the_environment_does_not_stand_before_loopback(
    server: Server, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert list(connect(server.address).list_vector_buckets()) == []


def test_target_must_be_named() -> None:
    with pytest.raises(ValueError, match="target is empty"):
        open_channel("")
