"""The client's connection: opened and closed once, and what it is told at its construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vectorbucket import Client, RetryPolicy, ServiceUnavailable
from vectorbucket_server.app import Server


def test_client_is_closed_with_its_block(server: Server) -> None:
    with Client(server.address) as client:
        assert list(client.list_vector_buckets()) == []
    with pytest.raises(ValueError, match="closed channel"):
        client.get_vector_bucket("photos")


def test_client_may_be_closed_twice(server: Server) -> None:
    client = Client(server.address)
    client.close()
    client.close()


def test_client_of_a_server_that_is_not_there_says_so_when_it_is_used() -> None:
    with (
        Client("127.0.0.1:1", retry=RetryPolicy(attempts_max=1)) as client,
        pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:1"),
    ):
        client.get_vector_bucket("photos")


@pytest.mark.parametrize("name", ["timeout_s", "answer_timeout_s", "resume_timeout_s"])
@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_time_that_makes_no_sense_is_refused(name: str, seconds: float) -> None:
    arguments: dict[str, Any] = {name: seconds}
    with pytest.raises(ValueError, match=f"{name} is {seconds}"):
        Client("127.0.0.1:1", **arguments)


def test_no_two_streams_have_the_same_id(connect: Callable[..., Client]) -> None:
    client = connect("127.0.0.1:1")
    ids = {client._new_stream_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(1 <= len(one.encode()) <= 64 for one in ids)


def test_many_clients_of_one_process_do_not_disturb_each_other(
    server: Server, connect: Callable[..., Client]
) -> None:
    one, other = connect(server.address), connect(server.address)
    one.put_vector_bucket("photos")
    one.close()
    assert other.get_vector_bucket("photos").bucket == "photos"
