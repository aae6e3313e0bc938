"""Metrics in tests: made over an engine that says what it is told to, and read as Prometheus does.

Rules of this file: the text is read with the library's own parser, so that what is found in it is
what a scraper finds; what is right is said by the tests alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from vectorbucket_server.auth.api_keys import hash_api_key
from vectorbucket_server.model import EngineStatistics
from vectorbucket_server.observability.metrics import Metrics, TranslatorState

NOW_S = 1_800_000_000.0
"""The clock of metrics that are made here."""

NOTHING = EngineStatistics(0, 0, 0, 0, 0)
"""An engine without anything."""

OPERATOR_KEY = "vbk_operator"
OWNER_KEY = "vbk_owner"

CREDENTIALS = "".join(
    f"""
[[credential]]
name = "{name}"
account_id = "1234567890"
api_keys = ["{hash_api_key(key)}"]
{name} = true
"""
    for name, key in (("operator", OPERATOR_KEY), ("owner", OWNER_KEY))
)
"""Who may see metrics, and who may not."""

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""


def made_metrics(
    statistics: Callable[[], EngineStatistics] = lambda: NOTHING,
    translator: TranslatorState | None = None,
    on_failure: Callable[[Exception], object] = lambda _: None,
) -> Metrics:
    """Return metrics of no server."""
    return Metrics(
        version="1.2.3",
        engine="embedded",
        statistics=statistics,
        translator=lambda: translator,
        now_s=lambda: NOW_S,
        on_failure=on_failure,
    )


def kinds_in(text: str) -> dict[str, str]:
    """Return the kind of every metric in a text, by the name that it is exposed under."""
    words = [line.split() for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len({name for _, _, name, _ in words}) == len(words)
    return {name: kind for _, _, name, kind in words}


def series_in(text: str) -> Series:
    """Return every value in a text."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            place = (sample.name, frozenset(sample.labels.items()))
            assert place not in found
            found[place] = sample.value
    return found


def value_in(text: str, name: str, **labels: str) -> float | None:
    """Return the value of a metric with exactly these labels; None if there is none."""
    return series_in(text).get((name, frozenset(labels.items())))
