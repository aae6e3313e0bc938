"""Values in words."""

from __future__ import annotations

from vectorbucket_server.rest.oss.words import ABSENT, Huge, described, shown


def test_values_are_described_in_a_few_words() -> None:
    assert described(ABSENT) == "missing"
    assert described(object()) == "an object"
    assert described([1, 2]) == "an array"
    assert described(Huge("1" * 1_000)) == f"the number {'1' * 64}…"
    assert described(10**3_000) == f"the number 1{'0' * 63}…"
    assert shown("a\n") == r"'a\n'"
    assert len(shown("x" * 10_000)) < 100
