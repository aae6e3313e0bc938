"""Target and Host header -> which bucket of which account a request means, on which service.

Rules of this file: pure, and total: a target that makes no sense is an address with a fault, never
an exception, because who calls is asked before what is wrong with the call is told. Names are not
judged here: whatever stands where a bucket is named is what the server is asked about.

A bucket is named in the host (``BUCKET-ACCOUNT.SERVICE``, then the path is ``/``) or in the path
(``SERVICE/BUCKET/``). Which is meant is a question of the host alone: with base domains configured,
what stands left of one names a bucket; without, a first label that looks like one does.

Source: oss-vectors-api, sections 1.2 and 1.4.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from vectorbucket.errors import InvalidArgument
from vectorbucket_server.rest.oss.messages import HttpRequest

HOST_CHARACTERS_MAX = 255
"""The longest host with its port that is looked at. Source: a name of DNS has at most 253 bytes."""

_BUCKET_LABEL = re.compile(r"([a-z0-9][a-z0-9-]*)-([0-9]{1,32})", re.ASCII)
"""The last hyphen before nothing but digits parts bucket and account; no account id is longer."""

_ABSOLUTE = re.compile(r"(?i:https?)://([^/?#]*)([^#]*)", re.DOTALL)
_HOST = re.compile(r"([a-z0-9._-]*|\[[0-9a-f:.]*\])(:[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request goes."""

    bucket: str
    """Empty for the service itself."""
    account_id: str
    """As the host says; empty where it does not."""
    host: str
    """As asked for, with its port."""
    service_host: str
    """The host without the label that names a bucket, with its port."""
    query: tuple[tuple[str, str], ...]
    """Decoded, in the order of the target; bytes that are no UTF-8 as lone surrogates, so that what
    was signed can be told."""
    fault: InvalidArgument | None = None
    """What is wrong with the target, if there is something."""


def address_of(request: HttpRequest, base_domains: Collection[str] = ()) -> Address:
    """Return where a request goes.

    Args:
        request: The request.
        base_domains: Names of the service, in lower case without port; a host that is none of them
            nor a label longer names no bucket. Empty: hosts are told by their looks.
    """
    target, fault = request.target, None
    hosts = {value for name, value in request.headers if name == "host"}
    host = request.header("host")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        # Then the Host header does not count. Source: RFC 9112, section 3.2.2.
        host, target = absolute[1], absolute[2]
        target = target if target.startswith("/") else f"/{target}"
    elif not target.startswith("/"):
        fault = _fault("the target of the request is neither a path nor an http URL")
        target = "/"
    elif len(hosts) > 1:
        fault = _fault("the request has several Host headers, which differ")
    host = host.strip().lower()
    split = _split_host(host, base_domains)
    if split is None:
        fault = fault or _fault("the host of the request is no host name")
        host, split = "", ("", "", "")
    bucket, account_id, service_host = split
    path, _, query = target.partition("?")
    if bucket:
        if path != "/":
            fault = fault or _fault("the path is not '/', though the host names the bucket")
    else:
        bucket, rest = _bucket_of_path(path)
        if rest:
            fault = fault or _fault("the path names more than a bucket; there are no objects here")
    return Address(bucket, account_id, host, service_host, _pairs(query), fault)


def _split_host(host: str, base_domains: Collection[str]) -> tuple[str, str, str] | None:
    """Return bucket, account id and service host of a host; None if it is none.

    Args:
        host: In lower case, perhaps with a port.
        base_domains: See ``address_of``.
    """
    parts = _HOST.fullmatch(host) if len(host) <= HOST_CHARACTERS_MAX else None
    if parts is None:
        return None
    name, port = parts[1].removesuffix("."), parts[2] or ""
    label, _, service = name.partition(".")
    found = _BUCKET_LABEL.fullmatch(label)
    # A host of one label is the service's own, however it looks: nothing would be left of it.
    named = bool(found and service)
    if base_domains:
        named = named and service in base_domains and name not in base_domains
    if found is None or not named:
        return "", "", host
    return found[1], found[2], service + port


def _bucket_of_path(path: str) -> tuple[str, str]:
    """Return the bucket that a path names, empty if none, and what else the path says."""
    segment, slash, rest = path[1:].partition("/")
    if slash and not segment:
        return "", path
    return text_of(_decoded(segment)), rest


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a query. ``a`` and ``a=`` are the same; a plus is a plus."""
    parts = (part.partition("=") for part in query.split("&") if part)
    return tuple((_decoded(name), _decoded(value)) for name, _, value in parts)


def text_of(decoded: str) -> str:
    """Return a decoded part of a target as Unicode text; what is no UTF-8 becomes U+FFFD."""
    if decoded.isascii():
        return decoded
    return decoded.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _decoded(text: str) -> str:
    """Return what stands percent-encoded in a target."""
    if "%" not in text and text.isascii():
        return text
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")


def _fault(problem: str) -> InvalidArgument:
    return InvalidArgument(problem)
