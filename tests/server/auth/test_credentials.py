"""Tests of auth/credentials.py: what a file may say.

How it is read again is in test_credentials_file.py.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket_server.auth.api_keys import hash_api_key
from vectorbucket_server.auth.credentials import (
    BadCredentials,
    Credential,
    parse_credentials,
)
from vectorbucket_server.auth.policy import Effect

SECRET = "Tr0ub4dor&3-secret"  # noqa: S105 - a test's
HASH = hash_api_key("vbk_x")
SMALLEST = """
[[credential]]
name = "owner"
account_id = "1234567890"
access_key_id = "test-ak"
access_key_secret = "test-sk"
owner = true
"""
FULL = f"""
[[credential]]
name = "ann"
account_id = "111"
access_key_id = "ann-ak"
access_key_secret = "{SECRET}"
security_token = "token/+=1"
api_keys = ["{HASH}"]
display_name = "Ann Önnes"
operator = true
impersonate = true

[[credential.statement]]
effect = "Allow"
action = ["oss:GetVectors", "oss:QueryVectors"]
resource = "acs:ossvector:*:*:b/*"

[[credential.statement]]
Effect = "Deny"
Action = "*"
Resource = ["*"]
"""


def table(**members: Any) -> str:
    """Return a credential as TOML, of which members can be others or left out by ``...``."""
    lines: dict[str, Any] = {
        "name": '"ann"',
        "account_id": '"111"',
        "access_key_id": '"ann-ak"',
        "access_key_secret": f'"{SECRET}"',
    }
    lines |= members
    text = "\n".join(f"{name} = {value}" for name, value in lines.items() if value is not ...)
    return f"[[credential]]\n{text}\n"


def refusal(text: str) -> str:
    """Return how a file's text is refused; whatever it is, no secret is shown."""
    with pytest.raises(BadCredentials) as caught:
        parse_credentials(text)
    message = str(caught.value)
    assert SECRET not in message
    assert "\n" not in message
    return message


# --- What a file may say ------------------------------------------------------------------------


def test_smallest_file_is_an_owner_with_an_access_key() -> None:
    credentials = parse_credentials(SMALLEST, 3)
    assert credentials.by_access_key_id("test-ak") == Credential(
        "owner", "1234567890", "test-ak", "test-sk", owner=True
    )
    assert (len(credentials), credentials.version) == (1, 3)


def test_everything_that_a_file_can_say_is_read() -> None:
    ann = parse_credentials(SMALLEST + FULL).by_name("ann")
    assert ann is not None
    assert (ann.account_id, ann.access_key_id, ann.access_key_secret) == ("111", "ann-ak", SECRET)
    assert (ann.security_token, ann.api_key_hashes) == ("token/+=1", (HASH,))
    assert (ann.display_name, ann.owner, ann.impersonate) == ("Ann Önnes", False, True)
    assert (ann.operator, ann.principal.operator) == (True, True)
    allow, deny = ann.statements
    assert (allow.effect, allow.actions) == (Effect.ALLOW, ("oss:GetVectors", "oss:QueryVectors"))
    assert (deny.effect, deny.resources, deny.principals) == (Effect.DENY, ("*",), ())


def test_api_keys_alone_are_enough() -> None:
    text = table(access_key_id=..., access_key_secret=..., api_keys=f'["{HASH}"]')
    found = parse_credentials(text).by_api_key("vbk_x")
    assert found is not None
    assert found.access_key_id == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "a"),
        ("name", "1a"),
        ("name", "ann.b_c-d@example.org"),
        ("name", "x" * 64),
        ("account_id", "0"),
        ("account_id", "1" * 32),
        ("access_key_id", "STS.NUgYrLnoC37mZZCNnAbez"),
        ("access_key_id", "test_ak-1"),
        ("access_key_secret", "ключ"),
        ("display_name", "x" * 128),
    ],
)
def test_names_and_keys_of_all_usual_forms_are_taken(name: str, value: str) -> None:
    assert len(parse_credentials(table(**{name: f'"{value}"'}))) == 1


# --- What it may not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[[credential]",
        "\x00",
        f"secret = {SECRET}",
        table() + "name = 'twice'",
        "a = " + "[" * 100_000,
        "a = " + "9" * 5_000,
        "credential = 2023-02-30",
    ],
)
def test_text_that_is_no_toml_is_refused(text: str) -> None:
    assert refusal(text).startswith("it is ")


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "credential = []"])
def test_file_without_a_credential_is_refused_because_it_is_being_written(text: str) -> None:
    assert refusal(text) == "it has no [[credential]]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("credential = 5", "credential: expected array, not int"),
        ("[credential]\nname = 'a'", "credential: expected array, not object"),
        ("credential = ['a']", "credential[0]: expected object, not str"),
        (table() + "\n[other]", "table contains unknown field other"),
        (table() + '\n["a\\nb"]', "table contains unknown field a?b"),
        (table() + "[[Credential]]", "table contains unknown field Credential"),
        (table(secrets='"x"'), "credential[0]: table contains unknown field secrets"),
        (SMALLEST + table(name=...), "credential[1]: table missing required field name"),
        (table(account_id=...), "credential[0]: table missing required field account_id"),
        (table(account_id="1234567890"), "credential[0].account_id: expected str, not int"),
        (
            table(access_key_id="5"),
            "credential[0].access_key_id: expected str, not int",
        ),
        (table(owner='"yes"'), "credential[0].owner: expected bool, not str"),
        (table(impersonate="1"), "credential[0].impersonate: expected bool, not int"),
        (table(operator='"no"'), "credential[0].operator: expected bool, not str"),
        (table(api_keys='"a"'), "credential[0].api_keys: expected array, not str"),
        (table(api_keys="[5]"), "credential[0].api_keys[0]: expected str, not int"),
        (table(statement="{}"), "credential[0].statement: expected array, not object"),
    ],
)
def test_member_that_is_unknown_missing_or_of_another_type_is_named(
    text: str, message: str
) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"name": '""'}, "name"),
        ({"name": '"1234567890"'}, "name"),
        ({"name": '"*"'}, "name"),
        ({"name": '"an ann"'}, "name"),
        ({"name": '"é"'}, "name"),
        ({"name": '"ann\\n"'}, "name"),
        ({"name": f'"{"x" * 65}"'}, "name"),
        ({"account_id": '""'}, "account_id"),
        ({"account_id": '"12a"'}, "account_id"),
        ({"account_id": '"\u0661"'}, "account_id"),
        ({"account_id": f'"{"1" * 33}"'}, "account_id"),
        ({"access_key_id": '"a/b"'}, "access_key_id"),
        ({"access_key_id": '"a,b"'}, "access_key_id"),
        ({"access_key_id": '"a b"'}, "access_key_id"),
        ({"access_key_id": f'"{"x" * 129}"'}, "access_key_id"),
        ({"access_key_secret": f'"{SECRET} "'}, "access_key_secret"),
        ({"access_key_secret": f'"{SECRET * 60}"'}, "access_key_secret"),
        ({"access_key_id": ...}, "access_key_id: is missing"),
        ({"access_key_id": ..., "api_keys": f'["{HASH}"]'}, "access_key_id: is missing"),
        ({"access_key_secret": ...}, "access_key_secret: is missing"),
        ({"security_token": '"a b"'}, "security_token"),
        ({"security_token": '"é"'}, "security_token"),
        ({"api_keys": f'["{HASH}", "{SECRET}"]'}, "api_keys[1]: expected a key's hash"),
        ({"api_keys": '[""]'}, "api_keys[0]: expected a key's hash"),
        ({"display_name": f'"{"x" * 129}"'}, "display_name"),
        ({"display_name": '"\\u0007"'}, "display_name"),
    ],
)
def test_value_of_another_form_is_refused_with_its_path(members: dict[str, Any], path: str) -> None:
    without_keys = "access_key_id" in members and members["access_key_id"] is ...
    expected = f"credential[1].{path}"
    if without_keys and "api_keys" not in members:
        expected = "credential[1]: it has neither"
    assert refusal(SMALLEST + table(**members)).startswith(expected)


def test_credential_without_any_key_is_refused() -> None:
    text = table(access_key_id=..., access_key_secret=...)
    assert refusal(text) == "credential[0]: it has neither an access_key_id nor api_keys"


def test_token_without_an_access_key_is_refused() -> None:
    keys = {"access_key_id": ..., "access_key_secret": ..., "api_keys": f'["{HASH}"]'}
    text = table(**keys, security_token=f'"{SECRET}"')
    assert refusal(text).startswith("credential[0].security_token: it goes with")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"name": '"owner"'}, "credential[1].name: is that of credential[0].name, too"),
        (
            {"access_key_id": '"test-ak"'},
            "credential[1].access_key_id: is that of credential[0].access_key_id, too",
        ),
        (
            {"api_keys": f'["{HASH}", "{HASH}"]'},
            "credential[1].api_keys[1]: is that of credential[1].api_keys[0], too",
        ),
    ],
)
def test_name_or_key_that_stands_twice_is_refused(members: dict[str, Any], message: str) -> None:
    assert refusal(SMALLEST + table(**members)) == message


def test_one_name_may_be_anothers_access_key() -> None:
    assert len(parse_credentials(SMALLEST + table(name='"test-ak"'))) == 2


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('effect = "Allow"', "statement[1].action: is missing"),
        (
            'effect = "Alow"\naction = "*"\nresource = "*"',
            "statement[1].effect: expected 'Allow' or 'Deny', found 'Alow'",
        ),
        (
            'effect = "Allow"\naction = ["*", 7]\nresource = "*"',
            "statement[1].action[1]: expected a string, found a number",
        ),
        (
            'effect = "Allow"\naction = "*"\nresource = "*"\nprincipal = "*"',
            "statement[1]: there is no member 'principal'; there is Effect, Action, Resource",
        ),
        (
            'effect = "Allow"\naction = "*"\nresource = "*"\ncondition = {}',
            "statement[1]: condition is not supported, and without it more would be allowed",
        ),
        (
            'effect = 2023-01-01\naction = "*"\nresource = "*"',
            "statement[1].effect: expected 'Allow' or 'Deny', found something else",
        ),
    ],
)
def test_statement_that_is_none_is_refused_with_its_path(statement: str, message: str) -> None:
    good = 'effect = "Allow"\naction = "*"\nresource = "*"'
    text = f"[[credential.statement]]\n{good}\n[[credential.statement]]\n{statement}\n"
    assert refusal(SMALLEST + table() + text) == f"credential[1].{message}"


def test_statement_that_is_no_table_is_refused_with_its_path() -> None:
    assert refusal(table(statement="[5]")).startswith("credential[0].statement[0]: expected an obj")


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(
    text=st.one_of(
        st.text(max_size=60),
        st.builds(
            lambda name, value: table(**{name: value}),
            st.sampled_from(["name", "api_keys", "owner", "statement", "x", "'é'"]),
            st.sampled_from(["1", "[]", "{}", "[[]]", "[{}]", '"a"', "nan", "00:00:00", "true"]),
        ),
    )
)
def test_any_text_is_a_file_of_credentials_or_refused(text: str) -> None:
    try:
        credentials = parse_credentials(text)
    except BadCredentials as error:
        assert SECRET not in str(error)  # noqa: PT017 - either is right
    else:
        assert len(credentials) == len(tomllib.loads(text)["credential"])
