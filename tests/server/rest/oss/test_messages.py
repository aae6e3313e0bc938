"""The values that requests and responses are."""

from __future__ import annotations

import dataclasses

import pytest

from vectorbucket.errors import AccessDenied
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse, Identified


def test_the_first_of_several_headers_counts() -> None:
    request = HttpRequest("GET", "/", (("a", "1"), ("b", "2"), ("a", "3")))
    assert request.header("a") == "1"
    assert request.header("c") == ""


def test_bodies_are_in_no_repr() -> None:
    assert "secret" not in repr(HttpRequest("PUT", "/", (), b"secret"))
    assert "secret" not in repr(HttpResponse(200, (), b"secret"))


def test_whoever_is_not_refused_is_known_whether_or_not_there_is_a_name() -> None:
    assert Identified().is_known
    assert Identified("owner").is_known
    assert not Identified(refusal=AccessDenied("no")).is_known


def test_a_message_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HttpResponse(200, ()).status = 500  # type: ignore[misc]  # that is the point
