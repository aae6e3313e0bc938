"""The same calls as two kinds of bytes: requests of the OSS dialect, and messages of the contract.

Rules of this file: an HTTP request is what the official Python SDK sends, header by header, with
its separators in JSON and numbers as Python prints them; signatures are made once, which is what a
server that looks at each cannot tell.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import numpy as np

from bench_data import Dataset, Float32Array
from bench_session import BUCKET, INDEX_NAME, TOP_K
from vectorbucket.v1 import vector_pb2, vector_service_pb2

ACCOUNT_ID = "1234567890"
"""Whose bucket it is: the server's default."""

REGION = "cn-hangzhou"
"""The server's default."""

_SERVICE = "/vectorbucket.v1.VectorService"
QUERY_METHOD = f"{_SERVICE}/QueryVectors"
PUT_METHOD = f"{_SERVICE}/PutVectorsBatch"


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests are signed with."""

    access_key_id: str
    access_key_secret: str


def http_request(
    flag: str, body: Mapping[str, Any], keys: Keys | None = None, *, now: datetime | None = None
) -> bytes:
    """Return the request of an operation.

    Args:
        flag: Of the operation, as ``queryVectors``.
        body: Its JSON.
        keys: What it is signed with; None: it is not.
        now: When it is signed; None: now.
    """
    content = json.dumps(body).encode()
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    headers = {
        "content-type": "application/json",
        "content-md5": base64.b64encode(md5).decode(),
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "x-oss-date": f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}",
    }
    if keys is not None:
        headers["Authorization"] = _authorization(flag, headers, keys)
    lines = [
        f"POST /?{flag}= HTTP/1.1",
        f"Host: {BUCKET}-{ACCOUNT_ID}.vectors.local",
        "User-Agent: alibabacloud-python-sdk-v2/1.4.1/vector-client",
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: keep-alive",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _authorization(flag: str, headers: Mapping[str, str], keys: Keys) -> str:
    """Return the signature of a request, version 4, as its header."""
    date = headers["x-oss-date"]
    scope = [date[:8], REGION, "oss", "aliyun_v4_request"]
    canonical = "\n".join(
        [
            "POST",
            quote(f"/acs:ossvector:{REGION}:{ACCOUNT_ID}:{BUCKET}/"),
            flag,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            "",
            "UNSIGNED-PAYLOAD",
        ]
    )
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["OSS4-HMAC-SHA256", date, "/".join(scope), hashed])
    key = f"aliyun_v4{keys.access_key_secret}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    name = "/".join([keys.access_key_id, *scope])
    return f"OSS4-HMAC-SHA256 Credential={name},Signature={key.hex()}"


# --- Queries ------------------------------------------------------------------------------------


def query_requests(queries: Float32Array, keys: Keys | None = None) -> list[bytes]:
    """Return a query for each row, by HTTP."""
    return [
        http_request(
            "queryVectors",
            {
                "indexName": INDEX_NAME,
                "queryVector": {"float32": row.tolist()},
                "topK": TOP_K,
                "returnDistance": True,
            },
            keys,
        )
        for row in queries
    ]


def query_messages(queries: Float32Array) -> list[bytes]:
    """Return the same queries as messages."""
    return [
        vector_service_pb2.QueryVectorsRequest(
            bucket=BUCKET,
            index_name=INDEX_NAME,
            query_vector=vector_pb2.VectorData(float32_le=row.astype("<f4").tobytes()),
            top_k=TOP_K,
            return_distance=True,
        ).SerializeToString()
        for row in queries
    ]


def keys_of_body(body: bytes) -> list[str]:
    """Return what a query found, of the body of its answer."""
    return [one["key"] for one in json.loads(body)["vectors"]]


def keys_of_message(message: bytes) -> list[str]:
    """Return what a query found, of the message that answers it."""
    answer = vector_service_pb2.QueryVectorsResponse.FromString(message)
    return [hit.key for hit in answer.vectors]


# --- Puts ---------------------------------------------------------------------------------------


def put_requests(dataset: Dataset, batch_vectors: int) -> list[bytes]:
    """Return requests that put a whole data set, keys and numbers, in batches."""
    return [
        http_request(
            "putVectors",
            {
                "indexName": INDEX_NAME,
                "vectors": [
                    {"key": key, "data": {"float32": row.tolist()}}
                    for key, row in zip(keys, data, strict=True)
                ],
            },
        )
        for keys, data in _batches(dataset, batch_vectors)
    ]


def put_messages(dataset: Dataset, batch_vectors: int) -> list[bytes]:
    """Return the same as messages."""
    return [
        vector_service_pb2.PutVectorsBatchRequest(
            bucket=BUCKET,
            index_name=INDEX_NAME,
            vectors=[
                vector_pb2.Vector(
                    key=key, data=vector_pb2.VectorData(float32_le=row.astype("<f4").tobytes())
                )
                for key, row in zip(keys, data, strict=True)
            ],
        ).SerializeToString()
        for keys, data in _batches(dataset, batch_vectors)
    ]


def _batches(dataset: Dataset, size: int) -> Sequence[tuple[Sequence[str], Float32Array]]:
    """Return keys and rows of every batch."""
    starts = range(0, len(dataset.keys), size)
    return [
        (dataset.keys[start : start + size], np.asarray(dataset.data[start : start + size]))
        for start in starts
    ]
