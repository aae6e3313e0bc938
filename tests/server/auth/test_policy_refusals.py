"""Tests of auth/policy.py: what is no policy, and with which path that is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket.errors import InvalidPolicyDocument, MalformedJson
from vectorbucket_server.auth.policy import parse_policy, parse_statements

GOOD: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": ["1234567890"],
    "Action": ["oss:GetVectors"],
    "Resource": ["acs:ossvector:*:*:*"],
}


def refusal(document: Any) -> str:
    """Return how a document is refused that is JSON and no policy."""
    with pytest.raises(InvalidPolicyDocument) as caught:
        parse_policy(json.dumps(document))
    assert caught.value.field is not None
    assert caught.value.message.startswith(caught.value.field)
    return caught.value.message


def of_statement(**changes: Any) -> str:
    """Return how a policy is refused whose second statement has some other members."""
    changed = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return refusal({"Version": "1", "Statement": [GOOD, changed]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "{'Statement':[]}",
        '{"Statement":[],}',
        '{"Statement":NaN}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5_000,
        "\ufeff{}",
        '{"Version":"1","Version":"1"}',
        '{"Statement":[{"Effect":"Deny","Effect":"Allow"}]}',
        "\x00",
        '"\t"',
    ],
)
def test_text_that_is_no_json_or_says_two_things_is_malformed(text: str) -> None:
    with pytest.raises(MalformedJson) as caught:
        parse_policy(text)
    assert caught.value.field == "policy"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "policy: expected an object, found an empty list"),
        ([1], "policy: expected an object, found a list"),
        ("Allow", "policy: expected an object, found 'Allow'"),
        (1, "policy: expected an object, found a number"),
        (None, "policy: expected an object, found nothing"),
        ({}, "policy.Statement: expected a list of one statement or more, found nothing"),
        (
            {"Statement": []},
            "policy.Statement: expected a list of one statement or more, found an empty list",
        ),
        ({"Statement": GOOD}, "policy.Statement: expected a list of one statement or more"),
        ({"Statement": ["x"]}, "policy.Statement[0]: expected an object, found 'x'"),
        ({"Version": 1, "Statement": [GOOD]}, "policy.Version: expected '1', found a number"),
        ({"Version": "2012-10-17", "Statement": [GOOD]}, "policy.Version: expected '1'"),
        ({"Statement": [GOOD], "Id": "a"}, "policy: there is no member 'Id'; there is Version"),
    ],
)
def test_document_of_another_form_is_refused_with_its_path(document: Any, message: str) -> None:
    assert refusal(document).startswith(message)


@pytest.mark.parametrize("name", ["Condition", "NotAction", "NotResource", "NotPrincipal"])
def test_what_would_narrow_a_statement_is_refused_rather_than_ignored(name: str) -> None:
    assert of_statement(**{name: {}}) == (
        f"policy.Statement[1]: {name} is not supported, and without it more would be allowed"
    )


@pytest.mark.parametrize("name", ["effect", "Other", "", "\ud800", "x" * 10_000])
def test_unknown_member_is_refused_by_name(name: str) -> None:
    message = of_statement(**{name: "Allow"})
    assert message.startswith("policy.Statement[1]: there is no member")
    assert message.endswith("; there is Effect, Action, Resource, Principal")
    assert len(message) < 300


@pytest.mark.parametrize("name", ["Effect", "Action", "Resource", "Principal"])
def test_missing_member_is_named(name: str) -> None:
    assert of_statement(**{name: ...}) == f"policy.Statement[1].{name}: is missing"


@pytest.mark.parametrize("value", ["ALLOW", "Permit", "", None, 1, True, [], ["Allow"], {}])
def test_effect_is_one_of_two(value: Any) -> None:
    message = of_statement(Effect=value)
    assert message.startswith("policy.Statement[1].Effect: expected 'Allow' or 'Deny', found")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Permit", {"value": "Permit"}),
        ("", {"value": ""}),
        ("x" * 64, {"value": "x" * 64}),
        ("x" * 65, {"value": f"'{'x' * 64}'… (65 characters)"}),
        ("a\nb", {"value": r"'a\nb'"}),
        (5, {}),
        (["Permit"], {}),
    ],
)
def test_text_that_is_refused_is_a_fact_of_the_error(value: Any, told: dict[str, str]) -> None:
    with pytest.raises(InvalidPolicyDocument) as caught:
        parse_policy(json.dumps({"Statement": [{**GOOD, "Effect": value}]}))
    assert caught.value.details == told


@pytest.mark.parametrize("name", ["Action", "Resource", "Principal"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "nothing"),
        (5, "a number"),
        ([], "an empty list"),
        ({"RAM": "x"}, "an object"),
        (True, "a"),
    ],
)
def test_list_that_is_none_is_refused(name: str, value: Any, found: str) -> None:
    message = of_statement(**{name: value})
    expected = f"policy.Statement[1].{name}: expected a string, or a list of one or more, found "
    assert message.startswith(expected + found)


@pytest.mark.parametrize("name", ["Action", "Resource", "Principal"])
def test_element_that_is_no_string_is_named(name: str) -> None:
    message = of_statement(**{name: ["*", 7]})
    assert message == f"policy.Statement[1].{name}[1]: expected a string, found a number"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Action", "GetVectors"),
        ("Action", ""),
        ("Resource", "bucket/*"),
        ("Resource", ""),
        ("Resource", "arn:aws:s3vectors"),
        ("Principal", ""),
        ("Principal", "team-*"),
        ("Principal", "an?"),
    ],
)
def test_value_that_could_never_match_is_refused(name: str, value: str) -> None:
    assert of_statement(**{name: ["*", value]}).startswith(f"policy.Statement[1].{name}[1]: expec")


def test_statement_of_a_credential_names_no_principal() -> None:
    with pytest.raises(InvalidPolicyDocument, match=r"c\[2\]\.s\[0\]: there is no member 'Princ"):
        parse_statements([GOOD], "c[2].s")


def test_member_in_both_spellings_stands_twice() -> None:
    both = {"effect": "Allow", "Effect": "Deny", "action": "*", "resource": "*"}
    with pytest.raises(InvalidPolicyDocument, match=r" s\[0\]\.Effect: stands twice$"):
        parse_statements([both], "s")


def test_missing_member_of_a_credential_is_named_in_lower_case() -> None:
    with pytest.raises(InvalidPolicyDocument, match=r" s\[0\]\.resource: is missing$"):
        parse_statements([{"effect": "Allow", "action": "*"}], "s")


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.sampled_from(["Version", "Statement", "Sid", "Condition", *GOOD]), st.text()
            ),
            inner,
            max_size=5,
        ),
    ),
)


@settings(derandomize=True, database=None, deadline=None, max_examples=500)
@given(document=st.one_of(_JSON, st.builds(lambda one: {"Statement": [one]}, _JSON)))
def test_any_document_is_a_policy_or_refused_with_its_path(document: Any) -> None:
    try:
        parse_policy(json.dumps(document))
    except (InvalidPolicyDocument, MalformedJson) as error:
        assert (error.field or "").startswith("policy")  # noqa: PT017 - either is right


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(text=st.text(max_size=200))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    with pytest.raises((InvalidPolicyDocument, MalformedJson)):
        parse_policy(text)
