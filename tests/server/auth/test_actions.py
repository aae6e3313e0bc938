"""Tests of auth/actions.py: every RPC of the contract has its place, and every action is known."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FileDescriptor

from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)
from vectorbucket_server.auth.actions import (
    ACTIONS,
    BUCKET_ACTIONS,
    INDEX_ACTIONS,
    LIST_BUCKETS,
    OPERATED_RPCS,
    OPERATOR_RPCS,
    VECTOR_ACTIONS,
    action_of,
)

FILES = (
    bucket_service_pb2.DESCRIPTOR,
    index_service_pb2.DESCRIPTOR,
    vector_service_pb2.DESCRIPTOR,
)


def rpcs(file: FileDescriptor) -> set[str]:
    """Return the names of the RPCs that a file declares."""
    services = file.services_by_name.values()
    return {method.name for service in services for method in service.methods}


def test_every_rpc_of_the_contract_has_an_action_and_nothing_else_has() -> None:
    assert set(ACTIONS) == set().union(*map(rpcs, FILES))


def test_what_operators_do_is_no_action_and_done_to_one_kind_of_thing() -> None:
    operations = rpcs(operations_service_pb2.DESCRIPTOR)
    assert sorted(operations) == sorted([*OPERATOR_RPCS, *OPERATED_RPCS])
    assert not operations & set(ACTIONS)
    for rpc in operations:
        request = operations_service_pb2.DESCRIPTOR.message_types_by_name[f"{rpc}Request"]
        assert ({"bucket", "index_name"} <= set(request.fields_by_name)) == (rpc in OPERATED_RPCS)


def test_every_action_is_done_to_one_kind_of_thing() -> None:
    kinds = [LIST_BUCKETS, *BUCKET_ACTIONS, *INDEX_ACTIONS, *VECTOR_ACTIONS]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == set(ACTIONS.values())


@pytest.mark.parametrize(
    ("rpc", "action"),
    [
        ("PutVectors", "oss:PutVectors"),
        ("PutVectorsBatch", "oss:PutVectors"),
        ("QueryVectorsBatch", "oss:QueryVectors"),
        ("ScanVectors", "oss:ListVectors"),
        ("PutBucketPolicy", "oss:PutBucketPolicy"),
    ],
)
def test_rpcs_that_oss_has_not_are_the_action_whose_work_they_do(rpc: str, action: str) -> None:
    assert action_of(rpc) == action


def test_rpc_without_an_action_is_a_bug() -> None:
    with pytest.raises(KeyError):
        action_of("DropEverything")
