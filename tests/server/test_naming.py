"""Tests of naming.py: which names are legal, and what the others are told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from vectorbucket.errors import (
    InvalidArgument,
    InvalidVectorBucketName,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket.limits import OSS, UNLIMITED, Limits
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.naming import (
    ACCOUNT_ID_FORM,
    check_bucket_name,
    check_index_name,
    check_key,
    check_logging,
    check_metadata_key,
    check_non_filterable_keys,
    check_stream_id,
    check_text,
    shown,
)

NON_FILTERABLE = "metadata.non_filterable_metadata_keys"

HALF = "\ud83d"
"""Half of a surrogate pair: JSON can spell it, UTF-8 cannot."""


def refusal(check: Callable[[], None]) -> VectorBucketError:
    """Return the error that a check raises; it can always be sent."""
    with pytest.raises(VectorBucketError) as caught:
        check()
    error = caught.value
    for text in (error.message, *error.details.values()):
        text.encode()
    return error


# --- Buckets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["abc", "a" * 63, "my-bucket-1", "1abc", "a--b", "123"])
def test_legal_bucket_name_passes(name: str) -> None:
    check_bucket_name(name, OSS)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "bucket is empty"),
        ("ab", "bucket 'ab' has 2 characters; a name has 3 to 63"),
        ("a" * 64, "characters; a name has 3 to 63"),
        ("My_Bucket", "bucket 'My_Bucket' is no legal name: lower-case letters, digits"),
        ("-abc", "is no legal name"),
        ("abc-", "is no legal name"),
        ("a.b.c", "is no legal name"),
        ("a b c", "is no legal name"),
        ("bücher", "is no legal name"),
        ("١٢٣", "is no legal name"),
        ("abc\n", "bucket 'abc\\n' is no legal name"),
        ("abc\0", "bucket 'abc\\x00' is no legal name"),
        ("a/b/c", "is no legal name"),
        (HALF * 3, "is no legal name"),
    ],
)
def test_illegal_bucket_name_is_refused_with_its_reason(name: str, problem: str) -> None:
    error = refusal(lambda: check_bucket_name(name, OSS))
    assert isinstance(error, InvalidVectorBucketName)
    assert problem in error.message
    assert error.field == "bucket"


def test_error_of_a_bucket_name_carries_the_facts_of_the_contracts_example() -> None:
    assert refusal(lambda: check_bucket_name("My_Bucket", OSS)).details == {"value": "My_Bucket"}
    assert refusal(lambda: check_bucket_name("ab", OSS)).details == {"value": "ab", "limit": "63"}


def test_bucket_names_follow_the_limits_in_force() -> None:
    check_bucket_name("ab", replace(OSS, bucket_name_min=2))
    assert (
        "3 to 32"
        in refusal(lambda: check_bucket_name("a" * 33, replace(OSS, bucket_name_max=32))).message
    )


def test_error_of_another_buckets_name_says_where_it_stands() -> None:
    for name in ("", "ab", "My_Bucket"):
        error = refusal(partial(check_bucket_name, name, OSS, "logging.target_bucket"))
        assert error.field == "logging.target_bucket"
        assert error.message.startswith("logging.target_bucket ")


# --- Logging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "logging",
    [
        BucketLogging("logs"),
        BucketLogging("logs", "MyLog-"),
        BucketLogging("logs", "a/b/c/"),
        BucketLogging("logs", "."),
        BucketLogging("logs", "ünter 🜁"),
        BucketLogging("logs", "x" * 128, "y" * 128),
        BucketLogging("logs", "", "../any role at all\n"),
    ],
)
def test_legal_logging_passes(logging: BucketLogging) -> None:
    check_logging(logging, OSS)


@pytest.mark.parametrize("name", ["", "ab", "..", "a/b", "a/../b", "Logs", "-logs", "l\0gs", HALF])
def test_target_that_is_no_buckets_name_is_refused(name: str) -> None:
    error = refusal(lambda: check_logging(BucketLogging(name), OSS))
    assert type(error) is InvalidVectorBucketName
    assert error.field == "logging.target_bucket"


@pytest.mark.parametrize(
    "prefix",
    ["/", "/etc/", "..", "../x", "a/../b", "a/..", "a..b", "a\0b", "a\nb", "\t", "\x7f", "\x85"],
)
def test_prefix_that_leads_elsewhere_is_refused(prefix: str) -> None:
    error = refusal(lambda: check_logging(BucketLogging("logs", prefix), OSS))
    assert type(error) is InvalidArgument
    assert error.field == "logging.target_prefix"
    assert "no '/' at its start, no '..', no control characters" in error.message


@pytest.mark.parametrize(
    ("logging", "field"),
    [
        (BucketLogging("logs", "é" * 64 + "x"), "logging.target_prefix"),
        (BucketLogging("logs", "", "x" * 129), "logging.logging_role"),
    ],
)
def test_prefix_or_role_that_is_too_long_is_refused(logging: BucketLogging, field: str) -> None:
    error = refusal(lambda: check_logging(logging, OSS))
    assert type(error) is InvalidArgument
    assert (error.field, error.details["limit"]) == (field, "128")
    assert "has 129 bytes; the limit is 128" in error.message
    check_logging(logging, replace(OSS, logging_text_bytes_max=129))


@pytest.mark.parametrize(
    ("logging", "field"),
    [
        (BucketLogging("logs", HALF), "logging.target_prefix"),
        (BucketLogging("logs", "", HALF), "logging.logging_role"),
    ],
)
def test_prefix_or_role_that_is_no_text_is_refused(logging: BucketLogging, field: str) -> None:
    error = refusal(lambda: check_logging(logging, OSS))
    assert type(error) is InvalidArgument
    assert error.field == field


# --- Indexes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "Z", "index1", "goSdkIndex", "a" * 63])
@pytest.mark.parametrize("limits", [OSS, UNLIMITED])
def test_legal_index_name_passes(name: str, limits: Limits) -> None:
    check_index_name(name, limits)


@pytest.mark.parametrize("name", ["my-index", "my_index", "v1.2", "a-_.b"])
def test_punctuation_in_an_index_name_is_a_matter_of_the_profile(name: str) -> None:
    check_index_name(name, UNLIMITED)
    assert (
        "letters and digits, first a letter" in refusal(lambda: check_index_name(name, OSS)).message
    )


@pytest.mark.parametrize(
    "name", ["", "1a", "-a", "a-", "a.", "_a", "a b", "é", "a\n", "a/b", "a" * 64, HALF]
)
@pytest.mark.parametrize("limits", [OSS, UNLIMITED])
def test_illegal_index_name_is_refused_under_every_profile(name: str, limits: Limits) -> None:
    error = refusal(lambda: check_index_name(name, limits))
    assert isinstance(error, VectorIndexParameterInvalid)
    assert error.message.startswith("index_name ")
    assert error.field == "index_name"


def test_error_of_an_index_name_says_what_is_allowed_inside() -> None:
    lenient = refusal(lambda: check_index_name("1a", UNLIMITED)).message
    strict = refusal(lambda: check_index_name("1a", OSS)).message
    assert "'-', '_' and '.' inside" in lenient
    assert "inside" not in strict


def test_error_of_a_long_index_name_names_the_limit() -> None:
    error = refusal(lambda: check_index_name("a" * 64, OSS))
    assert "has 64 characters; the limit is 63" in error.message
    assert error.details == {"value": "a" * 64, "limit": "63"}


# --- Keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["k", " ", "\0", "a/b\n", "é" * 512, "x" * 1024, "🜁" * 256, "$key", "long" * 100],
)
def test_key_may_be_any_text_of_1_to_1024_bytes(key: str) -> None:
    check_key(key, "vectors[3].key", OSS)


@pytest.mark.parametrize(
    ("key", "size"), [("", 0), ("x" * 1025, 1025), ("é" * 513, 1026), ("🜁" * 257, 1028)]
)
def test_key_of_too_few_or_too_many_bytes_is_refused(key: str, size: int) -> None:
    error = refusal(lambda: check_key(key, "vectors[3].key", OSS))
    assert isinstance(error, VectorIndexParameterInvalid)
    assert error.message.startswith("vectors[3].key ")
    assert f"has {size} bytes; a key has 1 to 1024" in error.message
    assert error.field == "vectors[3].key"
    assert error.details["limit"] == "1024"


@pytest.mark.parametrize("key", [HALF, "a" * 300 + HALF, "a" * 2000 + HALF])
def test_key_that_is_no_text_is_refused_however_long(key: str) -> None:
    error = refusal(lambda: check_key(key, "keys[0]", OSS))
    assert error.message.startswith("keys[0] ")
    assert "is no Unicode text" in error.message


# --- Metadata -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "n" * 255, "é" * 127, "a.b", "a$", " ", "größe in cm"])
def test_legal_metadata_key_passes(name: str) -> None:
    check_metadata_key(name, "vectors[0].metadata", OSS)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "vectors[0].metadata has a field with an empty name"),
        ("$eq", "vectors[0].metadata has a field named '$eq'; names do not start with '$'"),
        ("n" * 256, "of 256 bytes; the limit is 255"),
        ("é" * 128, "of 256 bytes; the limit is 255"),
        (HALF, "vectors[0].metadata '\\ud83d' is no Unicode text"),
    ],
)
def test_illegal_metadata_key_is_refused_with_its_reason(name: str, problem: str) -> None:
    error = refusal(lambda: check_metadata_key(name, "vectors[0].metadata", OSS))
    assert isinstance(error, VectorIndexParameterInvalid)
    assert problem in error.message
    assert error.field == "vectors[0].metadata"


@pytest.mark.parametrize(
    "names", [[], ["a"], ["_a", "A1", "a" * 63], [f"key{n}" for n in range(10)]]
)
def test_legal_non_filterable_keys_pass(names: list[str]) -> None:
    check_non_filterable_keys(names, OSS)


@pytest.mark.parametrize(
    ("names", "field", "problem"),
    [
        ([f"key{n}" for n in range(11)], NON_FILTERABLE, "has 11 names; the limit is 10"),
        (["a", ""], f"{NON_FILTERABLE}[1]", "'' is no legal name"),
        (["1a"], f"{NON_FILTERABLE}[0]", "'1a' is no legal name: letters, digits and '_'"),
        (["a-b"], f"{NON_FILTERABLE}[0]", "is no legal name"),
        (["größe"], f"{NON_FILTERABLE}[0]", "is no legal name"),
        (["a" * 64], f"{NON_FILTERABLE}[0]", "has 64 bytes; the limit is 63"),
        (["a", "b", "a"], f"{NON_FILTERABLE}[2]", "'a' stands twice"),
        ([HALF], f"{NON_FILTERABLE}[0]", "is no legal name"),
    ],
)
def test_illegal_non_filterable_keys_are_refused_with_their_place(
    names: list[str], field: str, problem: str
) -> None:
    error = refusal(lambda: check_non_filterable_keys(names, OSS))
    assert isinstance(error, VectorIndexParameterInvalid)
    assert error.message.startswith(f"{field} ")
    assert problem in error.message
    assert error.field == field


def test_profile_unlimited_takes_any_number_of_non_filterable_keys() -> None:
    names = [f"key{n}" for n in range(20_000)]
    check_non_filterable_keys(names, UNLIMITED)
    assert (
        "[20000] 'key7' stands twice"
        in refusal(lambda: check_non_filterable_keys([*names, "key7"], UNLIMITED)).message
    )


# --- Streams and text ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream_id", ["s", "x" * 64, "5f1c3a52-7d7e-4c0e-9b0c-0f6f3c1e2d4b"])
def test_legal_stream_id_passes(stream_id: str) -> None:
    check_stream_id(stream_id, OSS)


@pytest.mark.parametrize(
    ("stream_id", "problem"),
    [
        ("", "stream_id '' has 0 bytes; it has 1 to 64"),
        ("x" * 65, "has 65 bytes; it has 1 to 64"),
        ("é" * 33, "has 66 bytes; it has 1 to 64"),
        (HALF, "is no Unicode text"),
    ],
)
def test_illegal_stream_id_is_refused(stream_id: str, problem: str) -> None:
    error = refusal(lambda: check_stream_id(stream_id, OSS))
    assert isinstance(error, VectorIndexParameterInvalid)
    assert problem in error.message
    assert error.field == "stream_id"


@pytest.mark.parametrize("text", ["", "plain", "größe", "\0", "🜁"])
def test_unicode_text_passes(text: str) -> None:
    check_text(text, "field")


@pytest.mark.parametrize("text", [HALF, "\udc01", "a" + HALF + "b", HALF * 500])
def test_surrogates_are_no_text(text: str) -> None:
    error = refusal(lambda: check_text(text, "field"))
    assert error.message.startswith("field ")
    assert error.field == "field"


# --- What a message shows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "'plain'"),
        ("it's", '"it\'s"'),
        ("line\nbreak\0", "'line\\nbreak\\x00'"),
        ("größe", "'größe'"),
        (HALF, "'\\ud83d'"),
        ("x" * 64, repr("x" * 64)),
        ("x" * 65, repr("x" * 64) + "… (65 characters)"),
    ],
)
def test_value_is_shown_quoted_escaped_and_shortened(value: str, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize("character", ["x", "\0", "🜁", HALF, "'"])
def test_value_of_any_length_is_shown_short(character: str) -> None:
    assert len(shown(character * 1_000_000)) < 700


def test_facts_are_bare_where_they_are_short_and_printable_and_shown_elsewhere() -> None:
    def fact(name: str) -> str:
        return refusal(lambda: check_index_name(name, OSS)).details["value"]

    assert fact("a b") == "a b"
    assert fact("a\n") == "'a\\n'"
    assert fact("-" * 100) == shown("-" * 100)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1", True),
        ("1" * 32, True),
        ("", False),
        ("1" * 33, False),
        ("1a", False),
        ("\u0661", False),
    ],
)
def test_account_id_is_one_to_32_digits(text: str, *, is_one: bool) -> None:
    assert (re.fullmatch(ACCOUNT_ID_FORM, text) is not None) is is_one
