"""API keys: how one is made, and what is kept of it.

Rules of this file: a key is made of chance alone and is kept by nobody but its holder; a file holds
its hash. No salt and no slow hash is needed: 256 bits of chance cannot be guessed from a hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets

PREFIX = "vbk_"
"""What a key begins with, so that it is known for a secret where it should not be."""

_KEY_BYTES = 32
_HASHED = re.compile(r"sha256:[0-9a-f]{64}")


def new_api_key() -> str:
    """Return a fresh key: ``vbk_`` and 43 URL-safe characters."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def hash_api_key(key: str) -> str:
    """Return what may be kept of a key: ``sha256:`` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def is_hashed(text: str) -> bool:
    """Return whether this is what ``hash_api_key`` returns."""
    return _HASHED.fullmatch(text) is not None
