"""Requests that a web page has a browser send, to a server that asks nobody who he is.

A server without credentials is for those who reach it: the programs of one machine, mostly. A
browser there reaches it too, and sends for any page that it shows what needs no permission: a POST
of plain text, say. Two things give that away. The page's own host, which browsers name in Origin,
is another one than the request's; or it is the same, and a name that has nothing to do with this
server, which whoever owns the name has just pointed here (DNS rebinding).

Rules of this file: pure; what it goes by is sent by browsers and by no SDK, so that these and curl
and proxies are never refused here. A browser is told by Origin, by Sec-Fetch-Site, or by what all
of them call themselves, because a page can keep it from sending the others. Referer does not count:
plain HTTP clients make one when they follow a redirect.

Source: the Fetch standard, sections 3.1 and 4.6; Fetch Metadata Request Headers, section 2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from vectorbucket.errors import AccessDenied

ORIGIN = "origin"
SEC_FETCH_SITE = "sec-fetch-site"
USER_AGENT = "user-agent"

_BROWSER = "mozilla/"
"""How the user agent of every browser begins."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#@]*)", re.ASCII)
_PORT = re.compile(r":[0-9]*$", re.ASCII)
_NO_NAME = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\]|(.*\.)?localhost", re.ASCII)
"""Hosts that nobody can point anywhere: addresses, and this machine."""


_REMEDY = (
    "a server without credentials does not answer what a web page may have sent without its "
    "reader's knowledge; configure credentials, or send the request without a browser"
)


def refusal_of_browser(
    headers: Iterable[tuple[str, str]], host: str, own_names: Collection[str]
) -> AccessDenied | None:
    """Return why a request may come from a web page that has no business here; None: it does not.

    Args:
        headers: Of the request; names in lower case.
        host: That the request asks for, in lower case, perhaps with a port.
        own_names: Hosts under which this server is known, in lower case, perhaps with a port;
            what stands below one is known, too. Empty ones are passed over.
    """
    telling = [
        (name, value)
        for name, value in headers
        if name in (ORIGIN, SEC_FETCH_SITE)
        or (name == USER_AGENT and value.lower().startswith(_BROWSER))
    ]
    if not telling:
        return None
    for name, value in telling:
        if name == ORIGIN and _host_of(value) != host:
            return _refusal("it is sent for a page of another host than its own (Origin)")
        if name == SEC_FETCH_SITE and value.strip().lower() == "cross-site":
            return _refusal("it is sent for a page of another site (Sec-Fetch-Site)")
    if not _is_own(host, own_names):
        return _refusal(
            "a browser sent it, and its host is neither an address, nor of this machine, nor "
            "among the names of this server (the settings rest_base_domains and "
            "rest_public_endpoint)"
        )
    return None


def _host_of(origin: str) -> str | None:
    """Return host and port of an origin; None if it has none, as ``null``."""
    found = _ORIGIN.fullmatch(origin.strip().lower())
    return found[1] if found else None


def _is_own(host: str, own_names: Collection[str]) -> bool:
    """Return whether nobody can have pointed a host here but who runs this server."""
    name = _without_port(host)
    if _NO_NAME.fullmatch(name):
        return True
    known = (_without_port(own.lower()) for own in own_names if own)
    return any(name == own or name.endswith(f".{own}") for own in known)


def _without_port(host: str) -> str:
    return _PORT.sub("", host).removesuffix(".")


def _refusal(reason: str) -> AccessDenied:
    return AccessDenied(f"the request is refused, because {reason}: {_REMEDY}")
