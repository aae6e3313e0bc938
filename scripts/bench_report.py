"""What a workload found, as a table for people and as one JSON line for programs.

Rules of this file: it measures nothing but the machine; every speed stands beside the recall that
it was had at, and every ratio is to what was measured in the same run.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from vectorbucket import __version__

_PACKAGES = ("grpcio", "hnswlib", "numpy", "protobuf", "rocksdict")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was measured."""

    name: str
    unit: str
    """What is counted: vectors, queries, MB."""
    count: int
    seconds: float | None = None
    """None where no time was taken."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    recall_at_10: float | None = None
    """None where nothing was searched."""
    ratio: float | None = None
    """How many times its reference's figure, where a case has a reference of its own."""

    @property
    def per_second(self) -> float | None:
        """Throughput."""
        return self.count / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure that means something on any machine, and what it is to be."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is what it is to be; None where nothing is asked of it."""
        if self.at_least is None and self.at_most is None:
            return None
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= self.value <= high

    def __str__(self) -> str:
        wanted = [
            f"{words} {bound:g}"
            for words, bound in (("at least", self.at_least), ("at most", self.at_most))
            if bound is not None
        ]
        told = f"{self.name}: {self.value:.3g}"
        if wanted:
            told += f" ({', '.join(wanted)}: {'met' if self.met else 'MISSED'})"
        return told


@dataclass(frozen=True, slots=True)
class Result:
    """What a workload found."""

    workload: str
    cases: Sequence[Case]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = ()
    """What the figures depend on beside what holds for all of a run."""


def case_of(
    name: str,
    unit: str,
    *,
    count: int,
    seconds: float,
    latencies_s: Sequence[float],
    recall_at_10: float | None = None,
) -> Case:
    """Return a case with the percentiles of its latencies.

    Raises:
        ValueError: There are no latencies.
    """
    if not latencies_s:
        raise ValueError(f"nothing was measured of {name}")
    p50, p99 = np.percentile(np.asarray(latencies_s) * 1_000, [50, 99])
    return Case(name, unit, count, seconds, float(p50), float(p99), recall_at_10)


def machine_facts() -> dict[str, Any]:
    """Return what the figures depend on beside the program: processor, memory, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "vectorbucket": __version__,
        **{name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    """Return the processor's name, as far as the system tells."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def json_line(result: Result, facts: Mapping[str, Any]) -> str:
    """Return a result and the facts it was had under as one line of JSON."""
    cases = [{**asdict(case), "per_second": case.per_second} for case in result.cases]
    ratios = [{**asdict(ratio), "met": ratio.met} for ratio in result.ratios]
    return json.dumps(
        {
            "workload": result.workload,
            **facts,
            "notes": list(result.notes),
            "cases": [{name: _rounded(value) for name, value in case.items()} for case in cases],
            "ratios": [{name: _rounded(value) for name, value in one.items()} for one in ratios],
        }
    )


def _rounded(value: Any) -> Any:
    """Return a float with as many digits as mean something."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def table_of(result: Result) -> Table:
    """Return a result as a table."""
    table = Table(
        title=result.workload,
        caption="\n".join([*map(str, result.ratios), *result.notes]) or None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    names = ["count", "seconds", "per second", "p50 ms", "p99 ms", "recall@10"]
    if has_ratios := any(case.ratio is not None for case in result.cases):
        names.append("ratio")
    table.add_column("case", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for case in result.cases:
        row = [
            case.name,
            f"{case.count:,} {case.unit}",
            _shown(case.seconds, ".2f"),
            _shown(case.per_second, ",.0f"),
            _shown(case.p50_ms, ".2f"),
            _shown(case.p99_ms, ".2f"),
            _shown(case.recall_at_10, ".4f"),
        ]
        table.add_row(*row, *([_shown(case.ratio, ".2f")] if has_ratios else []))
    return table


def _shown(value: float | None, form: str) -> str:
    """Return a figure in its form, nothing where there is none."""
    return "" if value is None else format(value, form)
