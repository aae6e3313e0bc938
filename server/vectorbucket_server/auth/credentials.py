"""The credentials file: who may call, by which keys, for which account.

Rules of this file: a file is good as a whole or not at all; what is wrong with it is said with the
path of the table, as ``credential[2].statement[0].action``, and never with a value that could be a
secret. Reading a file again never fails a call: a broken one leaves the old in force, and is told.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from vectorbucket.errors import InvalidPolicyDocument
from vectorbucket_server.auth.api_keys import is_hashed
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.policy import parse_statements
from vectorbucket_server.auth.statement import Statement
from vectorbucket_server.auth.watched_files import (
    LOOK_AGAIN_S,
    Stamp,
    UnusableFile,
    Watched,
    content_of,
    stamp_of,
)
from vectorbucket_server.naming import ACCOUNT_ID_FORM

__all__ = [
    "BadCredentials",
    "Credential",
    "Credentials",
    "CredentialsFile",
    "check_account_id",
    "check_name",
    "parse_credentials",
]

_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_ACCOUNT_ID = re.compile(ACCOUNT_ID_FORM, re.ASCII)
_ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}", re.ASCII)
_SECRET = re.compile(r"[^\x00-\x20\x7f]{1,1024}")
_TOKEN = re.compile(r"[\x21-\x7e]{0,4096}")
_DISPLAY_NAME_CHARACTERS_MAX = 128
_PROBLEM_CHARACTERS_MAX = 200


class BadCredentials(ValueError):
    """The credentials cannot be used; the message is one line, says where and why, shows none."""


# --- Parsing ------------------------------------------------------------------------------------


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """One ``[[credential]]`` as it stands in the file."""

    name: str
    account_id: str
    access_key_id: str = ""
    access_key_secret: str = ""
    security_token: str = ""
    api_keys: list[str] = []
    display_name: str = ""
    owner: bool = False
    operator: bool = False
    impersonate: bool = False
    statement: list[Any] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A whole file."""

    credential: list[_Table] = []


def parse_credentials(text: str, version: int = 0) -> Credentials:
    """Return the credentials that a file's text holds.

    Args:
        text: TOML: ``[[credential]]`` tables.
        version: That of the credentials.

    Raises:
        BadCredentials: It holds none, or something that is wrong.
    """
    try:
        tables = msgspec.convert(tomllib.loads(text), _File).credential
    except msgspec.ValidationError as error:
        raise BadCredentials(_in_our_words(str(error))) from None
    except RecursionError:
        raise BadCredentials("it is nested too deeply") from None
    except ValueError as error:
        raise BadCredentials(f"it is no TOML: {error}") from None
    if not tables:
        # An empty file is most likely one that is just being written.
        raise BadCredentials("it has no [[credential]]")
    credentials = [
        _credential(table, f"credential[{position}]") for position, table in enumerate(tables)
    ]
    _check_different(credentials)
    return Credentials(credentials, version)


def check_name(name: str, path: str) -> None:
    """Raise BadCredentials unless this can be the name of a credential.

    Policies name account ids and credentials in the same place, so no name is digits alone.
    """
    if not _NAME.fullmatch(name):
        rule = "1 to 64 letters, digits and '._@-', first a letter or digit, not digits alone"
        raise BadCredentials(f"{path}: expected {rule}")


def check_account_id(account_id: str, path: str) -> None:
    """Raise BadCredentials unless this can be the id of an account."""
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise BadCredentials(f"{path}: expected 1 to 32 decimal digits, in quotes")


def _in_our_words(problem: str) -> str:
    """Return what msgspec found wrong, in the form of the other messages. It shows no values."""
    what, _, place = problem.replace("`$.", "`").replace("`", "").partition(" - at ")
    place = place.removeprefix("$")
    what = what.replace("Object", "table").replace("Expected", "expected").replace(", got", ", not")
    said = f"{place}: {what}" if place else what
    return "".join(one if one.isprintable() else "?" for one in said[:_PROBLEM_CHARACTERS_MAX])


def _credential(table: _Table, path: str) -> Credential:
    """Return the credential that a table describes."""
    check_name(table.name, f"{path}.name")
    check_account_id(table.account_id, f"{path}.account_id")
    _check_keys(table, path)
    if len(table.display_name) > _DISPLAY_NAME_CHARACTERS_MAX:
        limit = f"at most {_DISPLAY_NAME_CHARACTERS_MAX} characters"
        raise BadCredentials(f"{path}.display_name: expected {limit}")
    if table.display_name and not table.display_name.isprintable():
        raise BadCredentials(f"{path}.display_name: expected no control characters")
    statements: tuple[Statement, ...] = ()
    if table.statement:
        try:
            statements = parse_statements(table.statement, f"{path}.statement")
        except InvalidPolicyDocument as error:
            raise BadCredentials(error.message) from None
    return Credential(
        table.name,
        table.account_id,
        access_key_id=table.access_key_id,
        access_key_secret=table.access_key_secret,
        security_token=table.security_token,
        api_key_hashes=tuple(table.api_keys),
        display_name=table.display_name,
        owner=table.owner,
        operator=table.operator,
        impersonate=table.impersonate,
        statements=statements,
    )


def _check_keys(table: _Table, path: str) -> None:
    """Raise BadCredentials unless the credential can be used, one way at least."""
    if not table.access_key_id and not table.api_keys:
        raise BadCredentials(f"{path}: it has neither an access_key_id nor api_keys")
    if bool(table.access_key_id) != bool(table.access_key_secret):
        missing = "access_key_secret" if table.access_key_id else "access_key_id"
        raise BadCredentials(f"{path}.{missing}: is missing; id and secret go together")
    if table.security_token and not table.access_key_id:
        raise BadCredentials(f"{path}.security_token: it goes with an access_key_id only")
    if table.access_key_id and not _ACCESS_KEY_ID.fullmatch(table.access_key_id):
        rule = "1 to 128 letters, digits and '._@+-', first a letter or digit"
        raise BadCredentials(f"{path}.access_key_id: expected {rule}")
    if table.access_key_secret and not _SECRET.fullmatch(table.access_key_secret):
        rule = "1 to 1024 characters without spaces"
        raise BadCredentials(f"{path}.access_key_secret: expected {rule}")
    if not _TOKEN.fullmatch(table.security_token):
        rule = "at most 4096 ASCII characters without spaces"
        raise BadCredentials(f"{path}.security_token: expected {rule}")
    for position, one in enumerate(table.api_keys):
        if not is_hashed(one):
            rule = "a key's hash: 'sha256:' and 64 hexadecimal digits"
            raise BadCredentials(f"{path}.api_keys[{position}]: expected {rule}")


def _check_different(credentials: Iterable[Credential]) -> None:
    """Raise BadCredentials if a name or a key stands twice."""
    places: dict[tuple[str, str], str] = {}
    for position, one in enumerate(credentials):
        path = f"credential[{position}]"
        keys = enumerate(one.api_key_hashes)
        mine = [("name", one.name, f"{path}.name")]
        mine += [("api_key", key, f"{path}.api_keys[{place}]") for place, key in keys]
        if one.access_key_id:
            mine.append(("access_key_id", one.access_key_id, f"{path}.access_key_id"))
        for kind, value, place in mine:
            first = places.setdefault((kind, value), place)
            if first != place:
                raise BadCredentials(f"{place}: is that of {first}, too")


# --- The file -----------------------------------------------------------------------------------


class CredentialsFile:
    """A file that may change while the server runs; any thread may ask what is in it."""

    def __init__(
        self,
        path: str | Path,
        *,
        on_failure: Callable[[BadCredentials], object],
        clock: Callable[[], float] = time.monotonic,
        look_again_s: float = LOOK_AGAIN_S,
    ) -> None:
        """Read the file.

        Args:
            path: Where it is.
            on_failure: Told once of each change after which the file cannot be used, on the thread
                of a call.
            clock: Seconds from any beginning.
            look_again_s: For how long the file is taken to be as it was. Shorter is quicker to
                notice, and looks at the disk more often.

        Raises:
            BadCredentials: It cannot be used.
        """
        self._path = Path(path)
        self._watched = Watched(
            stamp=self._stamp,
            read=self._read,
            make=self._parsed,
            fault=BadCredentials,
            on_failure=on_failure,
            clock=clock,
            look_again_s=look_again_s,
        )

    def current(self) -> Credentials:
        """Return the credentials in force, after a look at the file if the last was a while ago.

        Nobody waits for somebody else's look.
        """
        return self._watched.current()

    def _stamp(self) -> Stamp:
        try:
            return stamp_of(self._path)
        except UnusableFile as error:
            raise BadCredentials(f"{self._path}: {error}") from None

    def _read(self) -> str:
        """Return the text of the file."""
        try:
            return content_of(self._path).decode()
        except UnicodeDecodeError as error:
            raise BadCredentials(f"{self._path}: is no UTF-8 at byte {error.start}") from None
        except UnusableFile as error:
            raise BadCredentials(f"{self._path}: {error}") from None

    def _parsed(self, text: str, before: Credentials | None) -> Credentials:
        """Return what the text of the file holds, of the version after that of before."""
        try:
            return parse_credentials(text, 1 if before is None else before.version + 1)
        except BadCredentials as error:
            raise BadCredentials(f"{self._path}: {error}") from None
