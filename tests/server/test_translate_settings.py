"""The settings of a translator that runs alone."""

from __future__ import annotations

import os
from typing import Any

import pytest

from vectorbucket_server.settings import BadSettings, load_settings
from vectorbucket_server.translate_settings import TranslateSettings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("VECTORBUCKET_"):
            monkeypatch.delenv(name)


def test_translator_has_the_settings_of_the_door_and_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VECTORBUCKET_API_KEY", "vbk_secret")
    monkeypatch.setenv("VECTORBUCKET_REST__IDLE_TIMEOUT_S", "3")
    settings = load_settings(
        TranslateSettings, {"credentials": "a.toml", "grpc_target": "vectors:50051"}
    )
    assert settings.rest_address == "127.0.0.1:8080"
    assert settings.rest_options().idle_timeout_s == 3
    assert settings.api_key.get_secret_value() == "vbk_secret"
    assert "vbk_secret" not in repr(settings)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"credentials": "a.toml"}, "credentials are given and api_key is not"),
        ({"api_key": "vbk_secret"}, "api_key is given and credentials are not"),
        ({"rest_address": "0.0.0.0:80"}, "--insecure"),
        ({"grpc_target": ""}, "grpc_target is ''"),
        ({"grpc_ca": "a.pem"}, "grpc_tls is not switched on"),
        (
            {"grpc_client_certificate": "c.pem", "grpc_client_key": "k.pem"},
            "grpc_tls is not switched on",
        ),
        (
            {"grpc_tls": "true", "grpc_client_certificate": "c.pem"},
            "grpc_client_certificate is given and grpc_client_key is not",
        ),
        (
            {"grpc_tls": "true", "grpc_client_key": "k.pem"},
            "grpc_client_key is given and grpc_client_certificate is not",
        ),
        ({"data_dir": "x"}, "there is no setting 'data_dir'"),
    ],
)
def test_translator_that_could_not_work_is_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        load_settings(TranslateSettings, flags)


def test_key_is_shown_in_no_error() -> None:
    with pytest.raises(BadSettings, match=r"^api_key: Input should be a valid string$") as caught:
        load_settings(TranslateSettings, {"api_key": 123456})
    assert "123456" not in str(caught.value)
