"""The options of the engine on Milvus: units, defaults, and the effect of more and of less.

Rules of this file: plain values; nothing here opens, reads or measures anything.
"""

from __future__ import annotations

from dataclasses import dataclass

URI_DEFAULT = "http://127.0.0.1:19530"
DATABASE_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class MilvusOptions:
    """What the engine on Milvus can be told."""

    uri: str = URI_DEFAULT
    """Where Milvus takes calls: ``http://HOST:PORT``, or ``https`` for TLS."""

    token: str = ""
    """``USER:PASSWORD`` or an API key, where Milvus asks for one."""

    database: str = DATABASE_DEFAULT
    """The database of Milvus that holds the buckets. It must exist. Servers that name the same one
    serve the same buckets; nothing else may keep its own there."""

    timeout_s: float = 30.0
    """Seconds for which a call of Milvus is tried again while Milvus does not answer, or is not
    ready; then the caller hears that the service is unavailable. More: a restart of Milvus is
    noticed by fewer callers, but those who have no deadline of their own wait longer."""

    load_timeout_s: float = 600.0
    """Seconds for which LoadVectorIndex waits until Milvus has an index in the memory of its query
    nodes. Other calls wait for ``timeout_s``; Milvus goes on with it in any case."""

    catalogue_cache_s: float = 0.5
    """Seconds for which a server remembers what a bucket or an index is before it asks Milvus
    again. Changes of policy and deletions are acknowledged only when that time has passed, so that
    no other server still goes by what was before. More: fewer calls of Milvus; such changes take
    longer. Servers of one database must agree on it."""

    replicas: int = 1
    """Copies of an index in the memory of Milvus' query nodes, for indexes that are loaded from now
    on. With more than one, more queries can be answered at once, but each of them has to wait until
    all copies have caught up with all writes (about 200 ms with Milvus' defaults)."""

    shards: int = 1
    """Shards of an index that is made from now on. More: puts are spread over more of Milvus'
    nodes, but a batch may be seen in parts by readers."""

    m: int = 16
    """Links of a vector in the graph, for indexes that are made from now on and name none."""

    ef_construction: int = 200
    """Breadth of the search that finds a new vector's links, for indexes that are made from now on
    and name none."""

    ef_search: int = 96
    """Breadth of a query's search in the graph, raised to ``top_k`` where that is more; an index
    and a query may name their own. More: better recall, slower queries."""

    def __post_init__(self) -> None:
        """Check that the numbers are possible."""
        for name in ("timeout_s", "load_timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be more than 0")
        if not self.catalogue_cache_s >= 0:
            raise ValueError(f"catalogue_cache_s is {self.catalogue_cache_s}; it must be 0 or more")
        for name in ("replicas", "shards", "m", "ef_construction", "ef_search"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
