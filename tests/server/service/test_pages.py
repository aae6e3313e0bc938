"""Page tokens: what goes in comes out, and nothing else does."""

from __future__ import annotations

import base64
import random
import string

import pytest

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import OSS
from vectorbucket_server.service.pages import Scope, decode_token, encode_token

SCOPE: Scope = ("ListVectors", "photos", "faces", 4, 1)
LIMIT = OSS.vector_token_bytes_max


@pytest.mark.parametrize(
    "cursor", ["a", "key-1", "k" * 1024, "🜁" * 256, "with\0zero", "ü\n/+=", " "]
)
def test_token_gives_its_cursor_back(cursor: str) -> None:
    token = encode_token(SCOPE, cursor)
    assert decode_token(SCOPE, token, LIMIT) == cursor


def test_token_needs_no_escaping_in_a_url() -> None:
    alphabet = set(string.ascii_letters + string.digits + "-_")
    for seed in range(200):
        cursor = "".join(chr(random.Random(seed).randrange(1, 0xD7FF)) for _ in range(seed + 1))
        assert set(encode_token(SCOPE, cursor)) <= alphabet


def test_token_of_the_longest_key_fits_its_limit() -> None:
    assert len(encode_token(SCOPE, "k" * OSS.key_bytes_max)) <= OSS.vector_token_bytes_max
    scope: Scope = ("ListVectorIndexes", "b" * 63, "p" * 63)
    assert len(encode_token(scope, "i" * OSS.index_name_max)) <= OSS.index_token_bytes_max


def test_empty_token_means_the_start() -> None:
    assert decode_token(SCOPE, "", LIMIT) == ""


@pytest.mark.parametrize(
    "other",
    [
        ("ListVectorIndexes", "photos", "faces", 4, 1),
        ("ListVectors", "photos2", "faces", 4, 1),
        ("ListVectors", "photos", "faces2", 4, 1),
        ("ListVectors", "photos", "faces", 5, 1),
        ("ListVectors", "photos", "faces", 4, 2),
        ("ListVectors", "photo", "sfaces", 4, 1),
        ("ListVectors", "photos", "faces", 41),
    ],
)
def test_token_of_another_scope_is_refused(other: Scope) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="next_token") as caught:
        decode_token(SCOPE, encode_token(other, "key"), LIMIT)
    assert caught.value.field == "next_token"
    assert "ListVectors" in caught.value.message


def test_token_with_any_character_changed_or_missing_is_refused() -> None:
    token = encode_token(SCOPE, "some-key")
    for position in range(len(token)):
        other = "A" if token[position] != "A" else "B"
        for spoilt in (
            token[:position] + other + token[position + 1 :],
            token[:position] + token[position + 1 :],
            token[:position],
        ):
            if spoilt:
                with pytest.raises(VectorIndexParameterInvalid):
                    decode_token(SCOPE, spoilt, LIMIT)


@pytest.mark.parametrize("token", ["=", "ä", "a b", "\0", "AAAA", "A" * 40, "//++", "key"])
def test_text_that_is_no_token_is_refused_and_shown(token: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        decode_token(SCOPE, token, LIMIT)
    assert repr(token) in caught.value.message


def test_other_spellings_of_a_token_are_refused() -> None:
    token = encode_token(SCOPE, "k")
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    padded = base64.urlsafe_b64encode(raw).decode()
    assert padded != token
    for spelling in (padded, f" {token}", f"{token}\n"):
        with pytest.raises(VectorIndexParameterInvalid):
            decode_token(SCOPE, spelling, LIMIT)


def test_token_over_the_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(
        VectorIndexParameterInvalid, match="2049 bytes; the limit is 2048"
    ) as caught:
        decode_token(SCOPE, "A" * 2049, LIMIT)
    assert caught.value.details == {"value": "2049", "limit": "2048"}


def test_random_text_is_never_taken_for_a_token() -> None:
    chance = random.Random(5)
    alphabet = string.ascii_letters + string.digits + "-_"
    for _ in range(2_000):
        token = "".join(chance.choices(alphabet, k=chance.randrange(1, 60)))
        with pytest.raises(VectorIndexParameterInvalid):
            decode_token(SCOPE, token, LIMIT)
