"""Page tokens: where a listing goes on, in a form that callers can only hand back.

A token is base64url, without padding, of: one byte of version, twelve bytes of digest, the cursor
in UTF-8. The digest is taken of version, scope and cursor, so that a token that was cut, changed,
or made for another listing is told from a good one without the server remembering any.

Rules of this file: a token never changes what a listing may see, only where it starts; it stays
good when what its cursor names is gone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TypeAlias

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket_server.naming import shown

Scope: TypeAlias = tuple[str | int, ...]
"""What a token is for: the operation and all that must be the same on the next page."""

_VERSION = b"\x01"
_DIGEST_BYTES = 12


def encode_token(scope: Scope, cursor: str) -> str:
    """Return the token that goes on after a cursor; about 4/3 of its bytes and 18 more."""
    body = cursor.encode()
    token = _VERSION + _digest(scope, body) + body
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def decode_token(scope: Scope, token: str, bytes_max: int) -> str:
    """Return the cursor of a token; an empty token means the start.

    Args:
        scope: What the token must have been made for.
        token: As the caller sent it.
        bytes_max: The longest token of this operation.

    Raises:
        VectorIndexParameterInvalid: It is none of ours, or one for another listing.
    """
    if not token:
        return ""
    if len(token) > bytes_max:
        raise VectorIndexParameterInvalid(
            f"next_token has {len(token)} bytes; the limit is {bytes_max}",
            field="next_token",
            details={"value": str(len(token)), "limit": str(bytes_max)},
        )
    cursor = _cursor_of(token)
    # Encoding again also refuses the other spellings that base64 has for the same bytes.
    if cursor is None or encode_token(scope, cursor) != token:
        raise VectorIndexParameterInvalid(
            f"next_token {shown(token)} is none that this {scope[0]} of this bucket, index, prefix "
            "and segment answered",
            field="next_token",
            details={"value": shown(token)},
        )
    return cursor


def _cursor_of(token: str) -> str | None:
    """Return what stands where a token has its cursor, or None if it is no token by its form."""
    try:
        raw = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), b"-_", validate=True)
        return raw[len(_VERSION) + _DIGEST_BYTES :].decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _digest(scope: Scope, body: bytes) -> bytes:
    """Return the digest that ties a cursor to its scope."""
    return hashlib.blake2b(
        _VERSION + repr(scope).encode() + b"\0" + body, digest_size=_DIGEST_BYTES
    ).digest()
