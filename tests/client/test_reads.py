"""Getting, listing and scanning vectors, through the client, against the real server."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from faulty_proxy import Fault, FaultyProxy
from vectorbucket import (
    Client,
    NoSuchBucket,
    NoSuchVectorIndex,
    QpsLimitExceeded,
    ServiceUnavailable,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.app import Server

COUNT = 120
KEYS = [f"key-{number:03}-ö" for number in range(COUNT)]
DATA = np.random.default_rng(4).standard_normal((COUNT, 4)).astype(np.float32)


@pytest.fixture
def filled(start_server: Callable[..., Server]) -> Server:
    """A server with small pages, whose index ``faces`` holds 120 vectors."""
    limit = {"page_bytes_max": 400, "list_vectors_default": 50}
    server = start_server(limit=limit, drain_grace_s=0.2)
    with Client(server.address) as client:
        client.put_vector_bucket("photos")
        client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
        metadata = [{"number": number} for number in range(COUNT)]
        client.put_vectors("photos", "faces", keys=KEYS, data=DATA, metadata=metadata)
    return server


@pytest.fixture
def reader(filled: Server, connect: Callable[..., Client]) -> Client:
    """A client of ``filled``."""
    return connect(filled.address)


def test_vectors_are_got_in_the_order_of_keys_without_the_missing(reader: Client) -> None:
    found = reader.get_vectors(
        "photos", "faces", [KEYS[7], "missing", KEYS[3], KEYS[7]], return_data=True
    )
    assert [vector.key for vector in found] == [KEYS[7], KEYS[3]]
    assert [vector.metadata for vector in found] == [None, None]
    for vector, row in zip(found, DATA[[7, 3]], strict=True):
        assert vector.data is not None
        assert vector.data.dtype == np.float32
        assert vector.data.tobytes() == row.tobytes()


def test_only_what_was_asked_for_is_got(reader: Client) -> None:
    (bare,) = reader.get_vectors("photos", "faces", [KEYS[5]])
    assert (bare.data, bare.metadata) == (None, None)
    (described,) = reader.get_vectors("photos", "faces", [KEYS[5]], return_metadata=True)
    assert (described.data, described.metadata) == (None, {"number": 5})
    assert reader.get_vectors("photos", "faces", ["missing"]) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([], "keys"),
        ([f"key-{number}" for number in range(101)], "101"),
        ([""], "keys[0]"),
        (["k" * 1025], "1025"),
        ("abc", "keys is the text"),
    ],
    ids=["none", "101", "empty", "1025 bytes", "one text"],
)
def test_illegal_keys_are_named(reader: Client, keys: Any, words: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        reader.get_vectors("photos", "faces", keys)
    assert words in caught.value.message


@pytest.mark.parametrize("operation", ["list_vectors", "scan_vectors"])
def test_everything_is_read_once_in_the_order_of_keys(reader: Client, operation: str) -> None:
    read = getattr(reader, operation)
    assert [vector.key for vector in read("photos", "faces")] == KEYS
    found = list(read("photos", "faces", return_data=True, return_metadata=True))
    assert np.array_equal(np.stack([vector.data for vector in found]), DATA)
    assert [vector.metadata for vector in found] == [{"number": n} for n in range(COUNT)]


@pytest.mark.parametrize("operation", ["list_vectors", "scan_vectors"])
def test_segments_share_the_keys_without_overlap(reader: Client, operation: str) -> None:
    read = getattr(reader, operation)
    for segment in range(3):
        found = [
            vector.key for vector in read("photos", "faces", segment_count=3, segment_index=segment)
        ]
        assert found == [key for key in KEYS if zlib.crc32(key.encode()) % 3 == segment]


def test_pages_follow_each_other(reader: Client) -> None:
    first = reader.list_vectors_page("photos", "faces", max_results=7)
    assert [vector.key for vector in first.vectors] == KEYS[:7]
    second = reader.list_vectors_page(
        "photos", "faces", max_results=7, next_token=first.next_token, return_metadata=True
    )
    assert [vector.key for vector in second.vectors] == KEYS[7:14]
    assert second.vectors[0].metadata == {"number": 7}


def test_last_page_has_no_token(reader: Client) -> None:
    reader.delete_vectors("photos", "faces", KEYS[3:])
    page = reader.list_vectors_page("photos", "faces")
    assert [vector.key for vector in page.vectors] == KEYS[:3]
    assert page.next_token == ""


def test_scan_begins_after_a_key(reader: Client) -> None:
    found = [vector.key for vector in reader.scan_vectors("photos", "faces", after_key=KEYS[99])]
    assert found == KEYS[100:]


def test_scan_yields_only_what_a_filter_matches(reader: Client) -> None:
    wanted = {"number": {"$gte": 50, "$lt": 100}}
    found = list(reader.scan_vectors("photos", "faces", filter=wanted))
    assert [vector.key for vector in found] == KEYS[50:100]
    assert [vector.metadata for vector in found] == [None] * 50
    assert len(list(reader.scan_vectors("photos", "faces", filter={}))) == COUNT
    assert list(reader.scan_vectors("photos", "faces", filter={"number": -1})) == []
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        next(reader.scan_vectors("photos", "faces", filter={"number": {"$near": 1}}))
    assert caught.value.field == "filter.number.$near"


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_results": -1},
        {"max_results": 1001},
        {"max_results": 2**40},
        {"segment_count": 17},
        {"segment_count": 4, "segment_index": 4},
        {"segment_index": -1},
        {"next_token": "foreign"},
    ],
    ids=str,
)
def test_illegal_page_is_refused_by_name(reader: Client, arguments: dict[str, Any]) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        reader.list_vectors_page("photos", "faces", **arguments)
    assert caught.value.field in arguments


@pytest.mark.parametrize("operation", ["list_vectors", "scan_vectors"])
@pytest.mark.parametrize(
    ("bucket", "index_name", "leaf"),
    [("nowhere", "faces", NoSuchBucket), ("photos", "cats", NoSuchVectorIndex)],
)
def test_iterator_raises_when_it_is_first_asked(
    reader: Client, operation: str, bucket: str, index_name: str, leaf: type[Exception]
) -> None:
    iterator = getattr(reader, operation)(bucket, index_name)
    with pytest.raises(leaf):
        next(iterator)


def scanned_bytes(server: Server) -> int:
    """Return how many bytes a whole scan sends down."""
    with FaultyProxy(server.address) as proxy, Client(proxy.address) as client:
        assert len(list(client.scan_vectors("photos", "faces", return_data=True))) == COUNT
        return proxy.connection(0).down_bytes


@pytest.mark.parametrize("tenth", range(10))
def test_scan_over_a_broken_connection_goes_on_after_the_last_key(
    filled: Server, connect: Callable[..., Client], tenth: int
) -> None:
    cut = scanned_bytes(filled) * tenth // 10
    faults = [Fault(cut_down=cut), Fault(cut_down=cut // 2 + 100)]
    with FaultyProxy(filled.address, *faults) as proxy:
        client = connect(proxy.address)
        everything = {"number": {"$lt": COUNT}}
        found = list(client.scan_vectors("photos", "faces", return_data=True, filter=everything))
    assert [vector.key for vector in found] == KEYS
    assert len(proxy.connections) >= 2


def test_scan_that_breaks_without_progress_is_given_up(
    filled: Server, connect: Callable[..., Client]
) -> None:
    with FaultyProxy(filled.address, *[Fault(cut_up=100)] * 10_000) as proxy:
        client = connect(proxy.address, resume_timeout_s=0.2)
        with pytest.raises(ServiceUnavailable):
            list(client.scan_vectors("photos", "faces"))


def test_listing_over_a_broken_connection_goes_on_with_its_page(
    filled: Server, connect: Callable[..., Client]
) -> None:
    with FaultyProxy(filled.address, *[Fault(cut_down=900)] * 20) as proxy:
        client = connect(proxy.address)
        assert [vector.key for vector in client.list_vectors("photos", "faces")] == KEYS
    assert len(proxy.connections) > 2


def test_scan_that_is_left_gives_its_permit_back(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    server = start_server(streams_max=1, limit={"page_bytes_max": 400})
    client = connect(server.address, resume_timeout_s=20.0)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    client.put_vectors("photos", "faces", keys=KEYS, data=DATA)
    left = client.scan_vectors("photos", "faces")
    assert next(left).key == KEYS[0]
    left.close()  # type: ignore[attr-defined]
    assert len(list(client.scan_vectors("photos", "faces"))) == COUNT


def test_scan_of_a_busy_server_says_so(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    server = start_server(streams_max=1, limit={"page_bytes_max": 400})
    client = connect(server.address, resume_timeout_s=0.1)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    # More than the network takes on its own, so that the scan is still under way.
    keys = [f"{number:04}{'k' * 1000}" for number in range(1000)]
    client.put_vectors("photos", "faces", keys=keys, data=np.ones((1000, 4)))
    under_way = client.scan_vectors("photos", "faces")
    next(under_way)
    with pytest.raises(QpsLimitExceeded, match="the limit is 1"):
        next(client.scan_vectors("photos", "faces"))
    under_way.close()  # type: ignore[attr-defined]
