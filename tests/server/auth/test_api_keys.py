"""Tests of auth/api_keys.py: keys are different, look like keys, and are kept as hashes only."""

from __future__ import annotations

import hashlib
import re

import pytest

from vectorbucket_server.auth.api_keys import hash_api_key, is_hashed, new_api_key


def test_key_is_vbk_and_43_url_safe_characters() -> None:
    assert re.fullmatch(r"vbk_[A-Za-z0-9_-]{43}", new_api_key())


def test_no_two_keys_are_alike() -> None:
    assert len({new_api_key() for _ in range(1000)}) == 1000


def test_hash_is_sha_256_of_the_whole_key() -> None:
    assert hash_api_key("vbk_a") == "sha256:" + hashlib.sha256(b"vbk_a").hexdigest()
    assert is_hashed(hash_api_key(new_api_key()))


@pytest.mark.parametrize("key", ["", "é", "\ud800", "\x00", "x" * 100_000])
def test_anything_can_be_hashed(key: str) -> None:
    assert is_hashed(hash_api_key(key))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vbk_a",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
    ],
)
def test_other_texts_are_no_hashes(text: str) -> None:
    assert not is_hashed(text)
