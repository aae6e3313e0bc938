"""Tests of errors.py: the tree, the table and the contract's ErrorReason say the same.

Method: the tree is read from the module's docstring, the reasons from the generated code, statuses
and examples from the comments of error.proto; nothing is written down a second time here.
"""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from vectorbucket import errors
from vectorbucket.errors import BY_REASON, DOMAIN, TABLE, VectorBucketError
from vectorbucket.v1 import error_pb2

PROTO = Path(__file__).resolve().parents[2] / "proto" / "vectorbucket" / "v1" / "error.proto"

REASONS = [name for name, number in error_pb2.ErrorReason.items() if number != 0]

KINDS = (
    errors.InvalidRequest,
    errors.Forbidden,
    errors.NotFound,
    errors.Conflict,
    errors.LimitExceeded,
    errors.ServerError,
)


def descendants(kind: type[VectorBucketError]) -> Iterator[type[VectorBucketError]]:
    """Yield all classes of the tree below one, as they are declared."""
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from descendants(child)


LEAVES = [kind for kind in descendants(VectorBucketError) if kind.code]
"""Every class that can be raised."""


# --- The contract -------------------------------------------------------------------------------


def test_every_reason_has_its_class_in_the_contracts_order() -> None:
    assert [leaf.reason for leaf in TABLE] == REASONS


def test_every_class_that_is_raised_has_a_reason() -> None:
    assert {leaf.reason for leaf in LEAVES} == set(REASONS)
    assert set(LEAVES) - set(TABLE) == {errors.Corruption}


def test_corruption_is_told_to_callers_as_an_internal_error() -> None:
    assert issubclass(errors.Corruption, errors.InternalError)
    assert errors.Corruption.reason == errors.InternalError.reason
    assert errors.Corruption("family 'rows'").code == "InternalError"


def test_leaf_is_found_by_its_reason() -> None:
    assert {leaf.reason: leaf for leaf in TABLE} == BY_REASON
    assert len(BY_REASON) == len(TABLE)


def test_no_two_reasons_share_a_code() -> None:
    codes = [leaf.code for leaf in TABLE]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("leaf", TABLE)
def test_code_reason_and_class_are_the_same_words(leaf: type[VectorBucketError]) -> None:
    words = re.findall(r"[A-Z][a-z]+", leaf.code)
    assert leaf.__name__ == leaf.code == "".join(words)
    assert leaf.reason == "_".join(["ERROR_REASON", *map(str.upper, words)])


@pytest.mark.parametrize("leaf", TABLE)
def test_grpc_code_is_one_that_grpc_knows(leaf: type[VectorBucketError]) -> None:
    numbers = {code.value[0] for code in grpc.StatusCode} - {grpc.StatusCode.OK.value[0]}
    assert leaf.grpc_code in numbers


def comment_of(reason: str) -> str:
    """Return the comment above a reason in error.proto, its lines joined."""
    lines = PROTO.read_text().splitlines()
    end = next(n for n, line in enumerate(lines) if line.split()[:1] == [reason])
    start = end
    while lines[start - 1].strip().startswith("//"):
        start -= 1
    return " ".join(line.strip().lstrip("/").strip() for line in lines[start:end])


@pytest.mark.parametrize("leaf", TABLE)
def test_contracts_comment_tells_the_statuses_of_the_table(leaf: type[VectorBucketError]) -> None:
    comment = comment_of(leaf.reason)
    code = next(code for code in grpc.StatusCode if code.value[0] == leaf.grpc_code)
    assert f"HTTP {leaf.http_status}, {code.name}" in comment
    assert f'"reason": "{leaf.reason}", "domain": "{DOMAIN}"' in comment
    assert f'"code": "{leaf.code}"' in comment
    assert ("with RetryInfo" in comment) is leaf.retryable


@pytest.mark.parametrize("leaf", TABLE)
def test_status_says_who_must_act(leaf: type[VectorBucketError]) -> None:
    kind = next(kind for kind in KINDS if issubclass(leaf, kind))
    server_status = leaf.http_status >= 500 or leaf.http_status == 408
    assert server_status is (kind is errors.ServerError or leaf is errors.QpsLimitExceeded)
    # The SDKs of OSS repeat what is 5xx, so everything that may be repeated is, and is only that.
    assert not leaf.retryable or leaf.http_status == 503
    assert "BadRequest" not in leaf.code


# --- The tree -----------------------------------------------------------------------------------


def drawn_tree() -> list[tuple[int, str, str]]:
    """Return depth, name and remark of every class that the module's docstring draws."""
    lines = (inspect.getdoc(errors) or "").split("The tree::")[1].splitlines()
    drawn = [line[4:] for line in lines if line.startswith("    ")]
    parsed = [re.fullmatch(r"([│ ├└─]*)(\w+)\s*(.*)", line) for line in drawn]
    return [(len(m[1]) // 4, m[2], m[3]) for m in parsed if m]


def real_tree(kind: type[VectorBucketError], depth: int = 0) -> Iterator[tuple[int, str]]:
    """Yield depth and name of a class and all below it, as they are declared."""
    yield depth, kind.__name__
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from real_tree(child, depth + 1)


def test_drawn_tree_is_the_real_tree() -> None:
    assert [(depth, name) for depth, name, _ in drawn_tree()] == list(real_tree(VectorBucketError))


@pytest.mark.parametrize(("depth", "name", "remark"), drawn_tree())
def test_drawn_tree_tells_the_status_of_every_leaf(depth: int, name: str, remark: str) -> None:
    leaf = getattr(errors, name)
    status = re.match(r"\d{3}", remark)
    assert (status is not None) is bool(leaf.code)
    assert status is None or int(status[0]) == leaf.http_status
    assert ("retryable" in remark) is leaf.retryable
    assert depth <= 3


def test_class_with_a_status_is_a_leaf_named_as_its_code() -> None:
    class OutOfPaper(errors.ServerError, http_status=503, grpc_code=14, retryable=True):
        """A leaf."""

    error = OutOfPaper("no more paper")
    assert (error.code, error.reason) == ("OutOfPaper", "ERROR_REASON_OUT_OF_PAPER")
    assert (error.http_status, error.grpc_code, error.retryable) == (503, 14, True)
    assert error.retry_after_s == errors.RETRY_AFTER_DEFAULT_S
    assert errors.ServerError.code == ""


def test_class_below_a_leaf_is_told_as_that_leaf() -> None:
    class PhotosMissing(errors.NoSuchBucket):
        """No leaf of its own."""

    error = PhotosMissing.of("photos")
    assert type(error) is PhotosMissing
    assert (error.code, error.http_status, error.grpc_code) == ("NoSuchBucket", 404, 5)


def test_status_with_a_misspelt_name_is_refused() -> None:
    with pytest.raises(TypeError, match="http_code"):
        type("OutOfPaper", (errors.ServerError,), {}, http_code=503)


def test_every_error_is_caught_as_the_root() -> None:
    assert all(issubclass(leaf, VectorBucketError) for leaf in TABLE)
    assert issubclass(VectorBucketError, Exception)


def test_module_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(inspect.getsource(errors))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


# --- An error -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VectorBucketError, *KINDS])
def test_kind_cannot_be_raised(kind: type[VectorBucketError]) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} is a kind of error, not an error"):
        kind("anything")


def test_there_is_no_other_kind() -> None:
    assert {kind for kind in descendants(VectorBucketError) if not kind.code} == set(KINDS)


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_carries_what_it_is_given(leaf: type[VectorBucketError]) -> None:
    error = leaf(
        "dimension is 5000; the limit is 4096",
        field="dimension",
        details={"value": "5000"},
        retry_after_s=2.5,
        request_id="5F1C",
    )
    assert error.message == "dimension is 5000; the limit is 4096"
    assert error.field == "dimension"
    assert error.details == {"value": "5000"}
    assert error.retry_after_s == 2.5
    assert error.request_id == "5F1C"
    assert error.args == ("dimension is 5000; the limit is 4096",)


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_needs_only_a_message(leaf: type[VectorBucketError]) -> None:
    error = leaf("words")
    assert (error.field, error.details, error.request_id) == (None, {}, None)
    assert error.retry_after_s == (errors.RETRY_AFTER_DEFAULT_S if leaf.retryable else None)


def test_wait_of_nothing_is_kept() -> None:
    assert errors.QpsLimitExceeded("words", retry_after_s=0.0).retry_after_s == 0.0


def test_details_are_the_errors_own() -> None:
    details = {"limit": "1"}
    error = errors.TooManyBuckets("words", details=details)
    details["limit"] = "2"
    assert error.details == {"limit": "1"}


def test_error_prints_as_code_and_message() -> None:
    assert str(errors.AccessDenied("not yours")) == "AccessDenied: not yours"


def test_error_prints_its_request_id_once_it_is_known() -> None:
    error = errors.InternalError("the server failed")
    assert str(error) == "InternalError: the server failed"
    error.request_id = "5F1C"
    assert str(error) == "InternalError: the server failed (request id 5F1C)"


@pytest.mark.parametrize("leaf", LEAVES)
def test_error_survives_copying_and_pickling(leaf: type[VectorBucketError]) -> None:
    error = leaf("words", field="f", details={"a": "b"}, retry_after_s=3.0, request_id="R")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert type(again) is leaf
        assert vars(again) == vars(error)
        assert str(again) == str(error)


OF_A_THING = [
    (
        errors.NoSuchBucket.of("photos"),
        "bucket 'photos' does not exist",
        {"bucket": "photos"},
    ),
    (
        errors.NoSuchVectorIndex.of("photos", "faces"),
        "index 'faces' does not exist in bucket 'photos'",
        {"bucket": "photos", "index_name": "faces"},
    ),
    (
        errors.NoSuchBucketPolicy.of("photos"),
        "bucket 'photos' has no policy",
        {"bucket": "photos"},
    ),
    (
        errors.NoSuchBackup.of("monday"),
        "backup 'monday' does not exist",
        {"name": "monday"},
    ),
    (
        errors.BackupAlreadyExist.of("monday"),
        "backup 'monday' exists already",
        {"name": "monday"},
    ),
    (
        errors.BucketNameNotAvailable.of("photos"),
        "bucket 'photos' exists already",
        {"bucket": "photos"},
    ),
    (
        errors.VectorBucketNotEmpty.of("photos"),
        "bucket 'photos' still holds indexes; delete them first",
        {"bucket": "photos"},
    ),
    (
        errors.VectorBucketIndexAlreadyExist.of("photos", "faces"),
        "index 'faces' exists already in bucket 'photos'",
        {"bucket": "photos", "index_name": "faces"},
    ),
    (
        errors.TooManyBuckets.of(100),
        "the account has 100 buckets; the limit is 100",
        {"limit": "100"},
    ),
    (
        errors.VectorBucketIndexExceedLimit.of("photos", 100),
        "bucket 'photos' holds 100 indexes; the limit is 100",
        {"bucket": "photos", "limit": "100"},
    ),
    (
        errors.MemoryBudgetExceeded.of("faces", 700, 500),
        (
            "index 'faces' needs 700 bytes of memory, more than is left for indexes; the limit "
            "is 500 bytes"
        ),
        {"index_name": "faces", "needed_bytes": "700", "limit_bytes": "500"},
    ),
]
"""An error about a thing, what it says, and the facts that programs get."""


@pytest.mark.parametrize(("error", "message", "details"), OF_A_THING)
def test_error_of_a_thing_names_it(
    error: VectorBucketError, message: str, details: dict[str, str]
) -> None:
    assert error.message == message
    assert error.details == details
    # The contract's example shows the same facts.
    shown = set(re.findall(r'"(\w+)":', comment_of(error.reason)))
    assert shown == {"reason", "domain", "metadata", "code", *details}
