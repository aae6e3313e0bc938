"""Tests of auth/credential.py: credentials are found by what they are known by; none is shown."""

from __future__ import annotations

from vectorbucket_server.auth.api_keys import hash_api_key, new_api_key
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.policy import parse_statements
from vectorbucket_server.auth.principal import Principal

KEYS = [new_api_key(), new_api_key()]
STATEMENTS = parse_statements([{"effect": "Allow", "action": "*", "resource": "*"}], "s")
ANN = Credential(
    "ann",
    "111",
    "ak-ann",
    "very-secret",
    "very-secret-token",
    tuple(map(hash_api_key, KEYS)),
    display_name="Ann",
    owner=True,
    statements=STATEMENTS,
)
BOB = Credential("bob", "222", api_key_hashes=(hash_api_key("of-bob"),))
EVE = Credential("eve", "222", "ak-eve", "other-secret")
BOTH = Credentials([ANN, BOB, EVE], version=7)


def test_credential_is_found_by_its_name_its_access_key_and_each_of_its_api_keys() -> None:
    assert [BOTH.by_name(name) for name in ("ann", "bob", "eve", "zoe", "")] == [
        *(ANN, BOB, EVE),
        *(None, None),
    ]
    assert BOTH.by_access_key_id("ak-ann") is ANN
    assert [BOTH.by_api_key(key) for key in (*KEYS, "of-bob")] == [ANN, ANN, BOB]
    assert (len(BOTH), BOTH.version) == (3, 7)


def test_what_a_credential_has_not_finds_nobody() -> None:
    assert BOTH.by_access_key_id("") is None
    for key in ("", "ak-ann", "very-secret", hash_api_key(KEYS[0]), "\ud800", "é"):
        assert BOTH.by_api_key(key) is None


def test_hash_of_nobody_is_nobodys_whoever_has_it() -> None:
    assert Credentials().by_api_key(KEYS[0]) is None
    assert BOTH.by_api_key("sha256:" + "0" * 64) is None


def test_principal_is_who_it_is_without_its_keys() -> None:
    assert ANN.principal == Principal("ann", "111", "Ann", owner=True, statements=STATEMENTS)
    assert ANN.principal is BOTH.by_name("ann").principal  # type: ignore[union-attr]


def test_repr_shows_no_secret_no_token_and_no_hash() -> None:
    text = repr(ANN) + repr(BOTH) + repr(ANN.principal)
    assert "secret" not in text.replace("access_key_secret", "")
    assert "sha256" not in text
