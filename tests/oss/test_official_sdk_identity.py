"""Who the cloud's own SDK may be: real signatures, right and wrong, and rights that are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import alibabacloud_oss_v2 as oss_sdk
import pytest

from oss.live_rest import ACCOUNT_ID, OWNER, Flags, LiveProcess, serving
from oss.sdk import calls_on_bucket, models, refused, sdk_client

OTHERS = f"""
[[credential]]
name = "guest"
account_id = "{ACCOUNT_ID}"
access_key_id = "guest-ak"
access_key_secret = "guest-sk"

[[credential]]
name = "session"
account_id = "{ACCOUNT_ID}"
access_key_id = "session-ak"
access_key_secret = "session-sk"
security_token = "token/+=1"
owner = true

[[credential]]
name = "neighbour"
account_id = "42"
access_key_id = "neighbour-ak"
access_key_secret = "neighbour-sk"
owner = true
"""

BUCKET = "films-bucket"

NO_ACCESS_KEY = "The OSS Access Key Id you provided does not exist in our records."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, engine: Flags) -> Iterator[LiveProcess]:
    folder = tmp_path_factory.mktemp("identity")
    with serving(folder, *engine, credentials=OWNER + OTHERS) as server:
        with sdk_client(server.rest_address) as client:
            client.put_vector_bucket(models.PutVectorBucketRequest(bucket=BUCKET))
        yield server


@pytest.fixture(scope="module")
def client(server: LiveProcess) -> Iterator[Any]:
    with sdk_client(server.rest_address) as client:
        yield client


def test_unknown_access_key_is_refused_in_the_clouds_words(server: LiveProcess) -> None:
    with sdk_client(server.rest_address, "nobody", "test-sk") as client:
        for call in calls_on_bucket(client, BUCKET).values():
            error = refused(call, 403, "InvalidAccessKeyId")
            assert error.message == NO_ACCESS_KEY
        asked = models.ListVectorBucketsRequest()
        refused(lambda: client.list_vector_buckets(asked), 403, "InvalidAccessKeyId")


def test_wrong_secret_is_a_wrong_signature(server: LiveProcess) -> None:
    with sdk_client(server.rest_address, "test-ak", "another") as client:
        refused(whoami(client), 403, "SignatureDoesNotMatch")


def whoami(client: Any, **headers: str) -> Callable[[], Any]:
    """Return a call that asks for the bucket."""
    request = models.GetVectorBucketRequest(bucket=BUCKET, headers=headers)
    return lambda: client.get_vector_bucket(request)


def test_signature_of_another_region_does_not_match(server: LiveProcess) -> None:
    with sdk_client(server.rest_address, region="cn-shanghai") as client:
        refused(whoami(client), 403, "SignatureDoesNotMatch")


def test_unsigned_request_is_refused(server: LiveProcess) -> None:
    with sdk_client(server.rest_address, "") as stranger:
        refused(whoami(stranger), 403, "AccessDenied")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_clock_that_is_wrong_is_told_and_tried_again(
    client: Any, server: LiveProcess, minutes: int
) -> None:
    signed = datetime.now(UTC) + timedelta(minutes=minutes)
    headers = {"x-oss-date": format_datetime(signed, usegmt=True)}
    refused(whoami(client, **headers), 403, "RequestTimeTooSkewed")
    before = len(server.lines("call"))
    with sdk_client(server.rest_address, retry_max_attempts=3) as patient:
        refused(whoami(patient, **headers), 403, "RequestTimeTooSkewed")
    assert len(server.lines("call")) == before + 3


@pytest.mark.parametrize("minutes", [-14, 14])
def test_clock_that_is_nearly_right_is_right_enough(client: Any, minutes: int) -> None:
    signed = datetime.now(UTC) + timedelta(minutes=minutes)
    answer = whoami(client, **{"x-oss-date": format_datetime(signed, usegmt=True)})()
    assert answer.status_code == 200


def test_session_token_is_asked_for_and_compared(server: LiveProcess) -> None:
    for token, welcome in (("token/+=1", True), ("another", False), (None, False)):
        with sdk_client(
            server.rest_address, "session-ak", "session-sk", security_token=token
        ) as session:
            if welcome:
                assert whoami(session)().status_code == 200
            else:
                assert refused_code(whoami(session)) in {"AccessDenied", "InvalidAccessKeyId"}


def refused_code(call: Callable[[], Any]) -> str:
    """Return the code of a call that is answered with 403."""
    with pytest.raises(oss_sdk.exceptions.OperationError) as caught:
        call()
    assert caught.value.unwrap().status_code == 403
    code: str = caught.value.unwrap().code
    return code


@pytest.mark.parametrize(("minutes", "status"), [(5, 200), (-5, 403)])
def test_url_signed_in_advance_is_taken_until_it_expires(
    client: Any, minutes: int, status: int
) -> None:
    now = datetime.now(UTC)
    made = oss_sdk.OperationInput(
        op_name="GetVectorBucket",
        method="GET",
        parameters={"bucketInfo": ""},
        headers={"x-oss-date": format_datetime(now - timedelta(minutes=10), usegmt=True)},
        bucket=BUCKET,
        op_metadata={"expiration_time": now + timedelta(minutes=minutes)},
    )

    def call() -> Any:
        return client.invoke_operation(made, auth_method="query")

    if status == 200:
        assert call().status_code == status
    else:
        assert refused(call, status, "AccessDenied").message == "Request has expired."


def test_credential_without_statements_may_do_nothing(server: LiveProcess) -> None:
    with sdk_client(server.rest_address, "guest-ak", "guest-sk") as guest:
        # Whether a bucket exists is no stranger's business.
        for bucket in (BUCKET, "no-such-bucket"):
            for call in calls_on_bucket(guest, bucket).values():
                refused(call, 403, "AccessDenied")
        made = models.PutVectorBucketRequest(bucket="of-the-guest")
        refused(lambda: guest.put_vector_bucket(made), 403, "AccessDenied")
        listing = models.ListVectorBucketsRequest()
        refused(lambda: guest.list_vector_buckets(listing), 403, "AccessDenied")


def test_another_account_sees_its_own_buckets_only(server: LiveProcess) -> None:
    with sdk_client(
        server.rest_address, "neighbour-ak", "neighbour-sk", account_id="42"
    ) as neighbour:
        # Under its own account id there is no such bucket; under the owner's, no such right.
        refused(whoami(neighbour), 404, "NoSuchBucket")
        listing = neighbour.list_vector_buckets(models.ListVectorBucketsRequest())
        assert listing.buckets == []
