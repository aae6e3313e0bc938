"""A credential: somebody who may call, and how it is known that it is them.

Rules of this file: values; they are made by credentials.py, which also says what is a good one. No
``repr`` shows a key, a secret, a token or a hash.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from vectorbucket_server.auth.api_keys import hash_api_key
from vectorbucket_server.auth.principal import Principal
from vectorbucket_server.auth.statement import Statement

UNKNOWN_ACCESS_KEY = "The OSS Access Key Id you provided does not exist in our records."
"""What SDKs expect to read, word for word. Source: oss-vectors-api, section 6.3."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Somebody who may call, and how it is known that it is them."""

    name: str
    account_id: str
    access_key_id: str = ""
    """What signs; empty: cannot call by REST."""
    access_key_secret: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    """What a signed request has to carry beside; empty: nothing."""
    api_key_hashes: tuple[str, ...] = field(default=(), repr=False)
    """Of the keys that call by gRPC."""
    display_name: str = ""
    owner: bool = False
    """May do everything with what is its account's."""
    operator: bool = False
    """May look after the server and the indexes of all accounts."""
    impersonate: bool = False
    """Calls in the name of others, and never for itself: a translator."""
    statements: tuple[Statement, ...] = ()
    principal: Principal = field(init=False, repr=False, compare=False)
    """Who it is, without how it is known."""

    def __post_init__(self) -> None:
        """Make the principal, which every call asks for."""
        principal = Principal(
            self.name,
            self.account_id,
            display_name=self.display_name,
            owner=self.owner,
            operator=self.operator,
            statements=self.statements,
        )
        object.__setattr__(self, "principal", principal)


_NOBODYS = ("sha256:" + "0" * 64, None)
"""A hash that no key is known to have."""


class Credentials:
    """All credentials of a file, by what they are asked for."""

    def __init__(self, credentials: Iterable[Credential] = (), version: int = 0) -> None:
        """Take credentials whose names and keys are different.

        Args:
            credentials: All of them.
            version: Larger than that of whatever was in force before.
        """
        self.version = version
        everybody = tuple(credentials)
        self._by_name = {one.name: one for one in everybody}
        self._by_access_key_id = {one.access_key_id: one for one in everybody if one.access_key_id}
        self._by_hash = {key: (key, one) for one in everybody for key in one.api_key_hashes}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_name)

    def by_name(self, name: str) -> Credential | None:
        """Return the credential of a name."""
        return self._by_name.get(name)

    def by_access_key_id(self, access_key_id: str) -> Credential | None:
        """Return the credential of an access key id, which is no secret."""
        return self._by_access_key_id.get(access_key_id)

    def by_api_key(self, key: str) -> Credential | None:
        """Return the credential of an API key.

        What is looked up is the key's hash: however long that takes tells of a hash, which a
        guesser cannot bring any nearer to a right one. What was found, or a hash that is nobody's,
        is then compared in a time that depends on neither.
        """
        hashed = hash_api_key(key)
        kept, found = self._by_hash.get(hashed, _NOBODYS)
        return found if hmac.compare_digest(kept, hashed) else None
