"""Metrics as they are exposed: exactly the table, whatever the engine says or fails to say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from measured import NOTHING, NOW_S, kinds_in, made_metrics, series_in, value_in
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.model import EngineStatistics
from vectorbucket_server.observability.logs import CallRecord
from vectorbucket_server.observability.metric_table import METRICS, OTHER, PLANS_MAX
from vectorbucket_server.observability.metrics import CONTENT_TYPE, Metrics, TranslatorState

EVERYTHING = EngineStatistics(
    bucket_count=2,
    index_count=3,
    loaded_index_count=1,
    vector_count=1000,
    pending_vector_count=40,
    graph_vector_count=960,
    dead_vector_count=96,
    memory_bytes=5_000,
    memory_bytes_max=10_000,
    store_bytes=7_000,
    graph_bytes=8_000,
    disk_free_bytes=9_000,
    checkpoint_oldest_ms=int(NOW_S * 1000) - 90_000,
    writes_refused="the disk is full",
)


def call(metrics: Metrics, method: str = "QueryVectors", **facts: object) -> None:
    """Count a call."""
    record = CallRecord("ID", method, code="OK")
    metrics.calls.begin(record)
    for name, value in facts.items():
        setattr(record, name, value)
    metrics.calls.end(record)


def test_what_is_exposed_is_the_table() -> None:
    table = {metric.name: metric.kind for metric in METRICS}
    assert kinds_in(made_metrics().text()) == table
    full = made_metrics(lambda: EVERYTHING, TranslatorState(is_up=True, restart_count=0))
    call(full, reason="NoSuchBucket", code="NOT_FOUND")
    full.plan_chosen("graph", 1)
    full.backend_called("search", "ok", 0.1)
    assert kinds_in(full.text()) == table


def test_labels_and_help_are_the_tables() -> None:
    metrics = made_metrics(lambda: EVERYTHING, TranslatorState(is_up=True, restart_count=0))
    call(metrics, reason="NoSuchBucket", code="NOT_FOUND")
    metrics.plan_chosen("graph", 1)
    metrics.backend_called("search", "ok", 0.1)
    text = metrics.text()
    found: dict[str, set[str]] = {}
    for name, labels in series_in(text):
        stem = name
        for end in ("_bucket", "_sum", "_count"):
            stem = stem.removesuffix(end) if stem.endswith(f"_seconds{end}") else stem
        found.setdefault(stem, set()).update(label for label, _ in labels if label != "le")
    assert found == {metric.name: set(metric.labels) for metric in METRICS}
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.help}\n" in text


def test_engine_is_shown_as_it_says() -> None:
    text = made_metrics(lambda: EVERYTHING).text()
    shown = {
        "buckets": 2,
        "indexes": 3,
        "indexes_loaded": 1,
        "vectors": 1000,
        "vectors_pending": 40,
        "graph_vectors": 960,
        "graph_dead_ratio": 0.1,
        "index_memory_bytes": 5_000,
        "index_memory_limit_bytes": 10_000,
        "store_bytes": 7_000,
        "graph_bytes": 8_000,
        "disk_free_bytes": 9_000,
        "checkpoint_age_seconds": 90,
        "writes_refused": 1,
    }
    assert {name: value_in(text, f"vectorbucket_{name}") for name in shown} == shown


def test_what_does_not_apply_is_absent_and_a_full_disk_is_not() -> None:
    text = made_metrics().text()
    for name in ("index_memory_limit_bytes", "disk_free_bytes", "checkpoint_age_seconds"):
        assert value_in(text, f"vectorbucket_{name}") is None
    assert value_in(text, "vectorbucket_translator_up") is None
    assert value_in(text, "vectorbucket_writes_refused") == 0
    full = made_metrics(lambda: replace(EVERYTHING, disk_free_bytes=0)).text()
    assert value_in(full, "vectorbucket_disk_free_bytes") == 0


def test_checkpoint_of_a_clock_that_was_set_back_is_not_younger_than_now() -> None:
    ahead = replace(NOTHING, checkpoint_oldest_ms=int(NOW_S * 1000) + 5_000)
    assert value_in(made_metrics(lambda: ahead).text(), "vectorbucket_checkpoint_age_seconds") == 0


@pytest.mark.parametrize("error", [ServiceUnavailable("the store is gone"), KeyError("photos")])
def test_engine_that_fails_is_absent_counted_and_told_once(error: Exception) -> None:
    told: list[Exception] = []
    failing = True

    def statistics() -> EngineStatistics:
        if failing:
            raise error
        return EVERYTHING

    metrics = made_metrics(statistics, on_failure=told.append)
    call(metrics)
    for scrape in (1, 2):
        text = metrics.text()
        assert value_in(text, "vectorbucket_scrape_errors_total") == scrape
        assert value_in(text, "vectorbucket_vectors") is None
        assert value_in(text, "vectorbucket_calls_total", method="QueryVectors", code="OK") == 1
        assert kinds_in(text).keys() == {metric.name for metric in METRICS}
    assert told == [error]
    failing = False
    assert value_in(metrics.text(), "vectorbucket_vectors") == 1000
    failing = True
    metrics.text()
    assert told == [error, error]


def test_calls_are_shown_with_all_that_they_did() -> None:
    metrics = made_metrics()
    call(metrics, latency_ms=1.5, request_bytes=100, vector_count=10)
    call(metrics, latency_ms=700.0, request_bytes=100, vector_count=5)
    call(metrics, "PutVectorsBatch", vector_count=500, request_bytes=9)
    call(metrics, "DeleteVectors", vector_count=3)
    call(metrics, "GetVectors", code="NOT_FOUND", reason="NoSuchBucket")
    call(
        metrics,
        "PutVectors",
        message_count=4,
        batch_count=3,
        rejected_batch_count=1,
        vector_count=50,
    )
    text, name = metrics.text(), "vectorbucket_call_duration_seconds"
    assert value_in(text, f"{name}_count", method="QueryVectors") == 2
    assert value_in(text, f"{name}_sum", method="QueryVectors") == pytest.approx(0.7015)
    for bound, count in (("0.001", 0), ("0.002", 1), ("0.5", 1), ("1.0", 2), ("+Inf", 2)):
        assert value_in(text, f"{name}_bucket", method="QueryVectors", le=bound) == count
    assert value_in(text, "vectorbucket_request_bytes_total", method="QueryVectors") == 200
    assert value_in(text, "vectorbucket_vectors_returned_total") == 15
    assert value_in(text, "vectorbucket_vectors_acknowledged_total") == 550
    assert value_in(text, "vectorbucket_vectors_deleted_total") == 3
    assert value_in(text, "vectorbucket_call_errors_total", reason="NoSuchBucket") == 1
    assert value_in(text, "vectorbucket_stream_messages_total", direction="received") == 4
    assert value_in(text, "vectorbucket_stream_messages_total", direction="answered") == 3
    assert value_in(text, "vectorbucket_stream_batches_rejected_total") == 1


def test_calls_of_milvus_are_counted_by_outcome_and_timed_by_call() -> None:
    metrics = made_metrics()
    assert "vectorbucket_milvus_calls_total{" not in metrics.text()
    for outcome, seconds in (("ok", 0.25), ("ok", 0.5), ("rate_limited", 1.0)):
        metrics.backend_called("upsert", outcome, seconds)
    metrics.backend_called("query", "ok", 2.0)
    text = metrics.text()
    for call, outcome, count in (
        ("upsert", "ok", 2),
        ("upsert", "rate_limited", 1),
        ("query", "ok", 1),
    ):
        labels = {"call": call, "outcome": outcome}
        assert value_in(text, "vectorbucket_milvus_calls_total", **labels) == count
    assert value_in(text, "vectorbucket_milvus_call_seconds_total", call="upsert") == 1.75
    assert value_in(text, "vectorbucket_milvus_call_seconds_total", call="query") == 2.0


def test_plans_beyond_the_bound_are_one() -> None:
    metrics = made_metrics()
    for number in range(PLANS_MAX + 5):
        metrics.plan_chosen(f"plan{number}", 2)
    text = metrics.text()
    plans = [place for place in series_in(text) if place[0] == "vectorbucket_queries_total"]
    assert len(plans) == PLANS_MAX + 1
    assert value_in(text, "vectorbucket_queries_total", plan="plan3") == 2
    assert value_in(text, "vectorbucket_queries_total", plan=OTHER) == 10


def test_version_translator_and_process_are_shown() -> None:
    text = made_metrics(translator=TranslatorState(is_up=False, restart_count=2)).text()
    assert value_in(text, "vectorbucket_build_info", version="1.2.3", engine="embedded") == 1
    assert value_in(text, "vectorbucket_translator_up") == 0
    assert value_in(text, "vectorbucket_translator_restarts_total") == 2
    for name in ("resident_memory_bytes", "open_fds", "start_time_seconds", "cpu_seconds_total"):
        assert (value_in(text, f"process_{name}") or 0) > 0


def test_two_servers_of_one_process_count_apart() -> None:
    first, second = made_metrics(), made_metrics()
    call(first)
    assert value_in(first.text(), "vectorbucket_calls_total", method="QueryVectors", code="OK") == 1
    assert not [name for name, _ in series_in(second.text()) if name == "vectorbucket_calls_total"]
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
