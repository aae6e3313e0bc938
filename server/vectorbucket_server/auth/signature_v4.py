"""Whether a request was signed, by whom, and lately enough: OSS signature version 4.

Rules of this file: pure; the clock is an argument. Whatever a request says, the answer is its
credential or one of four errors. What is wrong in form is AccessDenied; a signature that does not
fit what arrived is SignatureDoesNotMatch, whichever part it does not fit. Signatures and tokens are
compared in constant time, and are in no message.

Source: oss-vectors-api, sections 0, 6.3 and 7.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from vectorbucket.errors import (
    AccessDenied,
    InvalidAccessKeyId,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
)
from vectorbucket_server.auth.credential import UNKNOWN_ACCESS_KEY, Credential, Credentials

ALGORITHM = "OSS4-HMAC-SHA256"
"""What a signature of this version is called."""

SKEW_S_MAX = 900.0
"""Seconds by which the clocks of client and server may differ."""

EXPIRES_S_MAX = 604_800
"""Seconds for which a presigned request can be good: seven days."""

_PRODUCT = "oss"
_TERMINATOR = "aliyun_v4_request"
_BODY_HASH = "UNSIGNED-PAYLOAD"
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_DAY_CHARACTERS = 8
_SCOPE_PARTS = len(("key", "day", "region", "product", "terminator"))
_ADDITIONAL_MAX = 100
_EXPIRES = re.compile(r"\d{1,6}", re.ASCII)
_BLANKS = " \t"
"""What HTTP allows around a value, and nothing more."""

_SIGNED_ALWAYS = ("content-md5", "content-type")
_SIGNATURE_NAME = "x-oss-signature"
_REQUIRED_PARAMETERS = frozenset(
    {_SIGNATURE_NAME, "x-oss-signature-version", "x-oss-date", "x-oss-expires", "x-oss-credential"}
)
_PARAMETERS = _REQUIRED_PARAMETERS | {"x-oss-additional-headers", "x-oss-security-token"}
_MEMBERS = frozenset({"Credential", "Signature", "AdditionalHeaders"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request a signature covers, beside the time."""

    method: str
    query: tuple[tuple[str, str], ...]
    """Percent-decoded, each name and value by itself; ``+`` is itself. What is no UTF-8 is decoded
    with ``surrogateescape``, and so encoded back as it was."""
    headers: Mapping[str, str]
    """By name in lower case."""
    bucket: str
    """Empty for a request to the service itself."""
    account_id: str
    """Of the host; empty in path style, which means the credential's own."""


def verify(
    request: SignedRequest, credentials: Credentials, *, now_s: float, region: str
) -> Credential:
    """Return the credential that signed a request.

    Args:
        request: The request.
        credentials: Those in force.
        now_s: Seconds since the Unix epoch.
        region: The region of this server.

    Raises:
        AccessDenied: It is not signed, or not in this way; a presigned one is too old or not good
            yet; the security token is missing, wrong or one too many.
        InvalidAccessKeyId: Nobody has this key.
        RequestTimeTooSkewed: Its date is more than 15 minutes from now.
        SignatureDoesNotMatch: It is signed with another secret, for another region, or arrived
            otherwise than it was signed.
    """
    claim = _claim(request)
    credential = credentials.by_access_key_id(claim.access_key_id)
    if credential is None:
        raise InvalidAccessKeyId(UNKNOWN_ACCESS_KEY)
    _check_time(claim, now_s)
    if claim.region != region:
        raise SignatureDoesNotMatch(
            "the request is signed for another region than this server's; check the region that "
            "the client is configured with"
        )
    expected = _signature(request, claim, credential)
    if not _same(expected, claim.signature):
        raise SignatureDoesNotMatch(
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method."
        )
    # Only whoever has the secret hears anything of the token.
    if not _same(credential.security_token, claim.security_token):
        raise AccessDenied(
            "the security token of the access key is missing or wrong"
            if credential.security_token
            else "the access key has no security token, and the request carries one"
        )
    return credential


# --- What a request says of its signature -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Claim:
    """Who a request says signed it, when, and how."""

    access_key_id: str
    day: str
    region: str
    date: str
    additional: tuple[str, ...]
    """Names of headers that are signed beside the usual ones, in lower case, sorted."""
    signature: str
    security_token: str
    expires: str | None
    """Seconds; None for a request that is signed by a header."""


def _claim(request: SignedRequest) -> _Claim:
    """Return what a request says of its signature, by header or by query."""
    authorization = request.headers.get("authorization")
    found = _parameters(request)
    if authorization is None:
        if "x-oss-signature-version" not in found:
            raise AccessDenied(f"the request is not signed by {ALGORITHM}, the only way here")
        return _presigned(found)
    if _SIGNATURE_NAME in found or "x-oss-signature-version" in found:
        raise AccessDenied("the request is signed twice: by a header and in its query")
    return _signed(authorization, request.headers)


def _parameters(request: SignedRequest) -> dict[str, str]:
    """Return the parameters of the query that are about its signature."""
    found: dict[str, str] = {}
    for name, value in request.query:
        if name in _PARAMETERS:
            if name in found:
                raise AccessDenied(f"the query parameter {name} stands twice")
            found[name] = value
    return found


def _presigned(found: Mapping[str, str]) -> _Claim:
    """Return the claim of a request that is signed in its query."""
    for name in _REQUIRED_PARAMETERS:
        if not found.get(name):
            raise AccessDenied(f"the query parameter {name} of a presigned request is missing")
    if found["x-oss-signature-version"] != ALGORITHM:
        raise AccessDenied(f"x-oss-signature-version is not {ALGORITHM}")
    return _claim_of(
        found["x-oss-credential"],
        date=found["x-oss-date"],
        additional=found.get("x-oss-additional-headers", ""),
        signature=found[_SIGNATURE_NAME],
        security_token=found.get("x-oss-security-token", ""),
        expires=found["x-oss-expires"],
    )


def _signed(authorization: str, headers: Mapping[str, str]) -> _Claim:
    """Return the claim of a request that is signed by its Authorization header."""
    algorithm, _, rest = authorization.strip(_BLANKS).partition(" ")
    if algorithm != ALGORITHM:
        raise AccessDenied(f"the Authorization header does not begin with {ALGORITHM}")
    found: dict[str, str] = {}
    for member in rest.split(","):
        name, _, value = member.strip(_BLANKS).partition("=")
        if name not in _MEMBERS:
            raise AccessDenied("the Authorization header holds something unknown, or an empty part")
        if name in found:
            raise AccessDenied(f"the Authorization header has {name} twice")
        found[name] = value
    for name in ("Credential", "Signature"):
        if not found.get(name):
            raise AccessDenied(f"the Authorization header has no {name}")
    date = headers.get("x-oss-date")
    if date is None:
        raise AccessDenied("the request has no x-oss-date header")
    return _claim_of(
        found["Credential"],
        date=date.strip(_BLANKS),
        additional=found.get("AdditionalHeaders", ""),
        signature=found["Signature"],
        security_token=headers.get("x-oss-security-token", "").strip(_BLANKS),
        expires=None,
    )


def _claim_of(
    scoped: str,
    *,
    date: str,
    additional: str,
    signature: str,
    security_token: str,
    expires: str | None,
) -> _Claim:
    """Return a claim whose scope has the form it must have.

    Args:
        scoped: The access key id and the scope: ``AK/DAY/REGION/oss/aliyun_v4_request``.
        date: Of the signature.
        additional: Names of headers, separated by ``;``.
        signature: 64 hexadecimal digits.
        security_token: Empty if there is none.
        expires: Seconds, of a presigned request.
    """
    parts = scoped.split("/", _SCOPE_PARTS)
    if len(parts) != _SCOPE_PARTS:
        raise AccessDenied("the credential of the signature has not the form AK/DAY/REGION/…")
    access_key_id, day, region, product, terminator = parts
    if (product, terminator) != (_PRODUCT, _TERMINATOR):
        raise AccessDenied(f"the scope of the signature does not end in {_PRODUCT}/{_TERMINATOR}")
    if not _DATE.fullmatch(date) or day != date[:_DAY_CHARACTERS]:
        raise AccessDenied(
            "x-oss-date has not the form YYYYMMDDTHHMMSSZ, or is of another day than the scope"
        )
    if additional.count(";") >= _ADDITIONAL_MAX:
        raise AccessDenied(f"the signature names over {_ADDITIONAL_MAX} additional headers")
    names = (
        sorted(name.strip(_BLANKS).lower() for name in additional.split(";")) if additional else []
    )
    if len(set(names)) != len(names):
        raise AccessDenied("the additional headers of the signature name one twice")
    return _Claim(
        access_key_id, day, region, date, tuple(names), signature, security_token, expires
    )


def _check_time(claim: _Claim, now_s: float) -> None:
    """Raise an error unless a request was signed lately, or is still good."""
    try:
        signed_s = datetime.fromisoformat(claim.date).timestamp()
    except ValueError:
        raise AccessDenied("x-oss-date is no date of the calendar") from None
    if claim.expires is None:
        if abs(now_s - signed_s) > SKEW_S_MAX:
            raise RequestTimeTooSkewed(
                "The difference between the request time and the current time is too large."
            )
        return
    expires_s = int(claim.expires) if _EXPIRES.fullmatch(claim.expires) else 0
    if not 1 <= expires_s <= EXPIRES_S_MAX:
        raise AccessDenied(f"x-oss-expires is not a number from 1 to {EXPIRES_S_MAX}")
    if now_s > signed_s + expires_s:
        raise AccessDenied("Request has expired.")
    if signed_s > now_s + SKEW_S_MAX:
        raise AccessDenied("the request is signed for a time to come")


# --- The signature that it should have ----------------------------------------------------------


def _signature(request: SignedRequest, claim: _Claim, credential: Credential) -> str:
    """Return the signature that the credential makes for the request."""
    canonical = _canonical(request, claim, credential.account_id)
    scope = f"{claim.day}/{claim.region}/{_PRODUCT}/{_TERMINATOR}"
    to_sign = f"{ALGORITHM}\n{claim.date}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    key = _bytes(f"aliyun_v4{credential.access_key_secret}")
    for part in (claim.day, claim.region, _PRODUCT, _TERMINATOR, to_sign):
        key = hmac.digest(key, _bytes(part), "sha256")
    return key.hex()


def _canonical(request: SignedRequest, claim: _Claim, own_account_id: str) -> bytes:
    """Return the request in the one form in which both sides can write it."""
    lines = [
        request.method,
        _resource(request, claim.region, own_account_id),
        _query(request),
        _headers(request.headers, claim.additional),
        ";".join(claim.additional),
        _BODY_HASH,
    ]
    return _bytes("\n".join(lines))


def _resource(request: SignedRequest, region: str, own_account_id: str) -> str:
    """Return the ARN of what the request is about, percent-encoded; the URL's path is not in it."""
    if not request.bucket:
        return _quoted(f"/acs:ossvector:{region}::/", safe="/")
    account_id = request.account_id or own_account_id
    return _quoted(f"/acs:ossvector:{region}:{account_id}:{request.bucket}/", safe="/")


def _query(request: SignedRequest) -> str:
    """Return the parameters, encoded and then sorted; without a value only the name."""
    pairs = [(_quoted(name), _quoted(value)) for name, value in request.query]
    pairs = sorted(pair for pair in pairs if pair[0] != _SIGNATURE_NAME)
    return "&".join(f"{name}={value}" if value else name for name, value in pairs)


def _headers(headers: Mapping[str, str], additional: tuple[str, ...]) -> str:
    """Return the lines of the headers that are signed, each with its end."""
    if headers.get("x-oss-content-sha256", _BODY_HASH).strip(_BLANKS) != _BODY_HASH:
        raise AccessDenied(
            f"x-oss-content-sha256 is not {_BODY_HASH}: no hash of a body is checked"
        )
    for name in additional:
        if name not in headers:
            # Somebody on the way took it away: it was there when the request was signed.
            raise SignatureDoesNotMatch("an additional header of the signature is not there")
    names = sorted(
        name
        for name in headers
        if name.startswith("x-oss-") or name in _SIGNED_ALWAYS or name in additional
    )
    lines = "".join(f"{name}:{headers[name].strip(_BLANKS)}\n" for name in names)
    if lines.count("\n") != len(names):
        # What is two lines here could be signed as two headers.
        raise SignatureDoesNotMatch("a signed header holds the end of a line")
    return lines


def _quoted(text: str, safe: str = "") -> str:
    """Return a text percent-encoded; letters, digits and ``-._~`` stay."""
    if text.isascii():
        return quote(text, safe=safe)
    return quote(_bytes(text), safe=safe)


def _bytes(text: str) -> bytes:
    """Return a text as it was on the wire; of what cannot have been on it, some bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _same(secret: str, given: str) -> bool:
    """Return whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(_bytes(secret), _bytes(given))
