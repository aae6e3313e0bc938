"""Settings of the engines: options of each, and where Milvus is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.settings import BadSettings, Settings, load_settings


def bad(flags: dict[str, Any]) -> str:
    """Return what is said of bad settings, which is one line."""
    with pytest.raises(BadSettings) as caught:
        load_settings(Settings, flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "name",
    [
        field.name
        for field in dataclasses.fields(EmbeddedOptions)
        if field.name not in {"data_dir", "sync_writes"}
    ],
)
def test_each_option_of_the_engine_can_be_set(name: str) -> None:
    default = getattr(EmbeddedOptions(Path()), name)
    options = load_settings(Settings, {"embedded": {name: str(default)}}).embedded_options()
    assert getattr(options, name) == default
    assert type(getattr(options, name)) is type(default)


@pytest.mark.parametrize("name", ["data_dir", "sync_writes", "ef_serch"])
def test_option_that_the_engine_does_not_have_is_named(name: str) -> None:
    message = bad({"embedded": {name: "1"}})
    assert f"embedded: there is no option of the engine {name!r}" in message
    assert ("ef_search" in message) == (name == "ef_serch")


# --- Milvus ---------------------------------------------------------------------------------------


def test_milvus_of_this_machine_is_meant_unless_another_is_named() -> None:
    assert load_settings(Settings, {"engine": "milvus"}).milvus_options() == MilvusOptions()
    for uri in ("https://milvus.example", "http://10.0.0.1:19530/", "http://[::1]:19530"):
        assert load_settings(Settings, {"milvus_uri": uri}).milvus_options().uri == uri


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"milvus_uri": "milvus:19530"}, "milvus_uri is 'milvus:19530'"),
        ({"milvus_uri": "./milvus.db"}, "milvus_uri is './milvus.db'"),
        ({"milvus_uri": "http://a/b"}, "milvus_uri is 'http://a/b'"),
        ({"milvus": {"replicas": "0"}}, "replicas is 0; it must be 1 or more"),
        ({"milvus": {"timeout_s": "soon"}}, "milvus: timeout_s is 'soon'"),
    ],
)
def test_bad_setting_is_named_with_its_value(flags: dict[str, Any], words: str) -> None:
    assert words in bad(flags)


@pytest.mark.parametrize(
    "name",
    [
        field.name
        for field in dataclasses.fields(MilvusOptions)
        if field.name not in {"uri", "token", "database"}
    ],
)
def test_each_option_of_the_engine_on_milvus_can_be_set(name: str) -> None:
    default = getattr(MilvusOptions(), name)
    options = load_settings(Settings, {"milvus": {name: str(default)}}).milvus_options()
    assert getattr(options, name) == default
    assert type(getattr(options, name)) is type(default)


@pytest.mark.parametrize("name", ["uri", "token", "database", "ef_serch"])
def test_option_that_the_engine_on_milvus_does_not_have_is_named(name: str) -> None:
    message = bad({"milvus": {name: "1"}})
    assert f"milvus: there is no option of the engine {name!r}" in message
    assert ("ef_search" in message) == (name == "ef_serch")


def test_token_of_milvus_is_shown_in_no_error() -> None:
    words = bad({"milvus_uri": "http://me:secret@milvus:19530"})
    assert words.startswith("milvus_uri: String should match pattern")
    assert "secret" not in words
    words = bad({"milvus_token": ["secret"]})
    assert words.startswith("milvus_token")
    assert "secret" not in words
