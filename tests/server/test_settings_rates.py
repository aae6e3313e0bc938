"""Settings of rates: a profile, what is set over it, and from where both come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vectorbucket_server.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("VECTORBUCKET_"):
            monkeypatch.delenv(name)


def test_rates_are_off_until_a_profile_or_a_rate_is_set() -> None:
    documented = {"PutVectors": 5.0, "PutVectorIndex": 5.0}
    assert load_settings(Settings, {}).rates() == {}
    assert load_settings(Settings, {"rate_limits": "oss"}).rates() == documented
    own = {"QueryVectors": "100", "PutVectors": "0.5"}
    assert load_settings(Settings, {"rate_limit": own}).rates() == {
        "QueryVectors": 100.0,
        "PutVectors": 0.5,
    }
    both = load_settings(Settings, {"rate_limits": "oss", "rate_limit": own})
    assert both.rates() == documented | {"QueryVectors": 100.0, "PutVectors": 0.5}


def test_rates_come_from_the_environment_and_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    config.write_text('rate_limits = "oss"\n[rate_limit]\nGetVectors = 3\nQueryVectors = 1\n')
    monkeypatch.setenv("VECTORBUCKET_RATE_LIMIT__QueryVectors", "7")
    monkeypatch.setenv("VECTORBUCKET_RATE_LIMIT__LISTVECTORS", "8")
    rates = load_settings(Settings, {}, config).rates()
    assert rates["ListVectors"] == 8.0
    assert rates["GetVectors"] == 3.0
    assert rates["QueryVectors"] == 7.0
