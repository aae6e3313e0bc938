"""The options of the embedded engine: units, defaults, and the effect of more and of less.

Rules of this file: plain values; nothing here opens, reads or measures anything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """What the embedded engine can be told. Only ``data_dir`` has no default."""

    data_dir: Path
    """Where everything is kept. Made if missing; one process at a time may use it."""

    sync_writes: bool = True
    """Whether an acknowledged write has been synced to the disk. True: a machine that loses power
    loses nothing that was acknowledged. False: only a killed process loses nothing; a lost machine
    may lose the last seconds. Concurrent writers share a sync, so true costs little on disks with a
    fast sync (1 to 3 % of a streaming put where this was measured) and much on others."""

    graph_rows_min: int = 2_000
    """Vectors below which an index has no graph and is scanned exactly. Fewer: more memory for
    small indexes (an empty graph takes 2.5 MB), quicker queries on indexes around this size. At
    2,000 × 384 an exact scan takes about as long as a graph search."""

    m: int = 16
    """Links of a vector in the graph, for indexes that are made from now on and name none. More:
    better recall on hard data, more memory (8 bytes × m a vector and more), slower inserts.
    Sensible: 8 to 64."""

    ef_construction: int = 200
    """Breadth of the search that finds a new vector's links, for indexes that are made from now on
    and name none. More: better recall, slower inserts."""

    ef_search: int = 96
    """Breadth of a query's search in the graph, raised to half of it plus twice ``top_k`` where
    that is more; an index and a query may name their own. More: better recall, slower queries. 96
    finds 99.4 % of the ten nearest on the embeddings of the sample, 64 98.6 %."""

    memory_bytes_max: int = 0
    """Memory that the indexes in use may take together, for graphs and what belongs to them; 0
    means three quarters of the machine's. When it is reached, indexes that were not used for the
    longest time leave memory and come back on use; an index that does not fit at all is refused.
    More: fewer of them leave."""

    worn_share_max: float = 0.2
    """Share of dead vectors in an index from which on its graph is built anew, beside the old one.
    More: less building, but slower searches and more memory; less: the opposite."""

    checkpoint_changes_min: int = 20_000
    """Changes since the last checkpoint of a graph from which on the next one is written, if they
    are also ``checkpoint_changes_share`` of its vectors. More: fewer writes, more to index again
    after a crash."""

    checkpoint_changes_share: float = 0.5
    """See ``checkpoint_changes_min``. At 0.5, filling an index writes about three times its graph.
    More: fewer writes, more to index again after a crash."""

    checkpoint_interval_s: float = 300.0
    """Seconds after which a checkpoint is written although less has changed, if more than one in a
    hundred vectors has. More: fewer writes, more to index again after a crash."""

    pending_bytes_max: int = 96 * MIB
    """Bytes of vectors of an index that may wait for the graph. Past it, puts slow to the indexer's
    pace. More: longer bursts at full speed; queries beside them slow down, because they scan what
    waits (about 1.4 ms for 96 MB)."""

    indexer_threads: int = 0
    """Threads that build graphs; 0 means one a core. Fewer: slower indexing, more left for queries.
    """

    turn_target_s: float = 0.003
    """How long, in seconds, the indexer may keep queries waiting for a graph while there are
    queries. Less: steadier queries, slower indexing (at 8 rows a turn hnswlib uses one thread)."""

    turn_rows_idle: int = 256
    """Rows of an indexer's turn when no query came lately. More: little faster indexing (256 costs
    5 %), a longer wait for the first query that comes."""

    block_cache_bytes: int = 64 * MIB
    """Memory for blocks that RocksDB has read. More: fewer reads from disk for get, list and
    metadata of hits."""

    write_buffer_bytes: int = 64 * MIB
    """Memory for writes that RocksDB has not put into files yet, over all families. More: fewer,
    larger files and less rewriting under load."""

    wal_bytes_max: int = 256 * MIB
    """Size of the write-ahead log at which RocksDB starts to empty its write buffers. More: longer
    recovery after a crash; less: more small files."""

    disk_free_bytes_min: int = 512 * MIB
    """Free bytes of the disk that holds the data below which puts, new indexes and new buckets are
    refused, until there is room again; reads and deletes go on. 0 refuses none: then a full disk
    fails whatever meets it. What is left is for merges of RocksDB's (320 MiB at these defaults) and
    for checkpoints. More: room for checkpoints of larger graphs; less: more of a small disk can be
    filled."""

    def threads(self) -> int:
        """Return the number of threads that build graphs."""
        return self.indexer_threads or os.cpu_count() or 1
