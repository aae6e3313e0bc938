"""The translator: one HTTP request in, one RPC through stubs, one HTTP response out.

Rules of this file: it holds the order in which a request is looked at, and nothing of its own:
target, signature, route, body, RPC. Whoever calls is known before anything is told, and before a
body is read, as no signature covers one. What is wrong with a request that has an RPC is sent along
as a fault, so that the server tells it at its place among its own checks; only what has none is
answered here. One request is one RPC at most. No error leaves it but as a response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import grpc

from vectorbucket.errors import (
    AccessDenied,
    Forbidden,
    InvalidAccessKeyId,
    RequestTimeout,
    ServiceUnavailable,
    VectorBucketError,
)
from vectorbucket.status import error_of_call
from vectorbucket_server.auth.credential import Credentials
from vectorbucket_server.auth.entries import Entries, encode_fault
from vectorbucket_server.auth.signature_v4 import SignedRequest, verify
from vectorbucket_server.rest.oss.browsers import refusal_of_browser
from vectorbucket_server.rest.oss.conversion import About, Conversion, Reply, converted
from vectorbucket_server.rest.oss.errors import JSON_TYPE, headers_of, response_to
from vectorbucket_server.rest.oss.hosts import Address, address_of, text_of
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse, Identified
from vectorbucket_server.rest.oss.routes import Route, route_of
from vectorbucket_server.rest.oss.traces import trace_entries

T = TypeVar("T")

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
"""Entries of a call."""

OFFLOAD_BYTES = 256 * 1024
"""Bodies over this size are converted elsewhere, so that others need not wait for it: a megabyte
takes about 2 ms."""


LISTING = "ListVectors"
"""The RPC whose answers can be tens of megabytes."""

LISTINGS_AT_ONCE = 4
"""Listings that are worked on at once, from the call to the JSON; further ones wait, and hold
nothing meanwhile. A page of 1,000 × 4,096 takes about 100 MB."""


@dataclass(frozen=True, slots=True)
class Door:
    """What a translator is made for."""

    region: str
    """That signatures have to be for."""
    account_id: str
    """Whose buckets are made here when nobody is asked for credentials."""
    base_domains: tuple[str, ...] = ()
    """Names of the service; empty: buckets in hosts are told by their looks."""
    public_endpoint: str = ""
    """The host that buckets are said to be reached under; empty: the request's own."""


class Offload(Protocol):
    """Runs work that takes a while."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Return what comes of the work, when it is done."""


class Stubs(NamedTuple):
    """The services of the contract, on one ``grpc.aio`` channel."""

    buckets: Any
    indexes: Any
    vectors: Any


class Translator:
    """Answers HTTP requests in the OSS dialect by calling a server of the contract."""

    def __init__(
        self,
        stubs: Stubs,
        door: Door,
        *,
        credentials: Callable[[], Credentials] | None,
        api_key: str,
        now_s: Callable[[], float],
        new_request_id: Callable[[], str],
        offload: Offload,
        timeout_s: float = 60,
    ) -> None:
        """Take what requests are answered with.

        Args:
            stubs: Of the server.
            door: What the translator is made for.
            credentials: Returns those in force, whose signatures are good; None: none is read.
            api_key: What the translator itself calls with; empty: nothing.
            now_s: The clock, in seconds since 1970.
            new_request_id: Makes the id of a request: 24 upper-case hexadecimal digits.
            offload: Runs what takes a while, where nobody waits for it but who asked.
            timeout_s: Longest that one RPC may take.
        """
        self._stubs = stubs
        self._door = door
        self._base_domains = frozenset(name.lower() for name in door.base_domains)
        self._credentials = credentials
        self._api_key = api_key
        self._now_s = now_s
        self._new_request_id = new_request_id
        self._offload = offload
        self._timeout_s = timeout_s
        self._listings = asyncio.Semaphore(LISTINGS_AT_ONCE)

    def identify(self, request: HttpRequest) -> Identified:
        """Return who sent a request, or why it is from nobody known.

        Args:
            request: The request; its body may still be missing.
        """
        return self._identified(request, address_of(request, self._base_domains))

    async def translate(
        self, request: HttpRequest, identified: Identified | None = None
    ) -> HttpResponse:
        """Return the response to a request.

        Args:
            request: The request; one from nobody known needs no body.
            identified: What ``identify`` said of it; None: it was not asked.
        """
        request_id = self._new_request_id()
        address = address_of(request, self._base_domains)
        if identified is None:
            identified = self._identified(request, address)
        try:
            status, reply = await self._answer(request, address, identified, request_id)
        except VectorBucketError as error:
            return self._response_to(error, request_id, address.host)
        headers = (*headers_of(request_id, self._date()), *reply.headers)
        if reply.body:
            headers = (*headers, ("content-type", JSON_TYPE))
        return HttpResponse(status, headers, reply.body)

    def refused(self, error: VectorBucketError, host: str = "") -> HttpResponse:
        """Return the response that tells an error which came up before there was a request."""
        return self._response_to(error, self._new_request_id(), host)

    async def _answer(
        self, request: HttpRequest, address: Address, identified: Identified, request_id: str
    ) -> tuple[int, Reply]:
        """Return status and reply of a success.

        Raises:
            VectorBucketError: It is none.
        """
        route = _route(request, address, identified.refusal)
        fault = identified.refusal
        if fault is None:
            message, fault = await self._converted(route.conversion, request.body, address)
        else:
            # Of a request that nobody known has sent, no body is read.
            message, _ = converted(Conversion(route.conversion.message), address.bucket, {}, b"")
        entries = Entries(
            api_key=self._api_key,
            principal=identified.principal,
            request_id=request_id,
            account_id=address.account_id or None,
            fault=None if fault is None else encode_fault(fault),
            remote_address=request.remote_address or None,
        )
        about = About(message, self._door.public_endpoint or address.service_host)
        async with self._listings if route.rpc == LISTING else nullcontext():
            metadata = (*entries.metadata(), *trace_entries(request.headers))
            answer = await self._call(route, message, metadata, fault)
            return route.status, await self._replied(route.conversion, answer, about)

    def _identified(self, request: HttpRequest, address: Address) -> Identified:
        """Return who signed a request, or why it counts as signed by nobody."""
        if self._credentials is None:
            own_names = (*self._base_domains, self._door.public_endpoint)
            return Identified(refusal=refusal_of_browser(request.headers, address.host, own_names))
        headers: dict[str, str] = {}
        for name, value in request.headers:
            headers.setdefault(name, value)
        signed = SignedRequest(
            request.method, address.query, headers, address.bucket, address.account_id
        )
        try:
            credential = verify(
                signed, self._credentials(), now_s=self._now_s(), region=self._door.region
            )
        except Forbidden as error:
            return Identified(refusal=error)
        return Identified(credential.name)

    async def _converted(
        self, conversion: Conversion, body: bytes, address: Address
    ) -> tuple[Any, VectorBucketError | None]:
        """Return the message of a request, and what is wrong with it."""
        parameters = {name: text_of(value) for name, value in address.query}

        def convert() -> tuple[Any, VectorBucketError | None]:
            return converted(conversion, address.bucket, parameters, body)

        return await self._off_loop(convert, len(body))

    async def _replied(self, conversion: Conversion, answer: Any, about: About) -> Reply:
        """Return the reply that the answer of the server makes."""
        return await self._off_loop(lambda: conversion.reply(answer, about), answer.ByteSize())

    async def _off_loop(self, work: Callable[[], T], size_bytes: int) -> T:
        """Return what comes of work on so many bytes.

        Work that is under way cannot be broken off, and holds its bytes until it is done: so long,
        whoever is cancelled stays here, and what is counted for the request stays counted. Work
        that has not begun is not done any more, as soon as its turn comes.
        """
        if size_bytes <= OFFLOAD_BYTES:
            return work()
        wanted = True
        running = asyncio.ensure_future(self._offload(lambda: work() if wanted else None))
        try:
            done = await asyncio.shield(running)
        except asyncio.CancelledError:
            wanted = False
            await _ended(running)
            raise
        return cast("T", done)  # None only if nobody is here any more

    async def _call(
        self, route: Route, message: Any, metadata: Metadata, fault: VectorBucketError | None
    ) -> Any:
        """Return what the server answers.

        Raises:
            VectorBucketError: It refuses.
        """
        rpc = getattr(getattr(self._stubs, route.service), route.rpc)
        try:
            return await rpc(message, metadata=metadata, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._told(error_of_call(error), fault) from None
        except grpc.aio.UsageError:
            raise ServiceUnavailable("this translator is stopping") from None

    def _told(self, error: VectorBucketError, fault: VectorBucketError | None) -> VectorBucketError:
        """Return how a call ended, in words for a caller who knows of no RPC.

        What a server of the contract says has the id of the request; the rest is of gRPC's own.
        """
        if _is_about_translator(error, fault):
            return ServiceUnavailable(
                "the server does not accept the key of this translator, or not in the name of "
                "others; its operator has to look at that key"
            )
        if error.request_id is None and isinstance(error, ServiceUnavailable):
            return ServiceUnavailable("the server behind this address cannot be reached now")
        if isinstance(error, RequestTimeout):
            # Whichever side saw it first, the deadline is the one set here; the server may say why.
            why = "" if error.request_id is None else f" ({error.message})"
            return RequestTimeout(
                f"the server did not answer within {self._timeout_s:g} s{why}; what the request "
                "changed is unknown"
            )
        return error

    def _response_to(self, error: VectorBucketError, request_id: str, host: str) -> HttpResponse:
        return response_to(error, request_id=request_id, host=host, date=self._date())

    def _date(self) -> str:
        """Return now, as HTTP writes it."""
        return formatdate(self._now_s(), usegmt=True)


def _is_about_translator(error: VectorBucketError, fault: VectorBucketError | None) -> bool:
    """Return whether what the server refuses is the translator itself, not who it calls for.

    Of a caller whom it does not know, the server says the name; of an entry that a translator may
    not send, the entry.
    """
    if isinstance(error, InvalidAccessKeyId):
        return not isinstance(fault, InvalidAccessKeyId) and "principal" not in error.details
    return isinstance(error, AccessDenied) and "entry" in error.details


async def _ended(running: asyncio.Future[Any]) -> None:
    """Return when something has ended, however often that is told not to wait for it."""
    while not running.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([running])


def _route(request: HttpRequest, address: Address, unsigned: VectorBucketError | None) -> Route:
    """Return the operation that a request asks for.

    Raises:
        VectorBucketError: There is none; of a request that nobody known has sent, that is all that
            is told.
    """
    try:
        if address.fault is not None:
            raise address.fault
        names = [name for name, _ in address.query]
        return route_of(request.method, names, bucket=bool(address.bucket))
    except VectorBucketError:
        if unsigned is not None:
            raise unsigned from None
        raise
