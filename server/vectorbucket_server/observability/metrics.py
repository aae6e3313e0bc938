"""The metrics of one server: what it counts itself, and what the engine says when somebody asks.

Rules of this file: nothing is a global, so that servers in one process have metrics of their own;
what is exposed is the table, no more and no less; a scrape never fails because the engine does:
what cannot be said then is absent. Numbers are kept by call_tally.py and here, and made into the
library's families when somebody asks, because a call has little time: a query's four counters and
a histogram take 3 µs as the library keeps them.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from vectorbucket_server.model import EngineStatistics
from vectorbucket_server.observability.call_tally import (
    ACKNOWLEDGED,
    DELETED,
    CallTally,
    CallTotals,
)
from vectorbucket_server.observability.metric_table import (
    BACKGROUND_WORK,
    DURATION_BOUNDS_S,
    METRICS,
    OTHER,
    PLANS_MAX,
    Metric,
    work_of,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what ``text`` returns. Source: Prometheus, exposition formats."""

Samples = Iterable[tuple[tuple[str, ...], float]]
"""The values of a metric, by the values of its labels."""


@dataclass(frozen=True, slots=True)
class TranslatorState:
    """How the process that serves REST fares."""

    is_up: bool
    restart_count: int


class Metrics:
    """Counts for one server. Any thread may count and ask."""

    def __init__(
        self,
        *,
        version: str,
        engine: str,
        statistics: Callable[[], EngineStatistics],
        translator: Callable[[], TranslatorState | None],
        now_s: Callable[[], float],
        on_failure: Callable[[Exception], object],
    ) -> None:
        """Take what is asked when somebody asks.

        Args:
            version: Of the server.
            engine: What keeps the vectors, as the setting names it.
            statistics: What the engine holds; asked once a scrape.
            translator: How the process that serves REST fares; None where there is none.
            now_s: The clock: seconds since the Unix epoch.
            on_failure: Is told why the engine said nothing, the first time of several.
        """
        self.calls = CallTally()
        self._build = (version, engine)
        self._statistics = statistics
        self._translator = translator
        self._now_s = now_s
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._plans: Counter[str] = Counter()
        self._indexed_count = 0
        self._indexing_s = 0.0
        self._backend_calls: Counter[tuple[str, str]] = Counter()
        self._backend_s: defaultdict[str, float] = defaultdict(float)
        self._failures = Counter(dict.fromkeys((*BACKGROUND_WORK, OTHER), 0))
        self._scrape_errors = 0
        self._is_failing = False
        self._process = ProcessCollector(registry=None)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collected(self._families))

    # --- What the engine tells --------------------------------------------------------------------

    def plan_chosen(self, plan: str, query_count: int) -> None:
        """Count queries that ran by a plan."""
        with self._lock:
            if plan not in self._plans and len(self._plans) >= PLANS_MAX:
                plan = OTHER
            self._plans[plan] += query_count

    def vectors_indexed(self, count: int, seconds: float) -> None:
        """Count vectors that were put into a graph."""
        with self._lock:
            self._indexed_count += count
            self._indexing_s += seconds

    def backend_called(self, call: str, outcome: str, seconds: float) -> None:
        """Count a call that the engine made of the service that keeps its data."""
        with self._lock:
            self._backend_calls[call, outcome] += 1
            self._backend_s[call] += seconds

    def background_failed(self, what: str) -> None:
        """Count a failure behind the calls, by the kind of work."""
        with self._lock:
            self._failures[work_of(what)] += 1

    # --- What is exposed --------------------------------------------------------------------------

    def text(self) -> str:
        """Return all metrics as they are now, in the text format of Prometheus."""
        return generate_latest(self._registry).decode()

    def _families(self) -> Iterator[Family]:
        """Yield every metric of the table."""
        totals = self.calls.totals()
        found = {**self._of_engine(), **_of_calls(totals), **self._of_background()}
        found["vectorbucket_build_info"] = [(self._build, 1)]
        state = self._translator()
        if state is not None:
            found["vectorbucket_translator_up"] = [((), state.is_up)]
            found["vectorbucket_translator_restarts_total"] = [((), state.restart_count)]
        process = {_name_of(family): family for family in self._process.collect()}
        for metric in METRICS:
            family = process.get(metric.name)
            if metric.kind == "histogram":
                yield _durations(metric, totals)
            elif family is not None:
                family.documentation = metric.help
                yield family
            else:
                yield _family(metric, found.get(metric.name, ()))

    def _of_engine(self) -> dict[str, Samples]:
        """Return what the engine says, which is nothing if it cannot."""
        try:
            samples = dict(_of_statistics(self._statistics(), self._now_s()))
        except Exception as error:  # noqa: BLE001 - a scrape says what it can, whatever fails
            with self._lock:
                self._scrape_errors += 1
                was_failing, self._is_failing = self._is_failing, True
            if not was_failing:
                self._on_failure(error)
            return {}
        self._is_failing = False
        return samples

    def _of_background(self) -> dict[str, Samples]:
        with self._lock:
            return {
                "vectorbucket_queries_total": _by_one(dict(self._plans)),
                "vectorbucket_vectors_indexed_total": [((), self._indexed_count)],
                "vectorbucket_indexing_seconds_total": [((), self._indexing_s)],
                "vectorbucket_milvus_calls_total": sorted(self._backend_calls.items()),
                "vectorbucket_milvus_call_seconds_total": _by_one(dict(self._backend_s)),
                "vectorbucket_background_failures_total": _by_one(dict(self._failures)),
                "vectorbucket_scrape_errors_total": [((), self._scrape_errors)],
            }


class _Collected(Collector):
    """What a registry asks."""

    def __init__(self, collect: Callable[[], Iterable[Family]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Family]:
        """Return the metrics."""
        return self._collect()


def _of_calls(totals: CallTotals) -> dict[str, Samples]:
    """Return what calls add up to."""
    methods = totals.methods
    every = list(methods.values())
    returned = frozenset(methods) - ACKNOWLEDGED - DELETED
    return {
        "vectorbucket_calls_total": [
            ((name, code), count)
            for name, one in methods.items()
            for code, count in one.codes.items()
        ],
        "vectorbucket_calls_under_way": _by_one(totals.under_way),
        "vectorbucket_call_errors_total": _by_one(totals.errors),
        "vectorbucket_request_bytes_total": [
            ((name,), one.request_bytes) for name, one in methods.items()
        ],
        "vectorbucket_stream_messages_total": [
            (("received",), sum(one.message_count for one in every)),
            (("answered",), sum(one.batch_count for one in every)),
        ],
        "vectorbucket_stream_batches_rejected_total": [
            ((), sum(one.rejected_batch_count for one in every))
        ],
        "vectorbucket_vectors_acknowledged_total": [((), totals.vectors(ACKNOWLEDGED))],
        "vectorbucket_vectors_returned_total": [((), totals.vectors(returned))],
        "vectorbucket_vectors_deleted_total": [((), totals.vectors(DELETED))],
    }


def _of_statistics(statistics: EngineStatistics, now_s: float) -> Iterator[tuple[str, Samples]]:
    """Yield what an engine says of itself; what does not apply to it is left out."""
    graph_vectors = statistics.graph_vector_count
    values: dict[str, float] = {
        "vectorbucket_buckets": statistics.bucket_count,
        "vectorbucket_indexes": statistics.index_count,
        "vectorbucket_indexes_loaded": statistics.loaded_index_count,
        "vectorbucket_vectors": statistics.vector_count,
        "vectorbucket_vectors_pending": statistics.pending_vector_count,
        "vectorbucket_graph_vectors": graph_vectors,
        "vectorbucket_graph_dead_ratio": statistics.dead_vector_count / max(graph_vectors, 1),
        "vectorbucket_index_memory_bytes": statistics.memory_bytes,
        "vectorbucket_store_bytes": statistics.store_bytes,
        "vectorbucket_graph_bytes": statistics.graph_bytes,
        "vectorbucket_writes_refused": bool(statistics.writes_refused),
    }
    if statistics.memory_bytes_max:
        values["vectorbucket_index_memory_limit_bytes"] = statistics.memory_bytes_max
    if statistics.store_bytes or statistics.graph_bytes or statistics.disk_free_bytes:
        # Or a full disk, which has nothing free, would look like none.
        values["vectorbucket_disk_free_bytes"] = statistics.disk_free_bytes
    if statistics.checkpoint_oldest_ms is not None:
        age_s = now_s - statistics.checkpoint_oldest_ms / 1e3
        values["vectorbucket_checkpoint_age_seconds"] = max(age_s, 0.0)
    for name, value in values.items():
        yield name, [((), value)]


def _by_one(counts: Mapping[str, float]) -> Samples:
    """Return counts as the values of a metric with one label."""
    return [((value,), count) for value, count in counts.items()]


def _family(metric: Metric, samples: Samples) -> Family:
    """Return a metric with its values, as the library wants it."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _durations(metric: Metric, totals: CallTotals) -> Family:
    """Return the histogram of durations."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(floatToGoString, DURATION_BOUNDS_S), "+Inf"]
    for name, one in totals.methods.items():
        # A class holds what is in the smaller ones, too.
        counts = accumulate(one.durations)
        family.add_metric([name], list(zip(bounds, counts, strict=True)), one.seconds)
    return family


def _name_of(family: Family) -> str:
    """Return what a family of the library's own is exposed as."""
    return f"{family.name}_total" if family.type == "counter" else family.name
