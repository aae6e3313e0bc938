"""A fresh credential, and the text that puts it into a credentials file.

Rules of this file: what is secret is made of chance alone; the API key stands in no file, so what
is returned is all that will ever be known of it.
"""

from __future__ import annotations

import os
import secrets
import stat
import string
from dataclasses import dataclass, field
from pathlib import Path

from vectorbucket_server.auth.api_keys import hash_api_key, new_api_key
from vectorbucket_server.auth.credentials import (
    BadCredentials,
    check_account_id,
    check_name,
    parse_credentials,
)

ACCESS_KEY_PREFIX = "VBAK"
"""What an access key id of ours begins with."""

_ACCESS_KEY_CHARACTERS = string.ascii_uppercase + string.digits
_ACCESS_KEY_LENGTH = 20
_SECRET_BYTES = 30

_STATEMENT_SAMPLE = """
# May do nothing until it is allowed to, here or by the policy of a bucket:
# [[credential.statement]]
# effect = "Allow"
# action = ["oss:GetVectors", "oss:QueryVectors"]
# resource = "acs:ossvector:*:*:my-bucket/*"
"""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential that nobody has yet."""

    name: str
    account_id: str
    access_key_id: str
    access_key_secret: str = field(repr=False)
    api_key: str = field(repr=False)
    """To be shown once; the text holds its hash only."""
    toml: str = field(repr=False)
    """What to append to a credentials file."""


def new_credential(
    name: str,
    account_id: str,
    *,
    owner: bool = False,
    operator: bool = False,
    impersonate: bool = False,
) -> NewCredential:
    """Return a credential with fresh keys.

    Args:
        name: What it is called; different from all others in the file.
        account_id: Whose buckets it makes and lists.
        owner: Whether it may do everything with what is the account's.
        operator: Whether it may look after the server and the indexes of all accounts.
        impersonate: Whether it is a translator's, which calls in the name of others.

    Raises:
        BadCredentials: The name or the account id is not legal.
    """
    check_name(name, "name")
    check_account_id(account_id, "account_id")
    access_key_id = ACCESS_KEY_PREFIX + "".join(
        secrets.choice(_ACCESS_KEY_CHARACTERS) for _ in range(_ACCESS_KEY_LENGTH)
    )
    secret, api_key = secrets.token_urlsafe(_SECRET_BYTES), new_api_key()
    lines = (
        "[[credential]]",
        f'name = "{name}"',
        f'account_id = "{account_id}"',
        f'access_key_id = "{access_key_id}"',
        f'access_key_secret = "{secret}"',
        f'api_keys = ["{hash_api_key(api_key)}"]',
        f"owner = {str(owner).lower()}",
        *(["operator = true"] if operator else []),
        *(["impersonate = true"] if impersonate else []),
    )
    needs_none = owner or operator or impersonate
    toml = "\n".join(lines) + "\n" + ("" if needs_none else _STATEMENT_SAMPLE)
    return NewCredential(name, account_id, access_key_id, secret, api_key, toml)


def add_to_file(path: Path, made: NewCredential) -> None:
    """Append a credential to a file, which is made if it is missing; readable by its owner only.

    The file is replaced as a whole, so that a server that reads it meanwhile sees the old one or
    the new one. One that exists keeps its owner and its rights.

    Raises:
        BadCredentials: The file is none of credentials, or has one of this name already.
        OSError: It cannot be read or written.
    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise BadCredentials(f"{path}: is no UTF-8 at byte {error.start}") from None
    if before and not before.endswith("\n"):
        before += "\n"
    text = f"{before}\n{made.toml}" if before else made.toml
    try:
        parse_credentials(text)
    except BadCredentials as error:
        raise BadCredentials(f"{path} with the new credential: {error}") from error
    path = path.resolve()  # not the link to it
    kept = path.stat() if path.exists() else None
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if kept is not None:
                os.fchown(descriptor, kept.st_uid, kept.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(kept.st_mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
