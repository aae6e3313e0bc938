"""Tests of bench_mixed.py: queries are measured alone and beside loads that really put."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench_mixed import loading, put_during_query
from bench_session import BUCKET, INDEX_NAME, Session, Settings
from vectorbucket import Client

SETTINGS = Settings(vectors=600, dimension=8, seed=1, data=None, repeats=1, seconds=0.2)


def test_queries_are_measured_beside_a_load() -> None:
    with Session(SETTINGS, Console(file=io.StringIO())) as session:
        result = put_during_query(session)
    cases = {case.name: case for case in result.cases}
    beside = ["beside 3,000 vectors/s", "beside a stream unthrottled"]
    assert list(cases) == [
        "idle",
        beside[0],
        f"{beside[0]}: acknowledged",
        beside[1],
        f"{beside[1]}: acknowledged",
    ]
    assert cases["idle"].recall_at_10 == 1.0
    for name in beside:
        assert 0 < cases[name].count <= cases["idle"].count
        assert cases[name].recall_at_10 is None
    paced, pace, asked, unthrottled = result.ratios
    assert (paced.at_most, unthrottled.at_most) == (5.0, None)
    assert paced.value > 0
    assert (pace.name, pace.at_least) == ("acknowledged to the pace", 0.95)
    assert pace.value == pytest.approx(cases[f"{beside[0]}: acknowledged"].count / 3_000)
    assert (asked.name, asked.at_least) == (f"queries {beside[0]} to idle queries", 1.0)
    assert asked.value == cases[beside[0]].count / cases["idle"].count


def test_load_puts_while_the_block_runs_and_says_how_much() -> None:
    with (
        Session(SETTINGS, Console(file=io.StringIO())) as session,
        session.server() as server,
        Client(server.target) as client,
    ):
        with loading(server.target, session.dataset.data, 0) as load:
            # Begun, so that there is something.
            assert client.get_vector_index(BUCKET, INDEX_NAME).vector_count
            while (client.get_vector_index(BUCKET, INDEX_NAME).vector_count or 0) < 2_000:
                pass
        put = client.get_vector_index(BUCKET, INDEX_NAME).vector_count
        assert put is not None
        assert put >= 2_000
        assert put % 500 == 0
        assert load.per_second > 0
        assert client.get_vector_index(BUCKET, INDEX_NAME).vector_count == put


def test_load_that_fails_is_an_error() -> None:
    with (
        Session(SETTINGS, Console(file=io.StringIO())) as session,
        session.server() as server,
        pytest.raises(RuntimeError, match="did not begin"),
        loading(server.target, session.dataset.data[:, :3], 0),
    ):
        pass
