"""Tests of auth/policy.py: who may do what. What is no policy is in test_policy_refusals.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vectorbucket_server.auth.actions import ACTIONS, BUCKET_ACTIONS, INDEX_ACTIONS, VECTOR_ACTIONS
from vectorbucket_server.auth.policy import (
    ARN_CHARACTERS_MAX,
    Effect,
    Resource,
    is_allowed,
    parse_policy,
    parse_statements,
)
from vectorbucket_server.auth.principal import Principal

ALL = sorted(set(ACTIONS.values()))
RESOURCE = Resource("cn-hangzhou", "111", "bucket", "idx")
OWNER = Principal("owner", "111", owner=True)
USER = Principal("ann", "111")
STRANGER = Principal("eve", "222")
STRANGE_OWNER = Principal("zoe", "222", owner=True)


def statement(effect: str, action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    """Return a statement as JSON has it."""
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def policy(effect: str, action: Any = "*", resource: Any = "*", principal: Any = "*") -> str:
    """Return the text of a policy of one statement."""
    one = statement(effect, action, resource, Principal=principal)
    return json.dumps({"Version": "1", "Statement": [one]})


def user(*statements: dict[str, Any], account_id: str = "111") -> Principal:
    """Return somebody whose credential says something."""
    return Principal("ann", account_id, statements=parse_statements(list(statements), "x"))


ALLOW_ALL, DENY_ALL = policy("Allow"), policy("Deny")


# --- Who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ALL)
def test_owner_may_do_everything_and_is_never_denied(action: str) -> None:
    assert is_allowed(OWNER, action, RESOURCE)
    assert is_allowed(OWNER, action, RESOURCE, DENY_ALL)
    assert is_allowed(OWNER, action, RESOURCE, "no policy at all")


@pytest.mark.parametrize("action", ALL)
def test_caller_of_an_open_server_may_do_everything(action: str) -> None:
    anybody = Principal("", "5", unrestricted=True)
    assert is_allowed(anybody, action, RESOURCE, DENY_ALL)


@pytest.mark.parametrize("action", ALL)
@pytest.mark.parametrize("caller", [USER, STRANGER, STRANGE_OWNER])
def test_anybody_else_may_do_nothing_until_it_is_allowed(caller: Principal, action: str) -> None:
    assert not is_allowed(caller, action, RESOURCE)
    assert is_allowed(caller, action, RESOURCE, ALLOW_ALL)
    assert not is_allowed(caller, action, RESOURCE, DENY_ALL)


@pytest.mark.parametrize("action", ALL)
def test_statement_of_a_credential_allows_within_its_account_only(action: str) -> None:
    allowed = statement("Allow", action)
    assert is_allowed(user(allowed), action, RESOURCE)
    assert not is_allowed(user(allowed, account_id="222"), action, RESOURCE)
    other = next(one for one in ALL if one != action)
    assert not is_allowed(user(allowed), other, RESOURCE)


@pytest.mark.parametrize("account_id", ["111", "222"])
def test_deny_beats_allow_wherever_both_stand(account_id: str) -> None:
    allow, deny = statement("Allow"), statement("Deny", "oss:GetVectors")
    both = json.dumps({"Statement": [one | {"Principal": "*"} for one in (allow, deny)]})
    for caller, text in (
        (user(allow, deny, account_id=account_id), ALLOW_ALL),
        (user(allow, account_id=account_id), both),
        (user(allow, account_id=account_id), policy("Deny", "oss:Get*")),
    ):
        assert not is_allowed(caller, "oss:GetVectors", RESOURCE, text)
    denied_elsewhere = user(allow, deny, account_id=account_id)
    assert is_allowed(denied_elsewhere, "oss:PutVectors", RESOURCE, ALLOW_ALL)


@pytest.mark.parametrize(
    ("principal", "is_meant"),
    [
        ("*", True),
        (["*"], True),
        ("222", True),
        (["1", "222"], True),
        ("eve", True),
        ("111", False),
        ("Eve", False),
        ("zoe", False),
        ("22", False),
    ],
)
def test_policy_of_a_bucket_speaks_of_accounts_credentials_or_everybody(
    principal: Any, *, is_meant: bool
) -> None:
    text = policy("Allow", principal=principal)
    assert is_allowed(STRANGER, "oss:GetVectors", RESOURCE, text) is is_meant


def test_stored_policy_that_cannot_be_read_allows_nothing() -> None:
    allowed = user(statement("Allow"))
    assert is_allowed(allowed, "oss:GetVectors", RESOURCE)
    assert not is_allowed(allowed, "oss:GetVectors", RESOURCE, '{"Statement":[{"Condition":{}}]}')
    assert not is_allowed(allowed, "oss:GetVectors", RESOURCE, "{")


# --- On what ------------------------------------------------------------------------------------

_PREFIX = "acs:ossvector:cn-hangzhou:111:"


def test_vectors_are_named_as_the_index_and_as_what_is_in_it() -> None:
    for action in VECTOR_ACTIONS:
        assert RESOURCE.arns(action) == (f"{_PREFIX}bucket/idx", f"{_PREFIX}bucket/idx/")


def test_index_is_named_by_itself() -> None:
    for action in INDEX_ACTIONS:
        assert RESOURCE.arns(action) == (f"{_PREFIX}bucket/idx",)


def test_bucket_is_named_by_itself_and_as_what_is_in_it() -> None:
    for action in BUCKET_ACTIONS:
        assert RESOURCE.arns(action) == (f"{_PREFIX}bucket", f"{_PREFIX}bucket/")


def test_account_is_named_by_a_star() -> None:
    assert RESOURCE.arns("oss:ListVectorBuckets") == (f"{_PREFIX}*",)


@pytest.mark.parametrize(
    ("pattern", "action", "is_meant"),
    [
        ("*", "oss:PutVectors", True),
        ("acs:ossvector:*:*:*", "oss:ListVectorBuckets", True),
        (f"{_PREFIX}*", "oss:ListVectorBuckets", True),
        (f"{_PREFIX}bucket", "oss:ListVectorBuckets", False),
        (f"{_PREFIX}bucket*", "oss:ListVectorBuckets", False),
        (f"{_PREFIX}bucket", "oss:DeleteVectorBucket", True),
        (f"{_PREFIX}bucket/*", "oss:ListVectorIndexes", True),
        (f"{_PREFIX}buck", "oss:GetVectorBucket", False),
        (f"{_PREFIX}bucket", "oss:PutVectorIndex", False),
        (f"{_PREFIX}bucket", "oss:PutVectors", False),
        (f"{_PREFIX}bucket/idx", "oss:PutVectorIndex", True),
        (f"{_PREFIX}bucket/idx/*", "oss:PutVectorIndex", False),
        (f"{_PREFIX}bucket/idx", "oss:QueryVectors", True),
        (f"{_PREFIX}bucket/idx/*", "oss:QueryVectors", True),
        (f"{_PREFIX}bucket/i?x/*", "oss:QueryVectors", True),
        (f"{_PREFIX}bucket/*", "oss:QueryVectors", True),
        (f"{_PREFIX}bucket/other/*", "oss:QueryVectors", False),
        ("acs:ossvector:cn-beijing:111:*", "oss:QueryVectors", False),
        ("acs:ossvector:*:222:*", "oss:QueryVectors", False),
        ("acs:oss:*:*:bucket/*", "oss:QueryVectors", False),
    ],
)
def test_patterns_of_resources_mean_what_they_say(
    pattern: str, action: str, *, is_meant: bool
) -> None:
    assert is_allowed(user(statement("Allow", "*", pattern)), action, RESOURCE) is is_meant
    text = policy("Deny", "*", pattern)
    assert is_allowed(user(statement("Allow")), action, RESOURCE, text) is not is_meant


def test_name_that_no_index_can_have_is_allowed_to_owners_only() -> None:
    endless = Resource("cn-hangzhou", "111", "bucket", "i" * ARN_CHARACTERS_MAX)
    assert is_allowed(OWNER, "oss:GetVectors", endless)
    assert not is_allowed(user(statement("Allow")), "oss:GetVectors", endless, ALLOW_ALL)


# --- What a policy says -------------------------------------------------------------------------


def test_policy_of_the_published_page_is_understood() -> None:
    text = """{"Version":"1","Statement":[{"Effect":"Deny","Principal":["1234567890"],
        "Action":["oss:GetVectors"],"Resource":["acs:ossvector:cn-hangzhou:1234567890:*"]}]}"""
    (one,) = parse_policy(text)
    assert one.effect is Effect.DENY
    assert (one.actions, one.principals) == (("oss:GetVectors",), ("1234567890",))
    assert one.resources == ("acs:ossvector:cn-hangzhou:1234567890:*",)


def test_policy_of_the_sdks_own_tests_is_understood() -> None:
    actions = ["ossvector:PutVectors", "ossvector:GetVectors"]
    resources = ["acs:ossvector:*:*:bucket", "acs:oss:*:*:bucket/*"]
    (one,) = parse_policy(policy("Deny", actions, resources, ["1234567890"]))
    assert one.matches("oss:PutVectors", ["acs:ossvector:r:1:bucket"])


def test_members_may_be_one_string_and_a_statement_may_have_a_name() -> None:
    one = statement("Allow", "oss:*", "*", Principal="ann", Sid="first")
    (parsed,) = parse_policy(json.dumps({"Statement": [one]}))
    assert (parsed.actions, parsed.resources, parsed.principals) == (("oss:*",), ("*",), ("ann",))


def test_same_text_is_parsed_once() -> None:
    assert parse_policy(ALLOW_ALL) is parse_policy(str(ALLOW_ALL.encode(), "utf-8"))


def test_statement_of_a_credential_may_be_in_lower_case() -> None:
    lower = {"effect": "allow", "action": ["oss:GetVectors"], "resource": "*"}
    upper = statement("Allow", ["oss:GetVectors"])
    assert parse_statements([lower], "x") == parse_statements([upper], "x")
