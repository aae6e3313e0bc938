"""Who may do what over REST: every operation under every rule, signed, against a live server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import alibabacloud_oss_v2 as oss_sdk
import pytest
from alibabacloud_oss_v2.transport import RequestsHttpClient

from oss.live_rest import LiveProcess, serving
from oss.sdk import refused, sdk_client
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
from rpc import Stubs, stubs_of
from rpc_calls import KEY, POLICY, sight_of

ROW = {"float32": [1.0, 2.0, 3.0, 4.0]}
LOGGING = {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "other"}}}


def on_index(**members: Any) -> str:
    """Return the body of a request about the index."""
    return json.dumps({"indexName": INDEX, **members})


WIRE: dict[str, tuple[str, str, str, int]] = {
    "ListVectorBuckets": ("GET", "", "", 200),
    "PutVectorBucket": ("PUT", "", "", 200),
    "GetVectorBucket": ("GET", "bucketInfo", "", 200),
    "DeleteVectorBucket": ("DELETE", "", "", 204),
    "PutBucketPolicy": ("PUT", "policy", POLICY, 200),
    "GetBucketPolicy": ("GET", "policy", "", 200),
    "DeleteBucketPolicy": ("DELETE", "policy", "", 204),
    "PutBucketLogging": ("PUT", "logging", json.dumps(LOGGING), 200),
    "GetBucketLogging": ("GET", "logging", "", 200),
    "DeleteBucketLogging": ("DELETE", "logging", "", 204),
    "ListVectorIndexes": ("POST", "listVectorIndexes", "", 200),
    "PutVectorIndex": (
        "POST",
        "putVectorIndex",
        on_index(dataType="float32", dimension=4, distanceMetric="euclidean"),
        200,
    ),
    "GetVectorIndex": ("POST", "getVectorIndex", on_index(), 200),
    "DeleteVectorIndex": ("POST", "deleteVectorIndex", on_index(), 204),
    "PutVectors": ("POST", "putVectors", on_index(vectors=[{"key": "more", "data": ROW}]), 200),
    "GetVectors": ("POST", "getVectors", on_index(keys=[KEY]), 200),
    "ListVectors": ("POST", "listVectors", on_index(), 200),
    "DeleteVectors": ("POST", "deleteVectors", on_index(keys=[KEY]), 204),
    "QueryVectors": ("POST", "queryVectors", on_index(queryVector=ROW, topK=1), 200),
}
"""How each operation is asked for: method, flag, body; and the status of a success."""


@dataclass(frozen=True)
class Doors:
    """Both doors of one server that knows the callers of all cases."""

    rest_address: str
    owner: Stubs
    http_client: Any
    """Shared by all callers, who would make a connection each."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProcess]:
    folder = tmp_path_factory.mktemp("matrix")
    quick = ["--engine", "memory", "--limits", "unlimited"]
    with serving(folder, *quick, credentials=credentials_text()) as server:
        yield server


@pytest.fixture(scope="module")
def doors(server: LiveProcess) -> Iterator[Doors]:
    proxies = {"http": f"http://{server.rest_address}"}
    with (
        stubs_of(server.grpc_address) as stubs,
        RequestsHttpClient(proxy_host=proxies) as http_client,
    ):
        yield Doors(server.rest_address, as_owner(stubs), http_client)


def call_of(doors: Doors, case: Case) -> Callable[[], Any]:
    """Return the call of a case's operation, signed by its caller."""
    method, flag, body, _ = WIRE[case.operation.name]
    # A bucket that is there is addressed as its owner's; one that is not, as the caller's own.
    account_id = ACCOUNT if case.operation.has_policy else case.rule.account_id

    def call() -> Any:
        with sdk_client(
            doors.rest_address,
            case.access_key_id,
            case.access_key_secret,
            account_id=account_id,
            http_client=doors.http_client,
        ) as client:
            return client.invoke_operation(
                oss_sdk.OperationInput(
                    op_name=case.operation.name,
                    method=method,
                    parameters={flag: ""} if flag else {},
                    body=body,
                    bucket=None if case.operation.on == "account" else case.bucket,
                )
            )

    return call


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_caller_may_do_what_is_allowed_and_nothing_else(doors: Doors, case: Case) -> None:
    make_things(doors.owner, case)
    call = call_of(doors, case)
    if case.allowed:
        assert call().status_code == WIRE[case.operation.name][3]
        return
    before = sight_of(doors.owner, case.bucket)
    assert bool(before) == case.operation.has_policy
    error = refused(call, 403, "AccessDenied")
    assert case.operation.action in error.message
    assert sight_of(doors.owner, case.bucket) == before


def test_wire_has_every_operation() -> None:
    assert set(WIRE) == {operation.name for operation in OPERATIONS}


def test_server_knows_each_caller_by_name(doors: Doors, server: LiveProcess) -> None:
    case = next(one for one in CASES if one.name == "GetVectorBucket-exact")
    request_id = call_of(doors, case)().headers["x-oss-request-id"]
    (line,) = [one for one in server.lines("call") if one["request_id"] == request_id]
    assert line["principal"] == case.caller
