"""Fixtures of the tests of auth: requests as the vendor's own signer signs them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit

import pytest

from vectorbucket_server.auth.signature_v4 import SignedRequest


@dataclass(frozen=True)
class Wanted:
    """What to sign, and as whom."""

    method: str = "POST"
    bucket: str = "examplebucket"
    query: tuple[tuple[str, str], ...] = (("putVectors", ""),)
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    account_id: str = "1234567890"
    region: str = "cn-hangzhou"
    product: str = "oss"
    access_key_id: str = "test-ak"
    secret: str = "test-sk"  # noqa: S105 - the published vectors' own
    token: str = ""
    additional: tuple[str, ...] = ()
    signed_s: int = 1702743657
    expires_s: int = 0
    """Seconds; 0 signs by header."""


Sign: TypeAlias = Callable[[Wanted], SignedRequest]


@pytest.fixture(scope="session")
def sign() -> Sign:
    """Return a request as it arrives, in virtual-host style, signed by the vendor's signer."""
    module: Any = importlib.import_module("alibabacloud_oss_v2.signer.vectors_v4")
    types: Any = importlib.import_module("alibabacloud_oss_v2.types")

    def signed(wanted: Wanted) -> SignedRequest:
        signed_at = datetime.fromtimestamp(wanted.signed_s, UTC)
        request = types.HttpRequest(wanted.method, _url(wanted.query), dict(wanted.headers))
        context = types.SigningContext(
            product=wanted.product,
            region=wanted.region,
            bucket=wanted.bucket or None,
            request=request,
            credentials=_keys(wanted),
            signing_time=signed_at,
            additional_headers=set(wanted.additional),
        )
        context.auth_method_query = bool(wanted.expires_s)
        context.expiration_time = signed_at + timedelta(seconds=wanted.expires_s)
        module.VectorsSignerV4(wanted.account_id).sign(context)
        return SignedRequest(
            wanted.method,
            arrived_query(request.url),
            _lower(request.headers),
            wanted.bucket,
            wanted.account_id if wanted.bucket else "",
        )

    return signed


def arrived_query(url: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a URL, decoded as a server decodes them."""
    pairs = (pair.partition("=") for pair in urlsplit(url).query.split("&") if pair)
    return tuple((unquote(name), unquote(value)) for name, _, value in pairs)


def _url(query: Iterable[tuple[str, str]]) -> str:
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    return f"http://host/?{text}"


def _keys(wanted: Wanted) -> Any:
    """Return credentials as the signer reads them."""
    return SimpleNamespace(
        access_key_id=wanted.access_key_id,
        access_key_secret=wanted.secret,
        security_token=wanted.token or None,
        has_keys=lambda: True,
    )


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.fixture(scope="session")
def wanted() -> type[Wanted]:
    """Return the class of what ``sign`` takes."""
    return Wanted
