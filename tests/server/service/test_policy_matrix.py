"""Who may do what over gRPC: every operation under every rule, against a live server."""

from __future__ import annotations

import io
from collections.abc import Iterator

import grpc
import pytest

from policy_cases import (
    ACCOUNT,
    CASES,
    INDEX,
    OPERATIONS,
    Case,
    as_owner,
    credentials_text,
    make_things,
)
from rpc import Stubs, bearer, refused, saying, stubs_of
from rpc_calls import CALLS, sight_of
from vectorbucket_server.app import running_server
from vectorbucket_server.auth.actions import ACTIONS
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stubs]:
    """Stubs of one server that knows the callers of all cases."""
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "credentials.toml").write_text(credentials_text())
    settings = Settings(
        engine="memory",
        grpc_address="127.0.0.1:0",
        limits="unlimited",
        credentials=folder / "credentials.toml",
        bucket_log_dir=folder / "logs",
    )
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server, stubs_of(server.address) as stubs:
        yield stubs


def rpcs_of(case: Case) -> list[str]:
    """Return the RPCs that do the work of a case's operation; what deletes comes once only."""
    return [rpc for rpc, action in ACTIONS.items() if action == case.operation.action]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_caller_may_do_what_is_allowed_and_nothing_else(everybody: Stubs, case: Case) -> None:
    owner, caller = as_owner(everybody), saying(everybody, bearer(case.api_key))
    make_things(owner, case)
    for rpc in rpcs_of(case):
        if case.allowed:
            CALLS[rpc](caller, case.bucket, INDEX)
            continue
        before = sight_of(owner, case.bucket)
        assert bool(before) == case.operation.has_policy
        refusal = refused(lambda rpc=rpc: CALLS[rpc](caller, case.bucket, INDEX))  # type: ignore[misc]
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
        assert refusal.facts is not None
        assert refusal.facts["action"] == case.operation.action
        assert refusal.facts["principal"] == case.caller
        assert case.operation.action in refusal.message
        assert sight_of(owner, case.bucket) == before


def test_table_has_every_action_and_every_rpc_once() -> None:
    assert {operation.action for operation in OPERATIONS} == set(ACTIONS.values())
    assert len(OPERATIONS) == len(set(ACTIONS.values()))
    assert set(CALLS) == set(ACTIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_action_is_allowed_and_denied_by_both_means(operation: object) -> None:
    cases = [case for case in CASES if case.operation == operation]
    means = {
        (case.allowed, bool(case.rule.credential), bool(case.rule.policy))
        for case in cases
        if not case.rule.owner
    }
    assert {(True, True, False), (False, True, False)} <= means
    if cases[0].operation.has_policy:
        assert {(True, False, True), (False, False, True)} <= means


def test_buckets_are_made_for_and_listed_to_the_callers_account(everybody: Stubs) -> None:
    stranger = next(
        case
        for case in CASES
        if case.rule.name == "strangerwhoowns" and case.operation.name == "GetVectorIndex"
    )
    caller = saying(everybody, bearer(stranger.api_key))
    CALLS["PutVectorBucket"](caller, "strangers-own", "")
    listed = CALLS["ListVectorBuckets"](caller, "", "")
    assert {one.account_id for one in listed.buckets} == {stranger.rule.account_id}  # type: ignore[attr-defined]
    assert "strangers-own" in {one.bucket for one in listed.buckets}  # type: ignore[attr-defined]
    own = CALLS["ListVectorBuckets"](as_owner(everybody), "", "")
    assert {one.account_id for one in own.buckets} <= {ACCOUNT}  # type: ignore[attr-defined]


def test_name_that_another_account_has_is_not_available(everybody: Stubs) -> None:
    stranger = next(
        case
        for case in CASES
        if case.rule.name == "strangerwhoowns" and case.operation.name == "PutVectorIndex"
    )
    caller = saying(everybody, bearer(stranger.api_key))
    CALLS["PutVectorBucket"](as_owner(everybody), "taken", "")
    refusal = refused(lambda: CALLS["PutVectorBucket"](caller, "taken", ""))
    assert refusal.reason == "ERROR_REASON_BUCKET_NAME_NOT_AVAILABLE"
