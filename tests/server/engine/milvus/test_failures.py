"""Failures of Milvus, of its client and of gRPC, in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from pymilvus.exceptions import (
    DataNotMatchException,
    DescribeCollectionException,
    MilvusException,
    ParamError,
)

from vectorbucket.errors import QpsLimitExceeded, ServiceUnavailable
from vectorbucket_server.engine.milvus.failures import (
    PASSES,
    RETRY_AFTER_S,
    Missing,
    Refused,
    Unloaded,
    code_of,
    outcome_of,
    translated,
    words_of,
)

Fail = Callable[[grpc.StatusCode, str], grpc.RpcError]

SECRET = "key == 'SECRET'"  # noqa: S105 - what errors must not hold
OUTCOMES = {"missing", "unloaded", "rate_limited", "unavailable", "failed"}
"""All but ``ok`` that the observer's docstring names."""


@pytest.fixture(name="fail", scope="module")
def fixture_fail() -> Iterator[Fail]:
    """Return what calls a server of gRPC that fails as it is told, and returns its failure."""

    def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
        name, _, details = request.decode().partition(" ")
        context.abort(grpc.StatusCode[name], details)
        raise AssertionError

    handlers = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("milvus", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/milvus/Call", None, None)

            def fail(status: grpc.StatusCode, details: str) -> grpc.RpcError:
                with pytest.raises(grpc.RpcError) as caught:
                    call(f"{status.name} {details}".encode())
                return caught.value

            yield fail
        server.stop(None).wait()


def of_milvus(code: int, message: str = SECRET) -> MilvusException:
    return MilvusException(code, message)


# --- Codes of Milvus ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "outcome"),
    [
        (100, Missing, "missing"),
        (200, Missing, "missing"),
        (101, Unloaded, "unloaded"),
        (103, Unloaded, "unloaded"),
        (201, Unloaded, "unloaded"),
        (202, Unloaded, "unloaded"),
        (8, QpsLimitExceeded, "rate_limited"),
        (3, ServiceUnavailable, "unavailable"),
        (7, ServiceUnavailable, "unavailable"),
        (9, ServiceUnavailable, "unavailable"),
        (12, ServiceUnavailable, "unavailable"),
        (605, ServiceUnavailable, "unavailable"),
        (800, ServiceUnavailable, "failed"),
        *((code, ServiceUnavailable, "unavailable") for code in sorted(PASSES)),
        (5, Refused, "failed"),
        (700, Refused, "failed"),
        (1100, Refused, "failed"),
        (65535, Refused, "failed"),
    ],
)
def test_each_code_is_one_kind_of_failure(code: int, kind: type[Exception], outcome: str) -> None:
    error = of_milvus(code)
    assert code_of(error) == code
    assert type(translated(error, carries_data=True)) is kind
    assert outcome_of(error) == outcome
    assert outcome in OUTCOMES


@pytest.mark.parametrize("code", [3, 7, 8, 9, 800, *sorted(PASSES)])
def test_what_callers_sent_stands_in_no_error_of_the_contract(code: int) -> None:
    hidden = translated(of_milvus(code), carries_data=True)
    assert isinstance(hidden, ServiceUnavailable | QpsLimitExceeded)
    assert "SECRET" not in str(hidden)
    assert "SECRET" not in repr(hidden.details)


@pytest.mark.parametrize("code", [3, 7, 9, *sorted(PASSES)])
def test_error_tells_what_milvus_says_where_that_can_be_nothing_else(code: int) -> None:
    error = translated(of_milvus(code, "node\n offline"), carries_data=False)
    assert f"node offline (code {code})" in str(error)


def test_rate_limit_says_when_to_come_again_and_whose_limit_it_is() -> None:
    error = translated(of_milvus(8), carries_data=True)
    assert isinstance(error, QpsLimitExceeded)
    assert error.retry_after_s == RETRY_AFTER_S
    assert "quotaAndLimits" in error.message


def test_partition_that_reads_do_not_find_is_missing_as_for_writes() -> None:
    error = of_milvus(65535, "partition name p123 not found")
    assert type(translated(error, carries_data=True)) is Missing
    assert outcome_of(error) == "missing"
    # A filter that quotes that text is none of it.
    quoted = of_milvus(65535, 'cannot parse expression: "partition name p123 not found"')
    assert type(translated(quoted, carries_data=True)) is Refused


def test_subclasses_that_the_client_makes_of_answers_count_by_their_code() -> None:
    error = DescribeCollectionException(100, "can't find collection")
    assert type(translated(error, carries_data=False)) is Missing


# --- The client's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ParamError, DataNotMatchException, MilvusException])
def test_what_the_client_finds_wrong_is_never_tried_again(kind: type[MilvusException]) -> None:
    error = kind(message="Unexpected error, message=<SECRET>")
    # Their number is that of a Milvus that is not ready.
    assert error.code in PASSES
    assert code_of(error) not in PASSES
    assert outcome_of(error) == "failed"
    assert type(translated(error, carries_data=True)) is Refused


def test_client_that_gave_up_says_that_milvus_does_not_answer(fail: Fail) -> None:
    cause = fail(grpc.StatusCode.UNAVAILABLE, "connection refused")
    given_up: Any = grpc.StatusCode.UNAVAILABLE
    error = MilvusException(given_up, "[search] Retry timeout: 3s")
    error.__cause__ = cause
    assert code_of(error) not in PASSES
    assert outcome_of(error) == "unavailable"
    said = translated(error, carries_data=False)
    assert str(said) == "ServiceUnavailable: Milvus does not answer (UNAVAILABLE)"


def test_client_that_cannot_connect_is_heard_as_one_that_nobody_answers(fail: Fail) -> None:
    error = MilvusException(2, "Fail connecting to server on 127.0.0.1:1")
    error.__cause__ = fail(grpc.StatusCode.UNAVAILABLE, "connection refused")
    assert code_of(error) in PASSES
    said = translated(error, carries_data=False)
    assert str(said) == "ServiceUnavailable: Milvus does not answer (UNAVAILABLE)"
    assert words_of(error) == (
        "Fail connecting to server on 127.0.0.1:1 (code 2) UNAVAILABLE: connection refused"
    )


# --- Statuses of gRPC -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [one for one in grpc.StatusCode if one is not grpc.StatusCode.OK],
    ids=lambda status: status.name,
)
def test_each_status_is_one_kind_of_failure(fail: Fail, status: grpc.StatusCode) -> None:
    error = fail(status, SECRET)
    said = translated(error, carries_data=True)
    if status.name in {
        "INVALID_ARGUMENT",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNIMPLEMENTED",
    }:
        # It would fail again.
        assert (type(said), outcome_of(error)) == (Refused, "failed")
        return
    assert isinstance(said, ServiceUnavailable)
    assert outcome_of(error) == "unavailable"
    assert "SECRET" not in str(said)
    assert status.name in str(said)
    is_stranger = status.name in {"UNAUTHENTICATED", "PERMISSION_DENIED"}
    assert ("see milvus_token" in str(said)) == is_stranger


def test_words_of_a_status_are_one_line(fail: Fail) -> None:
    error = fail(grpc.StatusCode.UNAUTHENTICATED, "missing authorization\nin header")
    assert words_of(error) == "UNAUTHENTICATED: missing authorization in header"


@pytest.mark.parametrize("code", [10_000, 10_001])
def test_part_of_milvus_that_gave_up_is_milvus_that_does_not_answer(code: int) -> None:
    error = translated(of_milvus(code), carries_data=True)
    assert type(error) is ServiceUnavailable
    assert "SECRET" not in str(error)
    assert outcome_of(of_milvus(code)) == "unavailable"


@pytest.mark.parametrize(
    ("message", "is_refused"),
    [
        ("proxy TaskCondition context Done", False),
        ("failed to query: fail to Query, reason=context deadline exceeded", False),
        ("fail to search on QueryNode 3: context canceled", False),
        ("cannot parse expression: name == 'failed to query context canceled'", True),
        ("failed to query: field context deadline exceeded not exist", True),
    ],
    ids=["waited", "queried", "searched", "of-a-filter", "of-a-field"],
)
def test_call_whose_time_was_over_in_milvus_was_not_refused(
    message: str, *, is_refused: bool
) -> None:
    error = MilvusException(65_535, message)
    expected = Refused if is_refused else ServiceUnavailable
    assert type(translated(error, carries_data=True)) is expected
    assert outcome_of(error) == ("failed" if is_refused else "unavailable")
