"""The table of metrics: what each is called, what it counts, and by what it is told apart.

Rules of this file: a metric that is not in the table is not exposed, and README's table is made of
it. A name ends in its unit, a counter's in ``_total``. A label has few values, however many callers
there are: no bucket, index, key, credential or address is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
"""``counter``: only grows, until the process ends. ``gauge``: as it is now. ``histogram``: how many
were how large."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """As it is exposed; of a histogram, without ``_bucket``, ``_sum`` and ``_count``."""
    kind: Kind
    unit: str
    """What one is."""
    help: str
    """What it is, in a sentence."""
    labels: tuple[str, ...] = ()
    """What tells its series apart."""


METRICS: tuple[Metric, ...] = (
    # --- Calls ------------------------------------------------------------------------------------
    Metric(
        "vectorbucket_calls_total", "counter", "calls",
        "Calls that ended, by RPC and gRPC status code; what is no RPC of the server is `unknown`.",
        ("method", "code"),
    ),
    Metric(
        "vectorbucket_call_duration_seconds", "histogram", "seconds",
        "How long calls took, by RPC; a stream counts when it ends, with its whole life.",
        ("method",),
    ),
    Metric(
        "vectorbucket_calls_under_way", "gauge", "calls",
        "Calls that are being served, by kind: `unary` or `stream`.",
        ("kind",),
    ),
    Metric(
        "vectorbucket_call_errors_total", "counter", "calls",
        "Calls that ended with an error, by its code in the table of errors; `QpsLimitExceeded` is "
        "what was refused for being too much.",
        ("reason",),
    ),
    Metric(
        "vectorbucket_request_bytes_total", "counter", "bytes",
        "Bytes of request messages, by RPC, as they arrived.",
        ("method",),
    ),
    Metric(
        "vectorbucket_stream_messages_total", "counter", "messages",
        "Messages of put streams, by direction: `received`, or `answered` once they are durable or "
        "rejected.",
        ("direction",),
    ),
    Metric(
        "vectorbucket_stream_batches_rejected_total", "counter", "messages",
        "Messages of put streams that were answered with an error.",
    ),
    Metric(
        "vectorbucket_vectors_acknowledged_total", "counter", "vectors",
        "Vectors that were stored, and said to be.",
    ),
    Metric(
        "vectorbucket_vectors_returned_total", "counter", "vectors",
        "Vectors that were read or listed, and hits of queries.",
    ),
    Metric(
        "vectorbucket_vectors_deleted_total", "counter", "vectors",
        "Keys that callers had deleted, whether there was a vector or not.",
    ),
    Metric(
        "vectorbucket_queries_total", "counter", "queries",
        "Queries, by the plan that the engine chose.",
        ("plan",),
    ),
    # --- Behind the calls -------------------------------------------------------------------------
    Metric(
        "vectorbucket_vectors_indexed_total", "counter", "vectors",
        "Vectors that were put into graphs.",
    ),
    Metric(
        "vectorbucket_indexing_seconds_total", "counter", "seconds",
        "Time that putting vectors into graphs took.",
    ),
    Metric(
        "vectorbucket_milvus_calls_total", "counter", "calls",
        "Calls that the engine made of Milvus, by method and outcome: `ok`, `missing`, `unloaded`, "
        "`rate_limited`, `unavailable`, `failed`.",
        ("call", "outcome"),
    ),
    Metric(
        "vectorbucket_milvus_call_seconds_total", "counter", "seconds",
        "Time that these calls took, by method.",
        ("call",),
    ),
    Metric(
        "vectorbucket_background_failures_total", "counter", "failures",
        "Work behind the calls that failed and will be tried again, by kind; the log says why.",
        ("work",),
    ),
    Metric(
        "vectorbucket_scrape_errors_total", "counter", "scrapes",
        "Scrapes in which the engine could not say how it is: what it says is missing there.",
    ),
    # --- What is there ----------------------------------------------------------------------------
    Metric("vectorbucket_buckets", "gauge", "buckets", "Buckets of all accounts."),
    Metric("vectorbucket_indexes", "gauge", "indexes", "Indexes of all buckets."),
    Metric("vectorbucket_indexes_loaded", "gauge", "indexes", "Indexes that are in memory."),
    Metric("vectorbucket_vectors", "gauge", "vectors", "Vectors of all indexes."),
    Metric(
        "vectorbucket_vectors_pending", "gauge", "vectors",
        "Vectors of loaded indexes that are in no graph yet; queries find them by exact scans.",
    ),
    Metric(
        "vectorbucket_graph_vectors", "gauge", "vectors",
        "Vectors in the graphs of loaded indexes, the dead ones included.",
    ),
    Metric(
        "vectorbucket_graph_dead_ratio", "gauge", "share",
        "Share of these that were deleted or replaced since, 0 to 1.",
    ),
    Metric(
        "vectorbucket_index_memory_bytes", "gauge", "bytes",
        "Memory that loaded indexes take, about.",
    ),
    Metric(
        "vectorbucket_index_memory_limit_bytes", "gauge", "bytes",
        "Memory that they may take; absent where there is no bound.",
    ),
    Metric("vectorbucket_store_bytes", "gauge", "bytes", "Files of the store."),
    Metric(
        "vectorbucket_graph_bytes", "gauge", "bytes",
        "Files of graphs and of what belongs to them.",
    ),
    Metric(
        "vectorbucket_disk_free_bytes", "gauge", "bytes",
        "What is free of the disk that holds the data; absent where nothing is kept on one.",
    ),
    Metric(
        "vectorbucket_checkpoint_age_seconds", "gauge", "seconds",
        "Age of the oldest among the newest checkpoints of loaded indexes; absent without any.",
    ),
    Metric(
        "vectorbucket_writes_refused", "gauge", "0 or 1",
        "Whether writes are refused just now, for want of room on the disk or because it fails.",
    ),
    # --- The processes ----------------------------------------------------------------------------
    Metric(
        "vectorbucket_build_info", "gauge", "1",
        "Always 1; the labels say which version runs, and over which engine.",
        ("version", "engine"),
    ),
    Metric(
        "vectorbucket_translator_up", "gauge", "0 or 1",
        "Whether the process that serves REST runs; absent where there is none beside the server.",
    ),
    Metric(
        "vectorbucket_translator_restarts_total", "counter", "starts",
        "How often that process ended by itself and was started again.",
    ),
    Metric(
        "process_virtual_memory_bytes", "gauge", "bytes", "Address space of the server's process.",
    ),
    Metric(
        "process_resident_memory_bytes", "gauge", "bytes",
        "Memory of the server's process that is in use, files that it has mapped included.",
    ),
    Metric(
        "process_start_time_seconds", "gauge", "seconds",
        "When the server's process started, since the Unix epoch.",
    ),
    Metric(
        "process_cpu_seconds_total", "counter", "seconds",
        "Processor time of the server's process, its own and the system's for it.",
    ),
    Metric("process_open_fds", "gauge", "descriptors", "File descriptors that are open."),
    Metric("process_max_fds", "gauge", "descriptors", "File descriptors that may be open."),
)  # fmt: skip
"""Every metric, in the order of README's table."""

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
"""The table's rows by name."""

BACKGROUND_WORK = ("checkpoint", "indexing", "loading", "rebuild", "removal", "writes")
"""Kinds of work behind the calls, as the label says; what an engine does beside is ``other``."""

OTHER = "other"
"""The value of a label for whatever is not foreseen, or would be one too many."""

PLANS_MAX = 16
"""Plans that are told apart; further ones, which no engine has today, are ``other`` together."""

DURATION_BOUNDS_S = (
    0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
    30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the classes of durations: a bare query takes less than a millisecond, a batch of
the largest size under load seconds."""


def work_of(what: str) -> str:
    """Return the kind of work that an engine says in words, which may name an index."""
    words = what.partition("'")[0].split()
    return next((word for word in words if word in BACKGROUND_WORK), OTHER)
