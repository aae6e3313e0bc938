"""The entries of a call's metadata that say who calls, in whose name, and what was wrong already.

Rules of this file: it names, writes and reads entries; who may send which is the authenticator's.
A fault is an error that the translator found before there was a call, sent along so that the server
raises it at the right place among its own checks. Nothing read here is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vectorbucket.errors import (
    AccessDenied,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidVectorBucketName,
    MalformedJson,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
    VectorBucketError,
    VectorIndexParameterInvalid,
)

AUTHORIZATION = "authorization"
"""``Bearer KEY``, an API key."""

PRINCIPAL = "x-vectorbucket-principal"
"""Name of the credential in whose name a translator calls."""

REQUEST_ID = "x-vectorbucket-request-id"
"""The id of the request that a translator serves: 24 upper-case hexadecimal digits."""

ACCOUNT_ID = "x-vectorbucket-account-id"
"""The account that the bucket has to belong to: decimal digits."""

FAULT = "x-vectorbucket-fault-bin"
"""An error that is known already."""

REMOTE_ADDRESS = "x-vectorbucket-remote-address"
"""From where the request came that a translator serves, as ``HOST:PORT``: for logs."""

MESSAGE_CHARACTERS_MAX = 1000
"""Characters of a fault's message, at most."""

FAULT_BYTES_MAX = 4096
"""Bytes of an encoded fault, at most: gRPC takes about 8 KiB of metadata with a call."""

_FIELD_CHARACTERS_MAX = 200

_LEAVES: Mapping[str, type[VectorBucketError]] = {
    leaf.code: leaf
    for leaf in (
        MalformedJson,
        VectorIndexParameterInvalid,
        InvalidArgument,
        InvalidVectorBucketName,
        AccessDenied,
        InvalidAccessKeyId,
        SignatureDoesNotMatch,
        RequestTimeTooSkewed,
    )
}
"""What can be found wrong before there is a call."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of one call, as they were sent; empty or None where one was not."""

    api_key: str = field(default="", repr=False)
    principal: str | None = None
    request_id: str | None = None
    account_id: str | None = None
    fault: bytes | None = field(default=None, repr=False)
    """Encoded."""
    remote_address: str | None = None

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the entries as gRPC sends them."""
        pairs: tuple[tuple[str, str | bytes | None], ...] = (
            (AUTHORIZATION, f"Bearer {self.api_key}" if self.api_key else None),
            (PRINCIPAL, self.principal),
            (REQUEST_ID, self.request_id),
            (ACCOUNT_ID, self.account_id),
            (FAULT, self.fault),
            (REMOTE_ADDRESS, self.remote_address),
        )
        return tuple((name, value) for name, value in pairs if value is not None)


_FIELDS: Mapping[str, str] = {
    AUTHORIZATION: "api_key",
    PRINCIPAL: "principal",
    REQUEST_ID: "request_id",
    ACCOUNT_ID: "account_id",
    FAULT: "fault",
    REMOTE_ADDRESS: "remote_address",
}


def read_entries(metadata: Iterable[tuple[str, str | bytes]]) -> Entries:
    """Return the entries among a call's metadata; the rest is passed over.

    Raises:
        InvalidArgument: One stands twice, so that it is unclear who calls, or is text where bytes
            belong, or the reverse.
    """
    found: dict[str, Any] = {}
    for name, value in metadata:
        member = _FIELDS.get(name)
        if member is None:
            continue
        if member in found:
            raise InvalidArgument(f"the metadata entry {name} stands twice", field=name)
        if isinstance(value, bytes) is not (name == FAULT):
            raise InvalidArgument(f"the metadata entry {name} has not its type", field=name)
        found[member] = value
    if "api_key" in found:
        found["api_key"] = api_key_of(found["api_key"])
    return Entries(**found)


def api_key_of(authorization: str) -> str:
    """Return the API key that an AUTHORIZATION entry holds; empty if it holds none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip(" ") if scheme.lower() == "bearer" else ""


# --- Faults -------------------------------------------------------------------------------------


class _Fault(msgspec.Struct):
    code: str
    message: str
    field: str | None = None


def encode_fault(error: VectorBucketError) -> bytes:
    """Return the value of a FAULT entry; a long message is cut.

    Raises:
        ValueError: No fault is of this kind; the caller has to answer by itself.
    """
    if type(error) is not _LEAVES.get(error.code):
        raise ValueError(f"{type(error).__name__} is no error that a translator can find")
    message = _text(error.message, MESSAGE_CHARACTERS_MAX)
    path = None if error.field is None else _text(error.field, _FIELD_CHARACTERS_MAX)
    while len(encoded := msgspec.json.encode(_Fault(error.code, message, path))) > FAULT_BYTES_MAX:
        message = message[: len(message) // 2]
    return encoded


def decode_fault(encoded: bytes) -> VectorBucketError:
    """Return the error that a FAULT entry holds.

    Raises:
        InvalidArgument: It holds none.
    """
    problem = "the bytes are no fault"
    if len(encoded) <= FAULT_BYTES_MAX:
        try:
            fault = msgspec.json.decode(encoded, type=_Fault)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fault = None
        if fault is not None and fault.code in _LEAVES:
            message = fault.message[:MESSAGE_CHARACTERS_MAX]
            return _LEAVES[fault.code](message, field=fault.field)
        if fault is not None:
            problem = "its code is none that a translator can find"
    raise InvalidArgument(f"{FAULT}: {problem}", field=FAULT)


def _text(text: str, characters_max: int) -> str:
    """Return a text cut, and without halves of surrogate pairs, which UTF-8 cannot hold."""
    return text[:characters_max].encode("utf-8", "replace").decode()
