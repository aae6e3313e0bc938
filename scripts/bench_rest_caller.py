"""A caller with requests that are ready to be sent: by HTTP or by gRPC, one after the other.

Run as a program, so that callers share an interpreter neither with each other nor with who measures
them:

    bench_rest_caller.py {http|grpc} HOST:PORT METHOD [API_KEY]

where METHOD is the path of an RPC (unused by http). It reads a line of JSON with the sizes of the
requests, then the requests; sends a few, answers ``ready``; then for every line of JSON (for how
many seconds or how often, and where to begin) it calls, and answers with a line of JSON: how long
it took, how long each call, and the last answer to each request, in base64.

Rules of this file: it neither makes requests nor reads answers, so that its own part in what it
measures is as small as Python allows: whole requests to a plain socket, bytes to a gRPC channel.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_READ_BYTES = 1 << 20


class HttpCaller:
    """One connection that is kept, with nothing between the bytes and the socket."""

    def __init__(self, target: str) -> None:
        """Connect to HOST:PORT."""
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, request: bytes) -> bytes:
        """Send a request and return the body of the answer.

        Raises:
            RuntimeError: It is no success.
        """
        self._socket.sendall(request)
        answer = self._socket.recv(_READ_BYTES)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        body = answer[end + 4 :]
        length = _LENGTH.search(answer, 0, end + 2)
        while length and len(body) < int(length[1]):
            body += self._more()
        if not answer.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"the server answers {answer[:1000].decode('latin-1')}")
        return body

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _more(self) -> bytes:
        part = self._socket.recv(_READ_BYTES)
        if not part:
            raise RuntimeError("the server ends the connection")
        return part


def grpc_caller(target: str, method: str, api_key: str) -> Callable[[bytes], bytes]:
    """Return what calls a method with bytes and returns bytes."""
    # Here and not above: callers by HTTP need none of it.
    import grpc  # noqa: PLC0415

    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(target, options=options)
    called = channel.unary_unary(method, bytes, bytes)
    metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
    return lambda request: called(request, metadata=metadata)


def run(
    call: Callable[[bytes], bytes],
    requests: Sequence[bytes],
    *,
    first: int,
    step: int,
    seconds: float,
    count: int | None,
) -> dict[str, object]:
    """Call, and return what is told of it.

    Args:
        call: What is called.
        requests: What with, in turn.
        first: Where to begin in the requests.
        step: How far to go from one to the next.
        seconds: How long; once at least.
        count: How often; None: as often as the time allows.
    """
    latencies_s: list[float] = []
    answers: dict[int, bytes] = {}
    place = first
    began = ended = time.perf_counter()
    while (len(latencies_s) < count) if count is not None else (ended < began + seconds):
        position = place % len(requests)
        called = time.perf_counter()
        answer = call(requests[position])
        ended = time.perf_counter()
        latencies_s.append(ended - called)
        answers[position] = answer
        place += step
    return {
        "seconds": ended - began,
        "latencies_s": latencies_s,
        "answers": {one: base64.b64encode(body).decode() for one, body in answers.items()},
    }


def serve(call: Callable[[bytes], bytes], orders: BinaryIO) -> None:
    """Do what is ordered, until nothing is any more."""
    sizes = json.loads(orders.readline())
    requests = [orders.read(size) for size in sizes["sizes"]]
    for position in range(sizes["warm_up"]):
        call(requests[position % len(requests)])
    print("ready", flush=True)
    for line in orders:
        print(json.dumps(run(call, requests, **json.loads(line))), flush=True)


if __name__ == "__main__":
    kind, target, method, *rest = sys.argv[1:]
    serve(
        HttpCaller(target).call if kind == "http" else grpc_caller(target, method, "".join(rest)),
        sys.stdin.buffer,
    )
