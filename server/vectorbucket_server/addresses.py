"""Addresses and host names in settings: what is one, and whom it lets in.

Rules of this file: pure functions over text; nothing is resolved or bound.
"""

from __future__ import annotations

import ipaddress
import re

_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 host stands in brackets, and keeps them.

    Raises:
        ValueError: It is no such address.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise ValueError(f"{address!r} is no HOST:PORT (an IPv6 host stands in brackets)")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65_535):  # noqa: PLR2004 - TCP
        raise ValueError(f"{address!r} has no port from 0 to 65535")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host; no name but localhost is trusted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def domain(name: object) -> str:
    """Return a host name, perhaps with a port, in small letters."""
    if not isinstance(name, str) or not _DOMAIN.fullmatch(name):
        raise ValueError(f"{name!r} is no host name")
    return name.lower()


def domains(names: object) -> object:
    """Return host names from a list of them, or from a text with commas between them."""
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    return tuple(map(domain, names)) if isinstance(names, (list, tuple)) else names


def check_reachable(name: str, address: str, *, guarded: bool) -> None:
    """Check that other machines reach a listener only if somebody wants that.

    Args:
        name: The setting.
        address: Its value.
        guarded: Whether not everybody gets in, or the operator waived that.

    Raises:
        ValueError: They do, and nobody is asked who he is.
    """
    host, _ = split_address(address)
    if not guarded and not is_loopback(host):
        raise ValueError(
            f"{name} {address} is no loopback address, so other machines reach it, and nobody is "
            "asked for credentials: name a file of --credentials, or authorities that callers' "
            "certificates must be from (--tls-client-ca), or say --insecure if that is what you "
            "want"
        )
