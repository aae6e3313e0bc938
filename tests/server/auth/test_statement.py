"""Tests of auth/statement.py: patterns, and whom a statement is about.

Method: patterns are held against a slow and plain reading of the same rule.
"""

from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket_server.auth.statement import Effect, Statement


def statement(
    actions: tuple[str, ...] = ("*",),
    resources: tuple[str, ...] = ("*",),
    principals: tuple[str, ...] = (),
) -> Statement:
    """Return a statement that allows."""
    return Statement(Effect.ALLOW, actions, resources, principals)


def fits(pattern: str, name: str) -> bool:
    """Return whether a name fits a pattern, character by character."""

    @cache
    def rest(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(name)
        if pattern[i] == "*":
            return rest(i + 1, j) or (j < len(name) and rest(i, j + 1))
        return j < len(name) and pattern[i] in ("?", name[j]) and rest(i + 1, j + 1)

    return rest(0, 0)


@settings(derandomize=True, database=None, deadline=None, max_examples=1500)
@given(
    patterns=st.lists(st.text("ab:/?*.\n(", max_size=8), min_size=1, max_size=3).map(tuple),
    name=st.text("ab:/.\n(", max_size=10),
)
def test_resources_fit_as_a_plain_reading_of_the_pattern_says(
    patterns: tuple[str, ...], name: str
) -> None:
    expected = any(fits(pattern, name) for pattern in patterns)
    assert statement(resources=patterns).matches("oss:PutVectors", [name]) is expected


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [
        ("*", True),
        ("oss:*", True),
        ("oss:PutVectors", True),
        ("OSS:putvectors", True),
        ("oss:Put*", True),
        ("oss:???Vectors", True),
        ("ossvector:PutVectors", True),
        ("ossvector:*", True),
        ("OssVector:Put*", True),
        ("oss*:PutVectors", True),
        ("oss:GetVectors", False),
        ("oss:PutVector", False),
        ("oss:PutVectorsBatch", False),
        ("PutVectors", False),
        ("s3:PutVectors", False),
    ],
)
def test_actions_fit_in_any_case_and_by_both_prefixes(pattern: str, *, is_meant: bool) -> None:
    assert statement(actions=(pattern,)).matches("oss:PutVectors", ["a"]) is is_meant
    assert statement(actions=("oss:None", pattern)).matches("oss:PutVectors", ["a"]) is is_meant


def test_one_name_of_a_resource_that_fits_is_enough() -> None:
    one = statement(resources=("acs:x/*",))
    assert one.matches("oss:GetVectors", ["acs:x", "acs:x/"])
    assert not one.matches("oss:GetVectors", ["acs:x"])


def test_resources_differ_by_case() -> None:
    assert not statement(resources=("ACS:x",)).matches("oss:GetVectors", ["acs:x"])


@pytest.mark.parametrize(
    ("principals", "is_meant"),
    [(("*",), True), (("7",), True), (("a", "ann"), True), (("an",), False), ((), False)],
)
def test_statement_concerns_accounts_credentials_and_everybody(
    principals: tuple[str, ...], *, is_meant: bool
) -> None:
    assert statement(principals=principals).concerns("7", "ann") is is_meant


def test_statements_are_equal_when_they_say_the_same() -> None:
    assert statement() == statement()
    assert len({statement(), statement(), statement(("oss:Get*",))}) == 2
    assert "_action" not in repr(statement())


@pytest.mark.parametrize(
    "pattern", ["*a" * 8000, "*?" * 8000, "*" * 16_000, "*aaaaaaaaaa" * 1400 + "b", "?*b" * 5000]
)
def test_no_pattern_makes_a_decision_slow(pattern: str) -> None:
    one = statement(resources=(pattern,))
    begun_s = time.thread_time()
    one.matches("oss:GetVectors", ["a" * 1024])
    assert time.thread_time() - begun_s < 2
