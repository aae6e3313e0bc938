"""The peers that the bench can measure, by name.

Rules of this file: nothing but the names. A peer is a module bench_peer_NAME.py with one subject
class, whose constructor takes the address that the user gave and raises PeerUnavailable with a
sentence when the peer cannot be measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from bench_peer_chroma import ChromaPeer
from bench_peer_milvus import MilvusPeer
from bench_peer_pgvector import PgvectorPeer
from bench_peer_qdrant_edge import QdrantEdgePeer
from bench_peer_zvec import ZvecPeer
from bench_subject import Subject

PeerFactory: TypeAlias = Callable[[str | None], Subject]
"""From where the peer's server listens (None: where it does by default) to the peer."""

PEERS: Mapping[str, PeerFactory] = {
    "qdrant-edge": QdrantEdgePeer,
    "zvec": ZvecPeer,
    "pgvector": PgvectorPeer,
    "milvus": MilvusPeer,
    "chroma": ChromaPeer,
}
"""Peer by name: those that work in this process, then those that are servers."""
