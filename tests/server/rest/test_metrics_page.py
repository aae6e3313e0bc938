"""``GET /metrics`` on the REST listener: what is taken for it, and who sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from conftest import StartServer
from measured import CREDENTIALS, OPERATOR_KEY, OWNER_KEY, value_in
from oss.dialect import BUCKET_HOST, DOOR, SERVICE_HOST
from oss.live_rest import write_credentials
from vectorbucket.errors import QpsLimitExceeded
from vectorbucket.v1 import operations_service_pb2_grpc
from vectorbucket_server.rest.metrics_page import MetricsPage, refusal
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse


def asked(
    target: str = "/metrics", method: str = "GET", host: str = SERVICE_HOST, **headers: str
) -> HttpRequest:
    """Return a request; underscores in names of headers stand for hyphens."""
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpRequest(method, target, (("host", host), *named))


class Page:
    """A page before a server, and the loop that it runs in."""

    def __init__(self, runner: asyncio.Runner, page: MetricsPage) -> None:
        self._runner = runner
        self._page = page

    def get(self, **headers: str) -> HttpResponse:
        """Return the answer to a request."""
        return self._runner.run(self._page.answer(asked(**headers)))


@contextmanager
def page_before(address: str, *, guarded: bool, timeout_s: float = 20.0) -> Iterator[Page]:
    """Yield the page before a server at an address."""

    async def opened() -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(address)

    with asyncio.Runner() as runner:
        channel = runner.run(opened())
        stub = operations_service_pb2_grpc.OperationsServiceStub(channel)  # type: ignore[no-untyped-call]
        page = MetricsPage(stub, DOOR, asks_for_credentials=guarded, timeout_s=timeout_s)
        try:
            yield Page(runner, page)
        finally:
            runner.run(channel.close(None))


# --- What is taken for it -------------------------------------------------------------------------

UNASKED: Any = None


@pytest.fixture(scope="module")
def unconnected() -> MetricsPage:
    return MetricsPage(UNASKED, DOOR, asks_for_credentials=False, timeout_s=1)


@pytest.mark.parametrize(
    "request_",
    [asked(), asked(f"http://{SERVICE_HOST}/metrics", host="x"), asked(host="127.0.0.1:8080")],
    ids=["path", "absolute", "address"],
)
def test_plain_get_on_the_service_is_for_the_page(
    unconnected: MetricsPage, request_: HttpRequest
) -> None:
    assert unconnected.is_asked_for(request_)


@pytest.mark.parametrize(
    "request_",
    [
        asked(method="POST"),
        asked(method="HEAD"),
        asked("/metrics?"),
        asked("/metrics?bucketInfo"),
        asked("/metrics?x=/metrics"),
        asked("/metrics/"),
        asked("/a/metrics"),
        asked("/%6Detrics"),
        asked("/"),
        asked(host=BUCKET_HOST),
        asked(f"http://{BUCKET_HOST}/metrics"),
        asked(host="no host"),
    ],
    ids=lambda one: f"{one.method}-{one.target}-{one.header('host')}".replace("/", ":"),
)
def test_everything_else_is_the_dialects(unconnected: MetricsPage, request_: HttpRequest) -> None:
    assert not unconnected.is_asked_for(request_)


# --- Who sees it ----------------------------------------------------------------------------------


def test_open_server_shows_its_metrics_to_everybody(start_server: StartServer) -> None:
    with page_before(start_server().address, guarded=False) as page:
        answer = page.get()
        assert answer.status == 200
        assert dict(answer.headers)["content-type"].startswith("text/plain; version=0.0.4;")
        again = page.get(authorization="Bearer whoever").body.decode()
        assert value_in(again, "vectorbucket_calls_total", method="GetMetrics", code="OK") == 1


def test_server_with_credentials_shows_them_to_operators(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(credentials=write_credentials(tmp_path, CREDENTIALS))
    with page_before(server.address, guarded=True) as page:
        assert page.get(authorization=f"Bearer {OPERATOR_KEY}").status == 200
        for said in ({}, {"authorization": "Bearer vbk_wrong"}, {"authorization": "Bearer é"}):
            answer = page.get(**said)
            assert answer.status == 401
            assert ("www-authenticate", "Bearer") in answer.headers
            assert answer.body.startswith(b"InvalidAccessKeyId: ")
            assert b"wrong" not in answer.body
        answer = page.get(authorization=f"Bearer {OWNER_KEY}")
        assert answer.status == 403
        assert ("content-type", "text/plain; charset=utf-8") in answer.headers
        assert b"operator = true" in answer.body


def test_web_page_sees_no_metrics_of_an_open_server(start_server: StartServer) -> None:
    with page_before(start_server().address, guarded=False) as page:
        answer = page.get(origin="http://elsewhere.example.com")
        assert answer.status == 403
        assert b"Origin" in answer.body


def test_server_that_is_away_is_told_without_its_address() -> None:
    with page_before("127.0.0.1:1", guarded=False) as page:
        answer = page.get()
        assert answer.status == 503
        assert b"127.0.0.1" not in answer.body


def test_refusal_is_a_line_of_text_with_the_errors_own_status() -> None:
    answer = refusal(QpsLimitExceeded("too much"))
    assert (answer.status, answer.body) == (503, b"QpsLimitExceeded: too much\n")
