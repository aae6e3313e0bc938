"""Every error of the contract has an exit code that says who must act, and a word of advice."""

from __future__ import annotations

import pytest

from vectorbucket import VectorBucketError, errors
from vectorbucket.cli import exit_codes
from vectorbucket.cli.exit_codes import EXIT_CODES, advice, exit_code

CODES = {
    "VectorIndexParameterInvalid": 2,
    "InvalidVectorBucketName": 2,
    "InvalidArgument": 2,
    "MalformedJson": 2,
    "InvalidPolicyDocument": 2,
    "EntityTooLarge": 2,
    "NoSuchBucket": 3,
    "NoSuchVectorIndex": 3,
    "NoSuchBucketPolicy": 3,
    "NoSuchBackup": 3,
    "QpsLimitExceeded": 4,
    "ServiceUnavailable": 4,
    "RequestTimeout": 4,
    "AccessDenied": 5,
    "InvalidAccessKeyId": 5,
    "SignatureDoesNotMatch": 5,
    "RequestTimeTooSkewed": 5,
    "BucketNameNotAvailable": 6,
    "VectorBucketNotEmpty": 6,
    "VectorBucketIndexAlreadyExist": 6,
    "VectorIndexOperationConflict": 6,
    "BackupAlreadyExist": 6,
    "MethodNotAllowed": 1,
    "TooManyBuckets": 1,
    "VectorBucketIndexExceedLimit": 1,
    "InternalError": 1,
    "MemoryBudgetExceeded": 1,
}


def test_every_error_of_the_contract_stands_in_the_table() -> None:
    assert {leaf.__name__ for leaf in errors.TABLE} == set(CODES)


@pytest.mark.parametrize("leaf", errors.TABLE)
def test_error_has_its_exit_code_and_advice(leaf: type[VectorBucketError]) -> None:
    error = leaf("what went wrong")
    assert exit_code(error) == CODES[leaf.__name__]
    assert advice(error)
    assert "\n" not in advice(error)


def test_error_that_no_table_knows_is_a_failure_without_advice() -> None:
    class Unheard(VectorBucketError, http_status=500, grpc_code=2):
        """An error of a newer server."""

    assert (exit_code(Unheard("oops")), advice(Unheard("oops"))) == (exit_codes.FAILED, "")


def test_exit_codes_are_what_a_shell_can_tell_apart() -> None:
    assert set(CODES.values()) < set(EXIT_CODES)
    assert list(EXIT_CODES) == sorted(EXIT_CODES)
    assert all(0 <= code < 256 for code in EXIT_CODES)


def test_server_that_answered_is_not_looked_for() -> None:
    assert "is a server there?" in advice(errors.ServiceUnavailable("no connection"))
    refused = errors.ServiceUnavailable("the disk is full", request_id="ABC")
    assert advice(refused) == "try again a little later"
