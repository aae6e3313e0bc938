"""What is said of a bucket: its policy, and where its requests are logged.

Rules of this file: a policy is text that nobody here reads; the logging of a bucket is JSON, other
than that of classic OSS.

Source: oss-vectors-api, sections 3.6 and 3.7.
"""

from __future__ import annotations

from typing import Any

from vectorbucket.errors import InvalidArgument, MalformedJson
from vectorbucket.v1 import bucket_pb2
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket_server.rest.oss.conversion import About, Conversion, Reply, Source
from vectorbucket_server.rest.oss.reader import Reader
from vectorbucket_server.rest.oss.replies import json_bytes
from vectorbucket_server.rest.oss.words import ABSENT

_STATUS = frozenset({"BucketLoggingStatus"})
_ENABLED = frozenset({"LoggingEnabled"})
_MEMBERS = {
    "TargetBucket": "target_bucket",
    "TargetPrefix": "target_prefix",
    "LoggingRole": "logging_role",
}
_KNOWN = frozenset(_MEMBERS)


def fill_policy(message: Any, text: bytes) -> None:
    """Take the policy as it is."""
    if not text:
        raise MalformedJson("the body is empty; it must be a policy in JSON")
    try:
        message.policy = text.decode()
    except UnicodeDecodeError as error:
        raise MalformedJson(f"the policy is not UTF-8: byte {error.start}") from None


def say_policy(answer: Any, _about: About) -> Reply:
    """Say the policy, byte for byte as it was put."""
    return Reply(answer.policy.encode())


def fill_logging(message: Any, body: Reader) -> None:
    """Read where requests are to be logged."""
    root = body.root(error=InvalidArgument)
    body.pass_over(root, _STATUS)
    path = "BucketLoggingStatus"
    status = body.members(root.get(path, ABSENT), path)
    body.pass_over(status, _ENABLED)
    path = f"{path}.LoggingEnabled"
    enabled = body.members(status.get("LoggingEnabled", ABSENT), path)
    body.pass_over(enabled, _KNOWN)
    message.logging.SetInParent()
    for name, field in _MEMBERS.items():
        setattr(message.logging, field, body.string(enabled, name, f"{path}."))


def say_logging(answer: Any, _about: About) -> Reply:
    """Say where requests are logged; with logging off, an object without members."""
    enabled = _members_of(answer.logging) if answer.HasField("logging") else {}
    return Reply(json_bytes({"BucketLoggingStatus": {"LoggingEnabled": enabled}}))


def _members_of(logging: bucket_pb2.BucketLogging) -> dict[str, str]:
    """Return what is set, and the prefix in any case."""
    said = {name: getattr(logging, field) for name, field in _MEMBERS.items()}
    return {name: text for name, text in said.items() if text or name == "TargetPrefix"}


PUT_POLICY = Conversion(messages.PutBucketPolicyRequest, Source.TEXT, fill=fill_policy)
GET_POLICY = Conversion(messages.GetBucketPolicyRequest, reply=say_policy)
DELETE_POLICY = Conversion(messages.DeleteBucketPolicyRequest)
PUT_LOGGING = Conversion(messages.PutBucketLoggingRequest, Source.JSON, fill=fill_logging)
GET_LOGGING = Conversion(messages.GetBucketLoggingRequest, reply=say_logging)
DELETE_LOGGING = Conversion(messages.DeleteBucketLoggingRequest)
