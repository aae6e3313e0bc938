"""Buckets: their requests and replies.

Rules of this file: one group an operation. What OSS says of a bucket and this project does not know
has a value that no client stumbles over: both endpoints are the one there is.

Source: oss-vectors-api, sections 3.2 to 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vectorbucket.errors import InvalidArgument
from vectorbucket.v1 import bucket_pb2
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket_server.rest.oss.conversion import About, Conversion, Reply, Source
from vectorbucket_server.rest.oss.replies import bucket_arn, json_bytes, time_text
from vectorbucket_server.rest.oss.words import shown

RESOURCE_GROUP_ID = "rg-default"
"""The resource group of every bucket: there are no others here. Source: the pages' samples."""

LIST_PARAMETERS = frozenset({"prefix", "marker", "max-keys"})
"""The parameters of ListVectorBuckets."""

_INTEGER = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_INT32_MAX = 2**31 - 1


def say_location(_answer: Any, about: About) -> Reply:
    """Say where the new bucket is."""
    return Reply(headers=(("location", f"/{about.request.bucket}"),))


def say_bucket(answer: Any, about: About) -> Reply:
    """Describe a bucket."""
    return Reply(json_bytes({"BucketInfo": _described(answer.bucket, about.endpoint)}))


def fill_list(message: Any, parameters: Mapping[str, str]) -> None:
    """Read which buckets are to be listed."""
    message.prefix = parameters.get("prefix", "")
    message.marker = parameters.get("marker", "")
    text = parameters.get("max-keys") or "0"
    if not _INTEGER.fullmatch(text) or abs(int(text)) > _INT32_MAX:
        raise InvalidArgument(f"max-keys is {shown(text)}; it must be an integer", field="max-keys")
    message.max_keys = int(text)


def say_buckets(answer: Any, about: About) -> Reply:
    """List buckets; where this page stands is said only if it is not all.

    How many a page holds when nobody says is the server's to know: then it is as many as came.
    """
    request = about.request
    listed: dict[str, Any] = {}
    if answer.is_truncated:
        listed = {
            "Prefix": request.prefix,
            "Marker": request.marker,
            "MaxKeys": request.max_keys or len(answer.buckets),
            "IsTruncated": True,
            "NextMarker": answer.next_marker,
        }
    listed["Buckets"] = [_described(bucket, about.endpoint) for bucket in answer.buckets]
    return Reply(json_bytes({"ListAllMyBucketsResult": listed}))


def _described(bucket: bucket_pb2.Bucket, endpoint: str) -> dict[str, str]:
    """Return a bucket as OSS describes it."""
    return {
        "CreationDate": time_text(bucket.create_time),
        "ExtranetEndpoint": endpoint,
        "IntranetEndpoint": endpoint,
        "Location": f"oss-{bucket.region}",
        "Name": bucket_arn(bucket.region, bucket.account_id, bucket.bucket),
        "Region": bucket.region,
        "ResourceGroupId": RESOURCE_GROUP_ID,
    }


PUT = Conversion(messages.PutVectorBucketRequest, reply=say_location)
GET = Conversion(messages.GetVectorBucketRequest, reply=say_bucket)
LIST = Conversion(
    messages.ListVectorBucketsRequest, Source.PARAMETERS, fill=fill_list, reply=say_buckets
)
DELETE = Conversion(messages.DeleteVectorBucketRequest)
