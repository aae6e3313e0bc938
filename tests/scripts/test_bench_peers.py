"""Tests of bench_peers.py: which peers there are, and what is said of one that cannot be had."""

from __future__ import annotations

import sys

import pytest

from bench_peer_base import PeerUnavailable
from bench_peers import PEERS

PACKAGES = {
    "qdrant-edge": ("qdrant_edge", "qdrant-edge-py"),
    "zvec": ("zvec", "zvec"),
    "pgvector": ("psycopg", '"psycopg[binary]" pgvector'),
    "milvus": ("pymilvus", "pymilvus"),
    "chroma": ("chromadb", "chromadb-client"),
}
"""What each peer imports, and what pip calls it."""


def test_every_peer_has_a_name_and_a_package() -> None:
    assert sorted(PEERS) == sorted(PACKAGES)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_peer_without_its_package_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method: None in sys.modules is how Python is told that a module cannot be imported."""
    module, distribution = PACKAGES[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PeerUnavailable) as unavailable:
        PEERS[name](None)
    assert str(unavailable.value) == (
        f"the peer {name} needs a package that is not installed: pip install {distribution}"
    )


@pytest.mark.parametrize("name", ["qdrant-edge", "zvec"])
def test_peer_in_this_process_takes_no_address(name: str) -> None:
    with pytest.raises(PeerUnavailable, match="works in this process; it takes no --peer-target"):
        PEERS[name]("127.0.0.1:1")
