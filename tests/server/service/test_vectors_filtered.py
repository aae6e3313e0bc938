"""ScanVectors with a filter, through a real server."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import grpc
import pytest

from conftest import StartServer
from rpc import (
    BUCKET,
    INDEX,
    WAIT_S,
    Stubs,
    filter_struct,
    metadata_of,
    query_request,
    refused,
    some_vectors,
    stubs_of,
    vector_of,
)
from stubborn import eventually
from vectorbucket.v1 import vector_pb2
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index, Page, Vector
from vectorbucket_server.service.vectors import FRUITLESS_PAGES

PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}


def scan(stubs: Stubs, raw: dict[str, Any], **fields: Any) -> list[messages.ScanVectorsResponse]:
    request = messages.ScanVectorsRequest(**PLACE, filter=filter_struct(raw), **fields)
    return list(stubs.vectors.ScanVectors(request))


def scanned_keys(stubs: Stubs, raw: dict[str, Any], **fields: Any) -> list[str]:
    return [vector.key for page in scan(stubs, raw, **fields) for vector in page.vectors]


@pytest.fixture
def filled(stubs: Stubs) -> Stubs:
    """Stubs of a server whose index holds 25 vectors, numbered in ``n``."""
    stubs.make_index()
    stubs.put(*[vector_of(f"key-{number:02}", metadata={"n": number}) for number in range(25)])
    return stubs


@pytest.mark.parametrize(
    ("raw", "numbers"),
    [
        ({}, range(25)),
        ({"n": {"$gte": 20}}, range(20, 25)),
        ({"n": {"$in": [1, 7, 99]}}, [1, 7]),
        ({"$or": [{"n": 3}, {"n": {"$lt": 2}}]}, [0, 1, 3]),
        ({"missing": {"$exists": True}}, []),
        ({"missing": {"$ne": "x"}}, range(25)),
    ],
    ids=str,
)
def test_filtered_scan_answers_what_matches_in_order(
    filled: Stubs, raw: dict[str, Any], numbers: Iterable[int]
) -> None:
    assert scanned_keys(filled, raw) == [f"key-{number:02}" for number in numbers]


def test_filtered_scan_shows_metadata_only_if_asked(filled: Stubs) -> None:
    (bare,) = scan(filled, {"n": 7})
    assert bare.vectors[0] == vector_pb2.Vector(key="key-07")
    (whole,) = scan(filled, {"n": 7}, return_data=True, return_metadata=True)
    assert metadata_of(whole.vectors[0]) == {"n": 7.0}
    assert list(whole.vectors[0].data.float32) == [1, 2, 3, 4]


def test_filtered_scan_goes_on_after_a_key_and_keeps_to_its_segment(filled: Stubs) -> None:
    raw = {"n": {"$gte": 5}}
    assert scanned_keys(filled, raw, after_key="key-22") == ["key-23", "key-24"]
    shares = [scanned_keys(filled, raw, segment_count=3, segment_index=n) for n in range(3)]
    for position, share in enumerate(shares):
        assert all(zlib.crc32(key.encode()) % 3 == position for key in share)
    assert sorted(chain(*shares)) == [f"key-{number:02}" for number in range(5, 25)]


def test_filtered_scan_loses_nothing_where_messages_are_cut(start_server: StartServer) -> None:
    with stubs_of(start_server(limit={"page_bytes_max": 100}).address) as stubs:
        stubs.make_index(non_filterable=["blob"])
        wide = [vector_of(f"{n}", metadata={"n": n, "blob": [1.0] * 50}) for n in range(9)]
        stubs.put(*wide)
        assert scanned_keys(stubs, {"n": {"$ne": 4}}, return_metadata=True) == list("01235678")


def test_filtered_scan_says_now_and_then_that_it_is_at_work(start_server: StartServer) -> None:
    """Else a client would take a long way without a match for a server that is gone."""
    with stubs_of(start_server(limit={"page_bytes_max": 1}).address) as stubs:
        stubs.make_index()
        count = 2 * FRUITLESS_PAGES + 1
        stubs.put(*[vector_of(f"{n:04}", metadata={"n": n}) for n in range(count)])
        pages = scan(stubs, {"n": -1})
        assert [len(page.vectors) for page in pages] == [0, 0]
        pages = scan(stubs, {"n": count - 2})
        assert [len(page.vectors) for page in pages] == [0, 1]


class EndlessEngine(MemoryEngine):
    """Answers its first page again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def list_vectors(self, index: Index, **how: Any) -> Page[Vector]:
        page = super().list_vectors(index, **how | {"after": ""})
        self.reached.set()
        return Page(page.items, page.items[-1].key)


@pytest.mark.parametrize("timeout_s", [WAIT_S, 0.2], ids=["cancelled", "past its deadline"])
def test_filtered_scan_without_a_match_ends_with_its_caller(
    start_server: StartServer, log_lines: Callable[[], list[dict[str, Any]]], timeout_s: float
) -> None:
    engine = EndlessEngine()
    with stubs_of(start_server(over=engine).address) as stubs:
        stubs.make_index()
        stubs.put(*some_vectors(3))
        request = messages.ScanVectorsRequest(**PLACE, filter=filter_struct({"n": 1}))
        call = stubs.vectors.ScanVectors(request, timeout=timeout_s)
        assert engine.reached.wait(WAIT_S)
        if timeout_s == WAIT_S:
            call.cancel()
        with pytest.raises(grpc.RpcError):
            list(call)
        eventually(lambda: any(line.get("method") == "ScanVectors" for line in log_lines()))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"n": {"$near": 1}}, "filter.n.$near"),
        ({"blob": "x"}, "filter.blob"),
        ({"$or": []}, "filter.$or"),
        ({"n": "x" * 70_000}, "filter"),
    ],
    ids=["operator", "not filterable", "empty", "long"],
)
def test_filter_of_a_scan_is_refused_as_a_querys_is(
    stubs: Stubs, raw: dict[str, Any], field: str
) -> None:
    stubs.make_index(non_filterable=["blob"])
    stubs.put(vector_of("a"))
    of_scan = refused(lambda: scan(stubs, raw))
    of_query = refused(lambda: stubs.vectors.QueryVectors(query_request(filter=raw)))
    assert of_scan.field == field
    assert (of_scan.code, of_scan.message) == (of_query.code, of_query.message)
