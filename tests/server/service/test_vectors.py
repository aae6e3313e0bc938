"""VectorService through a real server: put, get, list, scan, delete."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import StartServer
from rpc import (
    BUCKET,
    INDEX,
    Stubs,
    bearer,
    index_request,
    metadata_of,
    refused,
    saying,
    some_vectors,
    stubs_of,
    vector_of,
)
from vectorbucket.v1 import index_service_pb2, vector_pb2
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.auth.api_keys import hash_api_key
from vectorbucket_server.auth.entries import PRINCIPAL
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index, Page, Vector

PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}
MIB = 1024 * 1024


def get(stubs: Stubs, keys: Iterable[str], **fields: Any) -> list[vector_pb2.Vector]:
    request = messages.GetVectorsRequest(**PLACE, keys=keys, **fields)
    return list(stubs.vectors.GetVectors(request).vectors)


def list_page(stubs: Stubs, **fields: Any) -> messages.ListVectorsResponse:
    response: messages.ListVectorsResponse = stubs.vectors.ListVectors(
        messages.ListVectorsRequest(**PLACE, **fields)
    )
    return response


def list_all(stubs: Stubs, **fields: Any) -> list[list[str]]:
    """Return the keys of each page."""
    pages, token = list[list[str]](), ""
    while token or not pages:
        response = list_page(stubs, next_token=token, **fields)
        pages.append([vector.key for vector in response.vectors])
        token = response.next_token
    return pages


def scan(stubs: Stubs, **fields: Any) -> list[messages.ScanVectorsResponse]:
    return list(stubs.vectors.ScanVectors(messages.ScanVectorsRequest(**PLACE, **fields)))


@pytest.fixture
def filled(stubs: Stubs) -> Stubs:
    stubs.make_index()
    stubs.put(*[vector_of(f"key-{number:02}", metadata={"n": number}) for number in range(25)])
    return stubs


# --- Put and get ----------------------------------------------------------------------------------


def test_vector_comes_back_as_it_was_put(stubs: Stubs) -> None:
    stubs.make_index()
    fields = {"text": "x", "tags": ["a", "b"], "n": 2.5, "yes": True, "none": []}
    numbers = np.array([1e-45, -0.0, 3.4e38, 1 / 3], np.float32)
    stubs.put(vector_of("a", numbers.tolist(), fields), vector_of("b", as_bytes=True))
    a, b = get(stubs, ["a", "b"], return_data=True, return_metadata=True)
    assert np.array(a.data.float32, np.float32).tobytes() == numbers.tobytes()
    assert metadata_of(a) == fields
    assert list(b.data.float32) == [1, 2, 3, 4]
    assert metadata_of(b) == {}
    (raw,) = get(stubs, ["a"], return_data=True, data_encoding=vector_pb2.DATA_ENCODING_FLOAT32_LE)
    assert raw.data.float32_le == numbers.tobytes()
    assert not raw.metadata


def test_put_replaces_numbers_and_metadata_together(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(vector_of("a", (1, 1, 1, 1), {"old": "x"}))
    stubs.put(vector_of("a", (2, 2, 2, 2), {"new": "y"}))
    (vector,) = get(stubs, ["a"], return_data=True, return_metadata=True)
    assert (list(vector.data.float32), metadata_of(vector)) == ([2, 2, 2, 2], {"new": "y"})
    assert stubs.count() == 1


def test_get_answers_each_existing_key_once_in_the_order_asked(filled: Stubs) -> None:
    vectors = get(filled, ["key-03", "missing", "key-01", "key-03"])
    assert vectors == [vector_pb2.Vector(key="key-03"), vector_pb2.Vector(key="key-01")]
    assert get(filled, ["missing"]) == []


def test_deleted_vectors_are_gone_and_the_rest_stays(filled: Stubs) -> None:
    keys = ["key-00", "missing", "key-24"]
    filled.vectors.DeleteVectors(messages.DeleteVectorsRequest(**PLACE, keys=keys))
    assert filled.all_keys() == [f"key-{number:02}" for number in range(1, 24)]
    filled.vectors.DeleteVectors(messages.DeleteVectorsRequest(**PLACE, keys=keys))
    assert filled.count() == 23


# --- List -----------------------------------------------------------------------------------------


def test_listing_is_in_the_order_of_the_keys_bytes(stubs: Stubs) -> None:
    stubs.make_index()
    keys = ["b", "a", "é", "z", "B", "a b", "🜁", "\uffee", "ab"]
    stubs.put(*[vector_of(key) for key in keys])
    assert list_all(stubs) == [sorted(keys, key=str.encode)]


def test_ten_vectors_are_exactly_two_pages_of_five(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(*some_vectors(10))
    pages = list_all(stubs, max_results=5)
    assert [len(page) for page in pages] == [5, 5]
    assert list(chain.from_iterable(pages)) == stubs.all_keys()


def test_page_shows_data_and_metadata_only_if_asked(filled: Stubs) -> None:
    bare = list_page(filled, max_results=1).vectors[0]
    assert bare == vector_pb2.Vector(key="key-00")
    whole = list_page(filled, max_results=1, return_data=True, return_metadata=True).vectors[0]
    assert list(whole.data.float32) == [1, 2, 3, 4]
    assert metadata_of(whole) == {"n": 0.0}


def test_token_stays_good_when_its_vector_is_gone(filled: Stubs) -> None:
    token = list_page(filled, max_results=3).next_token
    filled.vectors.DeleteVectors(messages.DeleteVectorsRequest(**PLACE, keys=["key-02"]))
    assert list_page(filled, next_token=token, max_results=1).vectors[0].key == "key-03"


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_segments_share_the_keys_as_the_contract_says(filled: Stubs, count: int) -> None:
    seen = list[str]()
    for position in range(count):
        pages = list_all(filled, segment_count=count, segment_index=position, max_results=2)
        listed = list(chain.from_iterable(pages))
        scanned = scan(filled, segment_count=count, segment_index=position)
        assert listed == [vector.key for page in scanned for vector in page.vectors]
        assert all(zlib.crc32(key.encode()) % count == position for key in listed)
        seen += listed
    assert sorted(seen) == filled.all_keys()


def test_default_page_holds_500(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(*some_vectors(500))
    stubs.put(vector_of("one-more"))
    assert [len(page) for page in list_all(stubs)] == [500, 1]


def wide_vectors(count: int) -> list[vector_pb2.Vector]:
    """Return vectors whose metadata is many times larger as a message than as JSON."""
    return [
        vector_of(f"key-{number:03}", metadata={"blob": [1.0] * 15_000}) for number in range(count)
    ]


def test_page_ends_by_its_size_as_a_message_and_nothing_is_lost(stubs: Stubs) -> None:
    stubs.make_index(non_filterable=["blob"])
    stubs.put(*wide_vectors(50))
    token, keys, pages = "", list[str](), 0
    while token or not pages:
        response = list_page(stubs, return_metadata=True, next_token=token)
        assert response.ByteSize() < 4 * MIB
        keys += [vector.key for vector in response.vectors]
        token, pages = response.next_token, pages + 1
    assert keys == stubs.all_keys()
    assert pages > 1


def test_whole_page_ends_at_its_count_alone(start_server: StartServer) -> None:
    address, large = start_server().address, 65 * MIB
    with stubs_of(address, grpc__max_receive_message_length=large) as stubs:
        stubs.make_index(dimension=4096)
        numbers = range(4096)
        for start in range(0, 1_001, 91):
            stubs.put(*[vector_of(f"{start + n:04}", numbers, as_bytes=True) for n in range(91)])
        asked = {"return_data": True, "data_encoding": vector_pb2.DATA_ENCODING_FLOAT32_LE}
        first = list_page(stubs, max_results=1_000, whole_page=True, **asked)
        assert len(first.vectors) == 1_000
        assert first.ByteSize() > 15 * MIB
        rest = list_page(stubs, whole_page=True, next_token=first.next_token, **asked)
        keys = [vector.key for page in (first, rest) for vector in page.vectors]
        assert keys == stubs.all_keys()
        # The token is one and the same thing, whatever the size of pages.
        small = list_page(stubs, next_token=first.next_token, **asked)
        assert small.vectors[0].key == keys[1_000]
        assert len(list_page(stubs, max_results=1_000, **asked).vectors) < 250


def test_whole_page_ends_where_the_server_can_send_no_more(start_server: StartServer) -> None:
    limit = {"message_bytes_max": MIB, "page_bytes_max": 10_000}
    address = start_server(limit=limit).address
    with stubs_of(address) as stubs:
        stubs.make_index(dimension=4096)
        for start in range(0, 100, 50):
            stubs.put(*[vector_of(f"{start + n}", range(4096), as_bytes=True) for n in range(50)])
        page = list_page(stubs, return_data=True, data_encoding=2, whole_page=True)
        assert 0.9 * MIB < page.ByteSize() < MIB
        assert page.next_token
        assert len(list_page(stubs, return_data=True, data_encoding=2).vectors) == 1


def test_whole_page_is_for_translators_alone(start_server: StartServer, tmp_path: Path) -> None:
    """A page of 64 MB that its caller does not read is memory of the server."""
    kinds = {"owner": "owner = true", "door": "impersonate = true"}
    (tmp_path / "keys.toml").write_text(
        "".join(
            f'[[credential]]\nname = "{name}"\naccount_id = "1"\n{more}\n'
            f'api_keys = ["{hash_api_key(name)}"]\n'
            for name, more in kinds.items()
        )
    )
    server = start_server(credentials=tmp_path / "keys.toml", limit={"page_bytes_max": 100})
    with stubs_of(server.address) as stubs:
        owner = saying(stubs, bearer("owner"))
        owner.make_index()
        owner.put(*[vector_of(f"{n}") for n in range(9)])
        door = saying(stubs, bearer("door"), (PRINCIPAL, "owner"))
        asked = {"return_data": True, "whole_page": True}
        assert len(list_page(owner, **asked).vectors) < 9
        assert len(list_page(door, **asked).vectors) == 9


def test_page_holds_at_least_one_vector_however_large(start_server: StartServer) -> None:
    with stubs_of(start_server(limit={"page_bytes_max": 100}).address) as stubs:
        stubs.make_index(non_filterable=["blob"])
        stubs.put(*wide_vectors(3))
        assert [len(page) for page in list_all(stubs, return_metadata=True)] == [1, 1, 1]
        assert [len(page.vectors) for page in scan(stubs, return_metadata=True)] == [1, 1, 1]


# --- Scan -----------------------------------------------------------------------------------------


def test_scan_reads_everything_in_messages_that_any_client_takes(stubs: Stubs) -> None:
    stubs.make_index(dimension=4096, non_filterable=["blob"])
    numbers = np.arange(4096)
    for start in range(0, 400, 100):
        stubs.put(*[vector_of(f"key-{start + n:03}", numbers, as_bytes=True) for n in range(100)])
    pages = scan(stubs, return_data=True)
    assert all(page.ByteSize() < 4 * MIB for page in pages)
    assert len(pages) > 1
    keys = [vector.key for page in pages for vector in page.vectors]
    assert keys == [f"key-{number:03}" for number in range(400)]
    assert list(pages[-1].vectors[-1].data.float32) == numbers.tolist()


def test_scan_of_nothing_is_no_message(stubs: Stubs) -> None:
    stubs.make_index()
    assert scan(stubs) == []


def test_scan_goes_on_after_a_key(filled: Stubs) -> None:
    keys = [vector.key for page in scan(filled, after_key="key-2") for vector in page.vectors]
    assert keys == [f"key-{number}" for number in range(20, 25)]
    request = messages.ScanVectorsRequest(**PLACE, after_key="k" * 1025)
    refusal = refused(lambda: list(filled.vectors.ScanVectors(request)))
    assert refusal.field == "after_key"


class DeletedMidway(MemoryEngine):
    """Loses an index after the first page that was read of it."""

    def list_vectors(self, index: Index, **how: Any) -> Page[Vector]:
        page = super().list_vectors(index, **how)
        self.delete_index(index)
        return page


def test_scan_of_an_index_that_is_deleted_meanwhile_ends_with_that(
    start_server: StartServer,
) -> None:
    server = start_server(over=DeletedMidway(), limit={"page_bytes_max": 10})
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        stubs.put(*some_vectors(5))
        call = stubs.vectors.ScanVectors(messages.ScanVectorsRequest(**PLACE))
        assert next(call).vectors[0].key == "key-0"
        assert refused(lambda: next(call)).reason == "ERROR_REASON_NO_SUCH_VECTOR_INDEX"


# --- Indexes and limits ---------------------------------------------------------------------------


def test_index_made_again_under_its_name_is_empty(filled: Stubs) -> None:
    request = index_service_pb2.DeleteVectorIndexRequest(**PLACE)
    filled.indexes.DeleteVectorIndex(request)
    filled.indexes.PutVectorIndex(index_request(dimension=2))
    assert filled.all_keys() == []
    assert filled.put(vector_of("a", (1, 2))) == 1


def test_unlimited_profile_takes_larger_batches(start_server: StartServer) -> None:
    with stubs_of(start_server(limits="unlimited").address) as stubs:
        stubs.make_index()
        assert stubs.put(*some_vectors(501)) == 501
        assert len(get(stubs, [f"key-{number}" for number in range(101)])) == 101
        keys = [f"key-{number}" for number in range(501)]
        stubs.vectors.DeleteVectors(messages.DeleteVectorsRequest(**PLACE, keys=keys))
        assert stubs.count() == 0
