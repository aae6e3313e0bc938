"""The OSS dialect without HTTP: a translator before a live server, and what is to be said of it.

Rules of this file: what stands in a request is what a client would send; every response that comes
by here is held to what holds for all of them, so that no test has to say it again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import grpc.aio

from vectorbucket.v1 import (
    bucket_service_pb2_grpc,
    index_service_pb2_grpc,
    vector_service_pb2_grpc,
)
from vectorbucket_server.auth.credentials import Credentials
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse
from vectorbucket_server.rest.oss.translator import Door, Stubs, Translator

T = TypeVar("T")

ACCOUNT_ID = "1234567890"
REGION = "cn-hangzhou"
BUCKET = "examplebucket"
INDEX = "idx1"
SERVICE_HOST = "cn-hangzhou.oss-vectors.local:9000"
BUCKET_HOST = f"{BUCKET}-{ACCOUNT_ID}.{SERVICE_HOST}"
NOW_S = 1702743657
"""The time of the reference's signatures, section 7.5."""

DATE = "Sat, 16 Dec 2023 16:20:57 GMT"
DOOR = Door(region=REGION, account_id=ACCOUNT_ID)

ENVELOPE = {"Code", "Message", "RequestId", "HostId", "EC"}


@dataclass(frozen=True)
class Answer:
    """A response, and what is in it."""

    response: HttpResponse

    @property
    def status(self) -> int:
        """The status."""
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name."""
        return dict(self.response.headers)

    @property
    def body(self) -> Any:
        """The body, read as JSON; None if there is none."""
        return json.loads(self.response.body) if self.response.body else None

    @property
    def code(self) -> str:
        """The code of an error; empty for a success."""
        return str(self.body["Error"]["Code"]) if self.status >= 300 else ""

    @property
    def message(self) -> str:
        """The message of an error."""
        return str(self.body["Error"]["Message"])


def check_form(response: HttpResponse) -> None:
    """Check what holds for every response."""
    headers = dict(response.headers)
    assert len(headers) == len(response.headers), "a header stands twice"
    assert headers["date"] == DATE
    assert headers["server"] == "vectorbucket"
    request_id = headers["x-oss-request-id"]
    assert len(request_id) == 24
    assert set(request_id) <= set("0123456789ABCDEF")
    assert "x-oss-error-type" not in headers
    assert (headers.get("content-type") == "application/json") == bool(response.body)
    assert not any("\r" in text or "\n" in text for pair in response.headers for text in pair)
    if response.status == 204:
        assert response.body == b""
    if response.status < 300:
        return
    error = json.loads(response.body)["Error"]
    assert set(error) == ENVELOPE
    assert all(isinstance(value, str) for value in error.values())
    assert error["RequestId"] == request_id
    assert error["EC"] == headers["x-oss-ec"]
    assert error["Code"]
    assert error["Message"]
    assert ("retry-after" in headers) == (response.status == 503)


class Dialect:
    """A translator, and the loop that it runs in."""

    def __init__(
        self, runner: asyncio.Runner, translator: Translator, offloaded: list[int]
    ) -> None:
        self.runner = runner
        self.translator = translator
        self.offloaded = offloaded
        """One element for each piece of work that was not done on the loop."""

    def send(self, request: HttpRequest) -> Answer:
        """Return the answer to a request as it stands."""
        response = self.runner.run(self.translator.translate(request))
        check_form(response)
        return Answer(response)

    def send_all(self, requests: Iterable[HttpRequest]) -> list[HttpResponse]:
        """Return the responses to requests that come at the same time."""

        async def answered() -> list[HttpResponse]:
            return list(await asyncio.gather(*map(self.translator.translate, requests)))

        return self.runner.run(answered())

    def ask(
        self,
        method: str,
        flag: str = "",
        body: object = b"",
        *,
        host: str = BUCKET_HOST,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer to a request.

        Args:
            method: The method.
            flag: The query.
            body: Bytes, or what is sent as JSON.
            host: The Host header.
            path: The path.
            headers: More headers.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        target = f"{path}?{flag}" if flag else path
        named = {"host": host, **(headers or {})}
        return self.send(HttpRequest(method, target, tuple(named.items()), raw))

    def post(self, flag: str, body: object = b"", **more: Any) -> Answer:
        """Return the answer to a POST."""
        return self.ask("POST", flag, body, **more)

    def done(self, *args: Any, **named: Any) -> Answer:
        """Return the answer to a request that must succeed; the arguments are those of ``ask``."""
        answer = self.ask(*args, **named)
        assert answer.status < 300, answer.body
        return answer

    def make_bucket(self, host: str = BUCKET_HOST) -> None:
        """Make a bucket."""
        self.done("PUT", host=host)

    def make_index(self, name: str = INDEX, dimension: int = 3, **members: object) -> None:
        """Make an index, and the bucket for it if there is none."""
        if self.ask("GET", "bucketInfo").status == 404:
            self.make_bucket()
        said = {"indexName": name, "dimension": dimension, "distanceMetric": "euclidean"}
        self.done("POST", "putVectorIndex", {**said, **members})

    def put(self, *vectors: Mapping[str, object], index_name: str = INDEX) -> None:
        """Put vectors."""
        self.done("POST", "putVectors", {"indexName": index_name, "vectors": vectors})

    def empty(self) -> None:
        """Delete everything, and forget what was counted."""
        self.offloaded.clear()
        while True:
            listed = self.done("GET", "max-keys=1000", host=SERVICE_HOST).body
            listed = listed["ListAllMyBucketsResult"]
            for bucket in listed["Buckets"]:
                name = bucket["Name"].rpartition(":")[2]
                host = f"{name}-{ACCOUNT_ID}.{SERVICE_HOST}"
                indexes = self.done("POST", "listVectorIndexes", host=host).body["indexes"]
                for index in indexes:
                    named = {"indexName": index["indexName"]}
                    self.done("POST", "deleteVectorIndex", named, host=host)
                self.done("DELETE", host=host)
            if not listed.get("IsTruncated"):
                return


def vector(
    key: str, numbers: Iterable[Any] = (1.0, 2.0, 3.0), /, **metadata: Any
) -> dict[str, object]:
    """Return a vector as it is put."""
    said: dict[str, object] = {"key": key, "data": {"float32": list(numbers)}}
    return {**said, "metadata": metadata} if metadata else said


def request_ids() -> Callable[[], str]:
    """Return what makes ids, one after the other."""
    numbers = count(1)
    return lambda: f"{next(numbers):024X}"


def stubs_on(channel: grpc.aio.Channel) -> Stubs:
    """Return the stubs on a channel."""
    return Stubs(
        bucket_service_pb2_grpc.BucketServiceStub(channel),  # type: ignore[no-untyped-call]
        index_service_pb2_grpc.IndexServiceStub(channel),  # type: ignore[no-untyped-call]
        vector_service_pb2_grpc.VectorServiceStub(channel),  # type: ignore[no-untyped-call]
    )


class _Told:
    """A stub that tells which of its RPCs is called."""

    def __init__(self, stub: Any, on_call: Callable[[str], object]) -> None:
        self._stub = stub
        self._on_call = on_call

    def __getattr__(self, rpc: str) -> Any:
        self._on_call(rpc)
        return getattr(self._stub, rpc)


@contextmanager
def dialect_before(
    address: str,
    *,
    door: Door = DOOR,
    credentials: Credentials | None = None,
    api_key: str = "",
    timeout_s: float = 20.0,
    on_call: Callable[[str], object] | None = None,
) -> Iterator[Dialect]:
    """Yield the dialect before a server.

    Args:
        address: Of the server.
        door: What the translator is made for.
        credentials: Whose signatures are good; None: none is read.
        api_key: What the translator calls with.
        timeout_s: Longest that an RPC may take.
        on_call: Is told the name of every RPC before it is called.
    """
    offloaded: list[int] = []

    def offload(work: Callable[[], T]) -> Awaitable[T]:
        offloaded.append(1)
        return asyncio.get_running_loop().run_in_executor(None, work)

    async def opened() -> grpc.aio.Channel:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        return grpc.aio.insecure_channel(address, options=options)

    with asyncio.Runner() as runner:
        channel = runner.run(opened())
        stubs = stubs_on(channel)
        translator = Translator(
            stubs if on_call is None else Stubs(*(_Told(stub, on_call) for stub in stubs)),
            door,
            credentials=None if credentials is None else lambda: credentials,
            api_key=api_key,
            now_s=lambda: NOW_S,
            new_request_id=request_ids(),
            offload=offload,
            timeout_s=timeout_s,
        )
        try:
            yield Dialect(runner, translator, offloaded)
        finally:
            runner.run(channel.close(None))
