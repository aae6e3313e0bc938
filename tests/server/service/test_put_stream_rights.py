"""Who may go on putting: rights that change while a PutVectors stream is open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_status import rpc_status

from conftest import StartServer
from policy_cases import hash_of
from rpc import (
    BUCKET,
    INDEX,
    PutStream,
    Refusal,
    Stubs,
    bearer,
    put_message,
    refusal_of,
    saying,
    stubs_of,
    vector_of,
)
from rpc_calls import CALLS
from stubborn import eventually
from vectorbucket.v1 import bucket_service_pb2
from vectorbucket_server.auth.entries import PRINCIPAL

OWNER = bearer("of-owner")


def table(name: str, *, more: str = "", may: str = "") -> str:
    statement = '[[credential.statement]]\neffect = "Allow"\nresource = ["*"]\n'
    return (
        f'[[credential]]\nname = "{name}"\naccount_id = "1"\n'
        f'api_keys = ["{hash_of(f"of-{name}")}"]\n{more}\n'
        + (f'{statement}action = ["{may}"]\n' if may else "")
    )


OWNERS = table("owner", more="owner = true") + table("translator", more="impersonate = true")


class CredentialsOnDisk:
    """The file of credentials of a server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        """Replace the file, as an editor does."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)


@pytest.fixture
def on_disk(tmp_path: Path) -> CredentialsOnDisk:
    on_disk = CredentialsOnDisk(tmp_path / "credentials.toml")
    on_disk.write(OWNERS + table("writer", may="oss:PutVectors") + table("guest"))
    return on_disk


@pytest.fixture
def guarded(start_server: StartServer, on_disk: CredentialsOnDisk) -> Iterator[Stubs]:
    server = start_server(credentials=on_disk.path)
    with stubs_of(server.address) as stubs:
        saying(stubs, OWNER).make_index()
        yield stubs


class Putter:
    """Puts one vector after the other on one stream."""

    def __init__(self, stubs: Stubs) -> None:
        self._stream = PutStream(stubs)
        self.count = 0

    def put(self) -> None:
        """Put one more and wait for its answer."""
        self.count += 1
        answer = self._stream.ask(put_message(self.count, vector_of(f"key-{self.count:06}")))
        assert answer.HasField("stored")

    def end(self) -> Refusal:
        """Put until the stream is ended, and return how."""
        refusals = []

        def is_refused() -> bool:
            try:
                self.put()
            except grpc.RpcError as error:
                status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it is a call, too
                assert status is not None
                refusals.append(refusal_of(status))
            return bool(refusals)

        eventually(is_refused)
        return refusals[0]


def put_policy(stubs: Stubs, effect: str) -> None:
    statement = {
        "Effect": effect,
        "Principal": ["guest", "writer"],
        "Action": ["oss:PutVectors"],
        "Resource": [f"acs:ossvector:*:1:{BUCKET}/{INDEX}"],
    }
    policy = json.dumps({"Version": "1", "Statement": [statement]})
    saying(stubs, OWNER).buckets.PutBucketPolicy(
        bucket_service_pb2.PutBucketPolicyRequest(bucket=BUCKET, policy=policy)
    )


def test_stream_of_somebody_who_may_not_ends_with_its_first_message(guarded: Stubs) -> None:
    refusal = Putter(saying(guarded, bearer("of-guest"))).end()
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert saying(guarded, OWNER).count() == 0


def test_stream_whose_key_is_gone_ends_and_what_was_answered_stays(
    guarded: Stubs, on_disk: CredentialsOnDisk
) -> None:
    putter = Putter(saying(guarded, bearer("of-writer")))
    putter.put()
    on_disk.write(OWNERS)
    refusal = putter.end()
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"
    assert saying(guarded, OWNER).count() == putter.count - 1


def test_stream_whose_credential_may_no_longer_put_ends(
    guarded: Stubs, on_disk: CredentialsOnDisk
) -> None:
    putter = Putter(saying(guarded, bearer("of-writer")))
    putter.put()
    on_disk.write(OWNERS + table("writer", may="oss:GetVectors"))
    refusal = putter.end()
    assert refusal.reason == "ERROR_REASON_ACCESS_DENIED"
    assert saying(guarded, OWNER).count() == putter.count - 1


def test_stream_that_a_translator_opened_ends_with_the_one_it_is_for(
    guarded: Stubs, on_disk: CredentialsOnDisk
) -> None:
    putter = Putter(saying(guarded, bearer("of-translator"), (PRINCIPAL, "writer")))
    putter.put()
    on_disk.write(OWNERS)
    assert putter.end().reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"


def test_stream_goes_on_when_what_changes_is_about_others(
    guarded: Stubs, on_disk: CredentialsOnDisk
) -> None:
    writer = Putter(saying(guarded, bearer("of-writer")))
    guest = saying(guarded, bearer("of-guest"))
    writer.put()
    on_disk.write(OWNERS + table("writer", may="oss:*"))

    def guest_is_gone() -> bool:
        writer.put()
        try:
            CALLS["ListVectorBuckets"](guest, "", "")
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code is grpc.StatusCode.UNAUTHENTICATED
        return False

    eventually(guest_is_gone)
    writer.put()


def test_broken_file_ends_no_stream(guarded: Stubs, on_disk: CredentialsOnDisk) -> None:
    writer = Putter(saying(guarded, bearer("of-writer")))
    writer.put()
    on_disk.write("no TOML [[")
    for _ in range(20):
        writer.put()
    on_disk.write(OWNERS)
    assert writer.end().reason == "ERROR_REASON_INVALID_ACCESS_KEY_ID"


@pytest.mark.parametrize("name", ["guest", "writer"])
def test_policy_of_the_bucket_ends_a_stream_with_the_next_message(
    guarded: Stubs, name: str
) -> None:
    put_policy(guarded, "Allow")
    putter = Putter(saying(guarded, bearer(f"of-{name}")))
    putter.put()
    put_policy(guarded, "Deny")
    with pytest.raises(grpc.RpcError):
        putter.put()
    assert saying(guarded, OWNER).count() == 1


def test_owner_is_not_ended_by_any_policy(guarded: Stubs) -> None:
    putter = Putter(saying(guarded, OWNER))
    putter.put()
    put_policy(guarded, "Deny")
    putter.put()
