"""``GET /metrics`` on an address of its own, for Prometheus, by the server's own process.

Rules of this file: it has a thread of its own, on which nothing but sockets is served, and one more
on which the metrics are made, so that no scrape waits for a call and no call for a scraper. What
HTTP asks of a listener (slow clients, torn heads, too many connections) is the REST listener's, of
which this is a small one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from vectorbucket.errors import AccessDenied, InvalidArgument, VectorBucketError
from vectorbucket_server.addresses import split_address
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.auth.entries import AUTHORIZATION
from vectorbucket_server.listening import listen
from vectorbucket_server.observability.logs import Log
from vectorbucket_server.rest.app import make_app
from vectorbucket_server.rest.http_server import Tls, serve_app
from vectorbucket_server.rest.metrics_page import PATH, TEXT, refusal
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse, Identified
from vectorbucket_server.tls import IdentityFiles

OPTIONS = RestOptions(
    body_bytes_max=0,
    idle_timeout_s=20.0,
    answer_timeout_s=20.0,
    connections_max=32,
    linger_s=1.0,
    drain_grace_s=1.0,
)
"""Bounds: a few scrapers, each with a connection that it keeps for its next scrape."""


class MetricsListener:
    """The listener of one server. Used once: start, then stop."""

    def __init__(
        self,
        address: str,
        text: Callable[[], str],
        authenticator: Authenticator,
        *,
        identity: IdentityFiles | None,
        log: Log,
    ) -> None:
        """Take the address.

        Args:
            address: HOST:PORT.
            text: Returns the metrics, in the text format of Prometheus.
            authenticator: Knows callers.
            identity: What TLS is spoken with; None: it is not.
            log: Is told of handshakes that fail.

        Raises:
            StartFailed: The address cannot be had.
        """
        self._listening = listen(address)
        self._tls = None
        if identity is not None:
            self._tls = Tls(
                identity.context,
                lambda reason, address: log.debug(
                    "TLS handshake failed", reason=reason, remote_address=address
                ),
            )
        host, _ = split_address(address)
        self.address = f"{host}:{self._listening.getsockname()[1]}"
        """HOST:PORT as bound."""
        self._page = _Page(text, authenticator)
        self._stop: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to serve; connections that came before wait until then."""
        ready = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self._serve(ready))
            finally:
                ready.set()  # or whoever starts it would wait for ever

        self._thread = threading.Thread(target=run, name="metrics", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """End what is under way, after a second at most, and let the address go; idempotent."""
        if self._stop is not None and self._thread is not None:
            with suppress(RuntimeError):  # it has ended by itself, and its loop is closed
                self._stop()
            self._thread.join()
        self._listening.close()

    async def _serve(self, ready: threading.Event) -> None:
        """Serve until told to stop."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        with self._page:
            app = make_app(_NOTHING_ELSE, OPTIONS, self._page)
            await serve_app(
                app, self._listening, OPTIONS, on_ready=ready.set, stop=stop, tls=self._tls
            )


class _Page:
    """The metrics, for those who may see them."""

    def __init__(self, text: Callable[[], str], authenticator: Authenticator) -> None:
        self._text = text
        self._authenticator = authenticator

    def __enter__(self) -> None:
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    def __exit__(self, *_: object) -> None:
        self._maker.shutdown()

    def is_asked_for(self, request: HttpRequest) -> bool:
        """Return whether a request is for the metrics, with or without a query."""
        return request.target.partition("?")[0] == PATH

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Return the metrics, or why they are not shown."""
        try:
            self._check_operator(request)
        except VectorBucketError as error:
            return refusal(error)
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._maker, self._text)
        return HttpResponse(200, (TEXT,), text.encode())

    def _check_operator(self, request: HttpRequest) -> None:
        """Return if whoever asks may see them.

        Raises:
            VectorBucketError: Of an unknown caller, or of one who is no operator.
        """
        said = [(name, value) for name, value in request.headers if name == AUTHORIZATION]
        principal = self._authenticator.authenticate(said).principal
        if not (principal.operator or principal.unrestricted):
            raise AccessDenied("metrics are for a credential with operator = true")


class _NothingElse:
    """What is answered to everything else."""

    def identify(self, _request: HttpRequest) -> Identified:
        """Know nobody, so that no body is read."""
        return Identified(refusal=_NOTHING_HERE)

    async def translate(self, _request: HttpRequest, _identified: Identified) -> HttpResponse:
        """Return that there is nothing."""
        answer = refusal(_NOTHING_HERE)
        return HttpResponse(404, answer.headers, answer.body)

    def refused(self, error: VectorBucketError, _host: str = "") -> HttpResponse:
        """Return how an error is told."""
        return refusal(error)


_NOTHING_HERE = InvalidArgument(f"there is nothing here but GET {PATH}")


_NOTHING_ELSE = _NothingElse()
