"""What an index takes in memory, about, before it is there to be asked.

Rules of this file: estimates for the memory budget, from counts alone; README's sizing says the
same in words.
"""

from __future__ import annotations

from vectorbucket_server.engine.embedded.graph import graph_bytes
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import graph_m
from vectorbucket_server.model import Index

_ROW_BYTES = 140
"""What a vector takes beside the graph: labels, norms, lists of its metadata."""


def index_bytes(index: Index, options: EmbeddedOptions, count: int) -> int:
    """Return the bytes of memory that so many slots of an index take."""
    graph = 0
    if count >= options.graph_rows_min:
        graph = graph_bytes(count, index.dimension, graph_m(index, options))
    return graph + count * _ROW_BYTES


def vector_bytes(index: Index, options: EmbeddedOptions) -> int:
    """Return the bytes of memory that one more vector takes at most."""
    return 4 * index.dimension + 8 * graph_m(index, options) + 2 * _ROW_BYTES
