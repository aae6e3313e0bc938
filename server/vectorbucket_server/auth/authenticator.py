"""Who calls by gRPC: from a call's metadata to a caller, or an error.

Rules of this file: authentication comes before anything else is believed; only a translator may
speak of a request that is not its own: of who sent it, from where, under which id, and what is
wrong with it. A translator never calls for itself, so that one which asks nobody who he is can
serve nobody. On an open server everybody may do everything, and nobody can be anybody.
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
    AUTHORIZATION,
    FAULT,
    PRINCIPAL,
    REMOTE_ADDRESS,
    REQUEST_ID,
    Entries,
    api_key_of,
    decode_fault,
    read_entries,
)
from vectorbucket_server.auth.principal import Caller, Principal, Sender
from vectorbucket_server.naming import ACCOUNT_ID_FORM, fact, shown

__all__ = ["Authenticator", "Caller"]

_NOBODY = Principal("", "")
"""A translator that names nobody."""

_NOTHING = (None, None, None, None)
"""What ordinary callers send of the entries that are the translators'."""

_REQUEST_ID = re.compile(r"[0-9A-F]{24}", re.ASCII)
_ACCOUNT_ID = re.compile(ACCOUNT_ID_FORM, re.ASCII)
_REMOTE_ADDRESS = re.compile(r"[!-~]{1,64}", re.ASCII)


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
        self._latest = credentials() if credentials else Credentials()
        self._own_api_key = own_api_key.encode()
        self._anybody = Principal("", account_id, unrestricted=True)

    def knows(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Return whether a call comes with a key that was good when somebody looked last.

        For the one thread that hears of every call: it reads no file and raises nothing. Whoever is
        not known may have got his key a moment ago; whoever is may have lost it. ``authenticate``
        says.

        Args:
            metadata: Of the call; names in lower case.
        """
        if self._credentials is None:
            return True
        said = [value for name, value in metadata if name == AUTHORIZATION]
        if len(said) != 1 or not isinstance(said[0], str):
            return False
        api_key = api_key_of(said[0])
        return bool(api_key) and (
            self._latest.by_api_key(api_key) is not None or self._is_own(api_key)
        )

    def is_own_translator(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Return whether a call comes from the translator that the server started itself.

        Args:
            metadata: Of the call; names in lower case.
        """
        said = [value for name, value in metadata if name == AUTHORIZATION]
        return len(said) == 1 and isinstance(said[0], str) and self._is_own(api_key_of(said[0]))

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Return the caller of a call.

        Args:
            metadata: Of the call; names in lower case.

        Raises:
            InvalidAccessKeyId: The API key is missing or wrong; or the principal that a translator
                names is not known here, which the error's details name then.
            AccessDenied: It has an entry that only a translator may send, which the error's details
                name; or it is a translator's, and names nobody.
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

    def sender_of(self, metadata: Iterable[tuple[str, str | bytes]]) -> Sender:
        """Return what may be told of whoever sent a call that was refused; raises nothing.

        Args:
            metadata: Of the call; names in lower case.
        """
        try:
            entries = read_entries(metadata)
            if self._credentials is None:
                name, translates = "", True
            else:
                holder, translates = self._holder(entries, self._credentials())
                name = holder.name
        except (InvalidArgument, InvalidAccessKeyId):
            return Sender()
        if not translates:
            return Sender(name)
        address = entries.remote_address or ""
        return Sender(
            "" if entries.fault is not None else name,
            remote_address=address if _REMOTE_ADDRESS.fullmatch(address) else "",
            is_relayed=entries.fault is not None,
        )

    def _caller(self, entries: Entries) -> Caller:
        """Return who the entries say, if they may say it."""
        if self._credentials is None:
            if entries.principal is not None:
                problem = f"an open server has no credentials to be named in {PRINCIPAL}"
                raise AccessDenied(problem, details={"entry": PRINCIPAL})
            principal, translates, version = self._anybody, True, 0
        else:
            credentials = self._latest = self._credentials()
            principal, translates = self._known(entries, credentials)
            version = credentials.version
        fault = _fault(entries)
        if principal is _NOBODY and not isinstance(fault, Forbidden):
            raise AccessDenied(
                f"the translator's call has no {PRINCIPAL}: a key that may impersonate calls in "
                "the name of others only",
                details={"entry": PRINCIPAL},
                request_id=entries.request_id,
            )
        return Caller(
            principal,
            request_id=_checked(entries.request_id, REQUEST_ID, _REQUEST_ID),
            account_id=_checked(entries.account_id, ACCOUNT_ID, _ACCOUNT_ID),
            fault=fault,
            remote_address=_checked(entries.remote_address, REMOTE_ADDRESS, _REMOTE_ADDRESS),
            translates=translates,
            version=version,
            entries=entries,
        )

    def _known(self, entries: Entries, credentials: Credentials) -> tuple[Principal, bool]:
        """Return who calls by an API key, of a translator whom it names; and whether it is one."""
        holder, translates = self._holder(entries, credentials)
        if not translates:
            _check_own(entries)
            return holder, False
        if entries.principal is None:
            return _NOBODY, True
        named = credentials.by_name(entries.principal)
        if named is None:
            # The translator knew it: it was there a moment ago, or is in another file only.
            raise InvalidAccessKeyId(
                UNKNOWN_ACCESS_KEY,
                details={"principal": fact(entries.principal)},
                request_id=entries.request_id,
            )
        return named.principal, True

    def _holder(self, entries: Entries, credentials: Credentials) -> tuple[Principal, bool]:
        """Return whose API key a call came with, and whether they are a translator.

        Raises:
            InvalidAccessKeyId: It is nobody's.
        """
        if self._is_own(entries.api_key):
            return _NOBODY, True
        if not entries.api_key:
            raise InvalidAccessKeyId("the call has no API key: send 'authorization: Bearer …'")
        credential = credentials.by_api_key(entries.api_key)
        if credential is None:
            raise InvalidAccessKeyId("the API key does not exist in our records")
        return credential.principal, credential.impersonate

    def _is_own(self, api_key: str) -> bool:
        own = self._own_api_key
        return bool(own) and hmac.compare_digest(own, api_key.encode("utf-8", "surrogatepass"))


def _check_own(entries: Entries) -> None:
    """Raise AccessDenied if an ordinary caller sends what is believed of translators only."""
    sent = (entries.principal, entries.request_id, entries.fault, entries.remote_address)
    if sent == _NOTHING:
        return
    names = zip((PRINCIPAL, REQUEST_ID, FAULT, REMOTE_ADDRESS), sent, strict=True)
    name = next(name for name, value in names if value is not None)
    raise AccessDenied(f"only a translator may send {name}", details={"entry": name})


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
