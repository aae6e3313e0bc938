"""Somebody who answers requests with what was asked, in the translator's place.

Rules of this file: it is for tests of how HTTP is spoken, whatever is said; refusals are worded as
the dialect's envelope, as far as these tests look.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from raw_http import RawAnswer, Serving, serving
from vectorbucket.errors import AccessDenied, VectorBucketError
from vectorbucket_server.rest.app import make_app
from vectorbucket_server.rest.http_server import Tls
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse, Identified

PATIENT = RestOptions(body_bytes_max=2_000_000, bodies_bytes_max=4_000_000, connections_max=8)
"""Bounds that are reached, and patience that is not."""

HASTY = RestOptions(
    body_bytes_max=2_000_000,
    idle_timeout_s=0.5,
    body_timeout_s=1.5,
    linger_s=0.5,
    drain_grace_s=0.5,
    connections_max=8,
)
"""Little patience."""

LARGE_BYTES = 16_000_000
"""The size of a large answer: more than the system keeps for a client who does not read."""

JSON = ("content-type", "application/json")


class Echo:
    """Answers with what was asked; some targets say to do something else."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        """What was asked for."""
        self.waiting = threading.Semaphore(0)
        """Released once for every request that waits for ``go_on``."""
        self.cancelled = 0
        """Requests that were broken off while they waited."""
        self._gates: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def go_on(self) -> None:
        """Let every request that waits be answered."""
        for loop, gate in self._gates:
            loop.call_soon_threadsafe(gate.set)

    def identify(self, request: HttpRequest) -> Identified:
        """Know everybody who does not say that they are strange."""
        assert request.body == b""
        strange = request.header("x-stranger")
        return Identified(refusal=AccessDenied("nobody knows you") if strange else None)

    async def translate(self, request: HttpRequest, identified: Identified) -> HttpResponse:
        """Return what was asked."""
        if identified.refusal is not None:
            assert request.body == b""
            return self.refused(identified.refusal)
        self.targets.append(request.target)
        match request.target:
            case "/wait":
                await self._wait()
            case "/stubborn":
                await self._wait(stubborn=True)
            case "/nothing":
                return HttpResponse(204, (), b"")
            case "/large":
                return HttpResponse(200, (JSON,), b"1" * LARGE_BYTES)
            case "/broken":
                raise ZeroDivisionError("nobody foresaw this")
        asked = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": request.body[:100].decode("latin-1"),
            "size": len(request.body),
            "sum": sum(request.body),
            "from": request.remote_address,
        }
        return HttpResponse(200, (JSON,), json.dumps(asked).encode())

    def refused(self, error: VectorBucketError, host: str = "") -> HttpResponse:
        """Return an error in the envelope."""
        said = {"Code": error.code, "Message": error.message, "HostId": host}
        again = () if error.retry_after_s is None else (("retry-after", "1"),)
        return HttpResponse(error.http_status, (JSON, *again), json.dumps({"Error": said}).encode())

    async def _wait(self, *, stubborn: bool = False) -> None:
        """Wait for ``go_on``, if stubborn even when broken off."""
        gate = asyncio.Event()
        self._gates.append((asyncio.get_running_loop(), gate))
        self.waiting.release()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if stubborn:
                await gate.wait()
            raise


@contextmanager
def echoing(echo: Echo, options: RestOptions, tls: Tls | None = None) -> Iterator[Serving]:
    """Serve an echo while the block runs."""
    with serving(make_app(echo, options), options, tls) as served:
        yield served


def assert_refused(answer: RawAnswer, status: int, code: str) -> None:
    """Check that an answer is an error in the envelope, and the connection's last."""
    assert (answer.status, answer.code) == (status, code)
    assert answer.header("content-type") == "application/json"
    assert answer.header("server") == "vectorbucket"
    assert answer.header("date").endswith(" GMT")
    assert answer.header("connection") == "close"
