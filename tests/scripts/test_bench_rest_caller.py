"""Tests of bench_rest_caller.py: requests are sent as they are, in turn, and answers kept."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from contextlib import closing

import pytest

from bench_rest_caller import HttpCaller, grpc_caller, run, serve
from conftest import StartServer
from raw_http import request
from rest_echo import PATIENT, Echo, echoing
from vectorbucket.v1 import bucket_service_pb2

METHOD = "/vectorbucket.v1.BucketService/PutVectorBucket"


def recorder() -> tuple[list[bytes], Callable[[bytes], bytes]]:
    """Return a list, and what answers requests and notes them there."""
    asked: list[bytes] = []

    def call(one: bytes) -> bytes:
        asked.append(one)
        return one.upper()

    return asked, call


def test_requests_are_called_in_turn_as_often_as_told() -> None:
    asked, call = recorder()
    told = run(call, [b"a", b"b", b"c"], first=2, step=2, seconds=0, count=4)
    assert asked == [b"c", b"b", b"a", b"c"]
    latencies_s = told["latencies_s"]
    assert isinstance(latencies_s, list)
    assert len(latencies_s) == 4
    answers = {0: b"A", 1: b"B", 2: b"C"}
    assert told["answers"] == {
        position: base64.b64encode(body).decode() for position, body in answers.items()
    }


def test_calls_go_on_until_their_time_is_over() -> None:
    asked, call = recorder()
    told = run(call, [b"a"], first=0, step=1, seconds=0.01, count=None)
    assert len(asked) > 1
    assert isinstance(told["seconds"], float)
    assert told["seconds"] >= 0.01


def test_orders_are_read_after_requests_and_warming_up(capsys: pytest.CaptureFixture[str]) -> None:
    asked, call = recorder()
    sizes = json.dumps({"sizes": [2, 1], "warm_up": 3}).encode()
    order = json.dumps({"first": 0, "step": 1, "seconds": 0, "count": 1}).encode()
    serve(call, io.BytesIO(sizes + b"\n" + b"abc" + order + b"\n" + order + b"\n"))
    assert asked == [b"ab", b"c", b"ab", b"ab", b"ab"]
    ready, *told = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert [list(json.loads(line)["answers"]) for line in told] == [["0"], ["0"]]


def test_http_caller_reads_whole_answers_on_one_connection() -> None:
    with echoing(Echo(), PATIENT) as served, closing(HttpCaller(served.address)) as caller:
        body = b"x" * 1000
        for _ in range(3):
            answer = caller.call(request("POST / HTTP/1.1", body))
            assert json.loads(answer)["size"] == len(body)
        assert caller.call(request("GET /nothing HTTP/1.1")) == b""
        assert len(caller.call(request("GET /large HTTP/1.1"))) > 1_000_000
        with pytest.raises(RuntimeError, match=r"the server answers HTTP/1\.1 405"):
            caller.call(request("FETCH / HTTP/1.1"))


def test_grpc_caller_sends_and_returns_bytes(start_server: StartServer) -> None:
    call = grpc_caller(start_server().address, METHOD, "")
    message = bucket_service_pb2.PutVectorBucketRequest(bucket="photos").SerializeToString()
    assert call(message) == b""
