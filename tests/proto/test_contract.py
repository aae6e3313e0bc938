"""The contract is documented to the last value, agrees with the errors' table, and has not changed.

Method: protoc gives descriptors with source info, so that a comment is found by the path of what it
belongs to, as a generator for another language would find it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)

import contract_lock
import generate_protos
from house import overlong_lines
from vectorbucket.errors import BY_REASON, DOMAIN, TABLE, VectorBucketError
from vectorbucket.limits import OSS

PROTOS = sorted((generate_protos.PROTO_ROOT / "vectorbucket" / "v1").glob("*.proto"))
BEHAVIOURS = ("Required", "Optional", "Output only", "Immutable", "Identifier")
COMMENT_SHARE_MIN = 0.35
GRPC_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True)
class Thing:
    """Something declared in the contract, and what is written above it."""

    kind: str
    name: str
    comment: str
    owner_comment: str = ""
    """For an RPC its service's; for a member of a oneof the oneof's."""


@cache
def files() -> tuple[FileDescriptorProto, ...]:
    return tuple(generate_protos.descriptors().file)


@cache
def things() -> tuple[Thing, ...]:
    return tuple(thing for file in files() for thing in _in_file(file))


def of_kind(*kinds: str) -> list[Thing]:
    return [thing for thing in things() if thing.kind in kinds]


def _in_file(file: FileDescriptorProto) -> Iterator[Thing]:
    comments = {
        tuple(one.path): " ".join(one.leading_comments.split())
        for one in file.source_code_info.location
    }
    for position, message in enumerate(file.message_type):
        yield from _in_message(message, (4, position), comments)
    for position, enum in enumerate(file.enum_type):
        yield from _in_enum(enum, (5, position), comments)
    for position, service in enumerate(file.service):
        above = comments.get((6, position), "")
        yield Thing("service", service.name, above)
        for place, rpc in enumerate(service.method):
            comment = comments.get((6, position, 2, place), "")
            yield Thing("rpc", f"{service.name}.{rpc.name}", comment, above)


def _in_message(
    message: DescriptorProto, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
) -> Iterator[Thing]:
    yield Thing("message", message.name, comments.get(path, ""))
    above = [comments.get((*path, 8, place), "") for place in range(len(message.oneof_decl))]
    for place, field in enumerate(message.field):
        comment = comments.get((*path, 2, place), "")
        member = field.HasField("oneof_index") and not field.proto3_optional
        owner = above[field.oneof_index] if member else ""
        yield Thing("field", f"{message.name}.{field.name}", comment, owner)
    for place, enum in enumerate(message.enum_type):
        yield from _in_enum(enum, (*path, 4, place), comments)
    for place, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _in_message(nested, (*path, 3, place), comments)


def _in_enum(
    enum: EnumDescriptorProto, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
) -> Iterator[Thing]:
    yield Thing("enum", enum.name, comments.get(path, ""))
    for place, value in enumerate(enum.value):
        kind = "zero" if value.number == 0 else "value"
        yield Thing(kind, f"{enum.name}.{value.name}", comments.get((*path, 2, place), ""))


def starts_with_behaviour(thing: Thing) -> bool:
    return (thing.owner_comment or thing.comment).startswith(BEHAVIOURS)


def is_reason(thing: Thing) -> bool:
    return thing.name.startswith("ErrorReason.")


def prefix_of(enum: str) -> str:
    """Return the prefix of an enum's values: ``DataType`` gives ``DATA_TYPE_``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum).upper() + "_"


def example_in(comment: str) -> dict[str, object]:
    """Return the ErrorInfo that a comment shows.

    Raises:
        ValueError: It shows none.
    """
    found = re.search(r"\{.*\}", comment)
    if not found:
        raise ValueError(f"no example in {comment!r}")
    example: dict[str, object] = json.loads(found[0])
    return example


def errors_in(comment: str) -> list[tuple[str, str]]:
    """Return the (gRPC code, reason) pairs of an error list in a comment."""
    return [
        (code, reason)
        for code, reasons in re.findall(r"`([A-Z_]+)` \((ERROR_REASON_[A-Z_, ]+)\)", comment)
        for reason in reasons.split(", ")
    ]


# --- What is written ----------------------------------------------------------------------------


def test_contract_has_every_kind_of_thing() -> None:
    assert {thing.kind for thing in things()} == {
        *("service", "rpc", "message", "field", "enum", "zero", "value")
    }
    assert len(of_kind("rpc")) >= 16


def test_everything_has_a_comment() -> None:
    assert [thing.name for thing in things() if len(thing.comment) < len("IEEE 754.")] == []


def test_comments_are_a_third_of_the_contract_and_more() -> None:
    lines = [line.strip() for path in PROTOS for line in path.read_text().splitlines()]
    written = [line for line in lines if line]
    comments = [line for line in written if line.startswith("//")]
    assert len(comments) / len(written) >= COMMENT_SHARE_MIN


@pytest.mark.parametrize("path", PROTOS, ids=lambda path: path.name)
def test_file_opens_with_what_it_is_and_keeps_to_the_columns(path: Path) -> None:
    assert path.read_text().startswith("// ")
    assert overlong_lines(path.name, path.read_text()) == []


def test_field_comments_start_with_the_fields_behaviour() -> None:
    assert [thing.name for thing in of_kind("field") if not starts_with_behaviour(thing)] == []


def test_zero_values_say_unspecified_and_values_carry_their_prefix() -> None:
    for thing in of_kind("zero", "value"):
        enum, _, value = thing.name.partition(".")
        assert value.startswith(prefix_of(enum))
        assert (value == f"{prefix_of(enum)}UNSPECIFIED") == (thing.kind == "zero")


@pytest.mark.parametrize(
    ("thing", "behaves"),
    [
        (Thing("field", "a", "Required. The bucket."), True),
        (Thing("field", "a", "The bucket."), False),
        (Thing("field", "a", "The bucket.", "Output only. What became of it."), True),
        (Thing("field", "a", "Required. The bucket.", "What became of it."), False),
    ],
)
def test_behaviour_is_looked_for_where_it_belongs(thing: Thing, *, behaves: bool) -> None:
    assert starts_with_behaviour(thing) is behaves


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("GraphConfiguration.m", OSS.m_min, OSS.m_max),
        ("GraphConfiguration.ef_construction", OSS.ef_construction_min, OSS.ef_construction_max),
        ("GraphConfiguration.ef_search", 1, OSS.ef_search_max),
        ("QueryVectorsRequest.ef_search", 1, OSS.ef_search_max),
    ],
)
def test_ranges_of_graph_and_search_are_those_of_the_limits(
    name: str, least: int, most: int
) -> None:
    comment = next(thing.comment for thing in of_kind("field") if thing.name == name)
    assert f"{least:,} to {most:,}" in comment


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("PutBucketPolicyRequest.policy", f"at most {OSS.bucket_policy_bytes_max // 1024} KiB"),
        ("BucketLogging.target_prefix", f"at most {OSS.logging_text_bytes_max} bytes"),
        ("BucketLogging.logging_role", f"at most {OSS.logging_text_bytes_max} bytes"),
    ],
)
def test_sizes_of_a_buckets_settings_are_those_of_the_limits(name: str, most: str) -> None:
    assert OSS.bucket_policy_bytes_max % 1024 == 0
    comment = next(thing.comment for thing in of_kind("field") if thing.name == name)
    assert most in comment


# --- Errors -------------------------------------------------------------------------------------


def test_reasons_of_the_contract_are_those_of_the_table() -> None:
    reasons = [thing.name.partition(".")[2] for thing in of_kind("value") if is_reason(thing)]
    assert sorted(reasons) == sorted(leaf.reason for leaf in TABLE)


@pytest.mark.parametrize("leaf", TABLE, ids=lambda leaf: leaf.code)
def test_reason_has_an_example_that_agrees_with_the_table(leaf: type[VectorBucketError]) -> None:
    name = f"ErrorReason.{leaf.reason}"
    comment = next(thing.comment for thing in of_kind("value") if thing.name == name)
    example = example_in(comment)
    metadata = example["metadata"]
    assert (example["reason"], example["domain"]) == (leaf.reason, DOMAIN)
    assert isinstance(metadata, dict)
    assert metadata["code"] == leaf.code
    assert f"HTTP {leaf.http_status}, {GRPC_NAMES[leaf.grpc_code]}" in comment
    assert ("with RetryInfo" in comment) == leaf.retryable


def test_comment_without_example_is_refused() -> None:
    with pytest.raises(ValueError, match="no example"):
        example_in("The bucket exists. HTTP 409, ALREADY_EXISTS.")


@pytest.mark.parametrize("rpc", of_kind("rpc"), ids=lambda rpc: rpc.name)
def test_rpc_lists_its_errors_as_the_table_has_them(rpc: Thing) -> None:
    own = errors_in(rpc.comment)
    assert re.search(r"Errors (that end the stream, )?and what to do:", rpc.comment)
    assert own
    for code, reason in [*own, *errors_in(rpc.owner_comment)]:
        assert code == GRPC_NAMES[BY_REASON[reason].grpc_code], reason


@pytest.mark.parametrize("service", of_kind("service"), ids=lambda service: service.name)
def test_service_lists_what_every_call_may_end_with(service: Thing) -> None:
    common = {reason for _, reason in errors_in(service.comment)}
    assert common >= {
        "ERROR_REASON_INTERNAL_ERROR",
        "ERROR_REASON_SERVICE_UNAVAILABLE",
        "ERROR_REASON_REQUEST_TIMEOUT",
        "ERROR_REASON_INVALID_ACCESS_KEY_ID",
        "ERROR_REASON_ACCESS_DENIED",
    }
    assert "`authorization: Bearer KEY`" in service.comment


def test_error_list_is_read_with_several_reasons_to_a_code() -> None:
    comment = "- `NOT_FOUND` (ERROR_REASON_NO_SUCH_BUCKET, ERROR_REASON_NO_SUCH_VECTOR_INDEX): make"
    assert errors_in(comment) == [
        ("NOT_FOUND", "ERROR_REASON_NO_SUCH_BUCKET"),
        ("NOT_FOUND", "ERROR_REASON_NO_SUCH_VECTOR_INDEX"),
    ]


# --- What was agreed ----------------------------------------------------------------------------


def test_contract_says_what_its_lock_says() -> None:
    agreed = contract_lock.parse(generate_protos.LOCK.read_text())
    current = contract_lock.listing(generate_protos.descriptors())
    gone, new = contract_lock.lost(agreed, current), contract_lock.lost(current, agreed)
    assert not gone, f"callers rely on these (proto/README.md, How it may change): {gone}"
    assert not new, f"to agree to these, run scripts/generate_protos.py: {new}"
