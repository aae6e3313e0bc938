"""Who calls by gRPC: from a call's metadata to a caller, or an error.

Rules of this file: authentication comes before anything else is believed; only a translator may
name somebody else or the id of a request. On an open server everybody may do everything, and
nobody can be anybody.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable

from vectorbucket.errors import (
    AccessDenied,
    Forbidden,
    InvalidAccessKeyId,
    InvalidArgument,
    VectorBucketError,
)
from vectorbucket_server.auth.credential import UNKNOWN_ACCESS_KEY, Credentials
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID,
    PRINCIPAL,
    REQUEST_ID,
    Entries,
    decode_fault,
    read_entries,
)
from vectorbucket_server.auth.principal import Caller, Principal
from vectorbucket_server.naming import shown

__all__ = ["Authenticator", "Caller"]

_NOBODY = Principal("", "")
"""The server's own translator, before it names somebody."""

_REQUEST_ID = re.compile(r"[0-9A-F]{24}", re.ASCII)
_ACCOUNT_ID = re.compile(r"[0-9]{1,64}", re.ASCII)


class Authenticator:
    """Knows callers; any thread may ask."""

    def __init__(
        self,
        credentials: Callable[[], Credentials] | None,
        *,
        account_id: str,
        own_api_key: str = "",
    ) -> None:
        """Take what callers are known by.

        Args:
            credentials: Returns those in force; None for an open server.
            account_id: Whose buckets callers of an open server make and list.
            own_api_key: Of the translator that the server started itself; empty if there is none.
        """
        self._credentials = credentials
        self._own_api_key = own_api_key.encode()
        self._anybody = Principal("", account_id, unrestricted=True)

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Return the caller of a call.

        Args:
            metadata: Of the call; names in lower case.

        Raises:
            InvalidAccessKeyId: The API key is missing or wrong, or a translator names nobody.
            AccessDenied: It names a principal or a request id and may not.
            InvalidArgument: An entry has not the form it must have, or stands twice.
            Forbidden: A translator found the signature of its request wrong. The error carries the
                id of that request.
        """
        caller = self._caller(read_entries(metadata))
        if isinstance(caller.fault, Forbidden):
            raise caller.fault
        return caller

    def renewed(self, caller: Caller) -> Caller:
        """Return a caller as it is by the credentials in force now: the same while they are.

        Raises:
            InvalidAccessKeyId: Its key, or that of its principal, is no longer there.
            AccessDenied: It may no longer call in the name of others.
        """
        if self._credentials is None or self._credentials().version == caller.version:
            return caller
        return self._caller(caller.entries)

    def _caller(self, entries: Entries) -> Caller:
        """Return who the entries say, if they may say it."""
        version = 0
        if self._credentials is None:
            if entries.principal is not None:
                raise AccessDenied(f"an open server has no credentials to be named in {PRINCIPAL}")
            principal, may_name = self._anybody, True
        else:
            credentials = self._credentials()
            version = credentials.version
            principal, may_name = self._known(entries, credentials)
        if entries.request_id is not None and not may_name:
            raise AccessDenied(f"only a translator may send {REQUEST_ID}")
        fault = _fault(entries)
        if principal is _NOBODY and not isinstance(fault, Forbidden):
            problem = f"the translator's call has no {PRINCIPAL}"
            raise AccessDenied(problem, request_id=entries.request_id)
        return Caller(
            principal,
            request_id=_checked(entries.request_id, REQUEST_ID, _REQUEST_ID),
            account_id=_checked(entries.account_id, ACCOUNT_ID, _ACCOUNT_ID),
            fault=fault,
            version=version,
            entries=entries,
        )

    def _known(self, entries: Entries, credentials: Credentials) -> tuple[Principal, bool]:
        """Return who calls by an API key, and whether they are a translator."""
        if self._is_own(entries.api_key):
            principal, may_name = _NOBODY, True
        else:
            if not entries.api_key:
                raise InvalidAccessKeyId("the call has no API key: send 'authorization: Bearer …'")
            credential = credentials.by_api_key(entries.api_key)
            if credential is None:
                raise InvalidAccessKeyId("the API key does not exist in our records")
            principal, may_name = credential.principal, credential.impersonate
        if entries.principal is None:
            return principal, may_name
        if not may_name:
            raise AccessDenied(f"only a translator may send {PRINCIPAL}")
        named = credentials.by_name(entries.principal)
        if named is None:
            # The translator knew it: it was there a moment ago, or is in another file only.
            raise InvalidAccessKeyId(UNKNOWN_ACCESS_KEY, request_id=entries.request_id)
        return named.principal, may_name

    def _is_own(self, api_key: str) -> bool:
        own = self._own_api_key
        return bool(own) and hmac.compare_digest(own, api_key.encode("utf-8", "surrogatepass"))


def _fault(entries: Entries) -> VectorBucketError | None:
    """Return the fault that the entries hold, with the id of the request that it is of."""
    if entries.fault is None:
        return None
    fault = decode_fault(entries.fault)
    fault.request_id = entries.request_id
    return fault


def _checked(value: str | None, name: str, form: re.Pattern[str]) -> str:
    """Return the value of an entry, empty if there is none."""
    if value is None:
        return ""
    if not form.fullmatch(value):
        raise InvalidArgument(f"{name} is {shown(value)}, which has not its form", field=name)
    return value
