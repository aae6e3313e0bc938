"""Settings: four sources, one order, and errors that name what is wrong."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from vectorbucket.limits import OSS, UNBOUNDED, UNLIMITED, Limits, MetadataTypes
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.settings import BadSettings, Settings, load_settings
from vectorbucket_server.translate_settings import TranslateSettings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("VECTORBUCKET_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "server.toml"


def bad(flags: dict[str, Any], config: Path | None = None) -> str:
    """Return what is said of bad settings, which is one line."""
    with pytest.raises(BadSettings) as caught:
        load_settings(Settings, flags, config)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- Sources --------------------------------------------------------------------------------------


def test_defaults_serve_loopback_with_the_documented_limits() -> None:
    settings = load_settings(Settings, {})
    assert settings.grpc_address == "127.0.0.1:50051"
    assert settings.data_dir == Path("vectorbucket-data")
    assert settings.request_limits() == OSS
    assert settings.embedded_options() == EmbeddedOptions(Path("vectorbucket-data"))
    assert (settings.account_id, settings.region) == ("1234567890", "cn-hangzhou")
    assert settings.streams_max == 32
    assert settings.bucket_logs() == Path("vectorbucket-data/bucket-logs")
    assert settings.backups() == Path("vectorbucket-data/backups")


def test_flags_win_over_environment_over_file_over_defaults(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("streams_max = 1\nunary_workers = 1\ndrain_grace_s = 1\n")
    monkeypatch.setenv("VECTORBUCKET_STREAMS_MAX", "2")
    monkeypatch.setenv("VECTORBUCKET_UNARY_WORKERS", "2")
    settings = load_settings(Settings, {"streams_max": "3"}, config)
    assert (settings.streams_max, settings.unary_workers) == (3, 2)
    assert (settings.drain_grace_s, settings.log_level) == (1.0, "info")


def test_tables_are_merged_name_by_name(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("[limit]\ntop_k_max = 1\nput_vectors_max = 1\nget_vectors_max = 1\n")
    monkeypatch.setenv("VECTORBUCKET_LIMIT__TOP_K_MAX", "2")
    monkeypatch.setenv("VECTORBUCKET_LIMIT__PUT_VECTORS_MAX", "2")
    limits = load_settings(Settings, {"limit": {"top_k_max": "3"}}, config).request_limits()
    assert (limits.top_k_max, limits.put_vectors_max, limits.get_vectors_max) == (3, 2, 1)
    assert limits.delete_vectors_max == OSS.delete_vectors_max


def test_environment_names_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('region = "eu-central-1"\n')
    monkeypatch.setenv("VECTORBUCKET_CONFIG", str(config))
    assert load_settings(Settings, {}).region == "eu-central-1"


def test_file_can_say_everything(config: Path) -> None:
    config.write_text(
        """
        data_dir = "/srv/vectors"
        grpc_address = "0.0.0.0:50051"
        insecure = true
        engine = "memory"
        limits = "unlimited"
        metadata_types = "strings"
        account_id = "42"
        region = "eu-central-1"
        sync_writes = false
        streams_max = 5
        unary_workers = 6
        in_flight_bytes_max = 7000000
        milvus_uri = "https://milvus.example:19530"
        milvus_token = "me:secret"
        milvus_database = "vectors"
        drain_grace_s = 0.5
        drain_notice_s = 5
        first_message_timeout_s = 30
        health = false
        reflection = false
        rate_limits = "oss"
        log_format = "console"
        log_level = "debug"
        credentials = "/etc/vectors.toml"
        tls_certificate = "/etc/tls.crt"
        tls_key = "/etc/tls.key"
        tls_client_ca = "/etc/ca.crt"
        rest_address = "127.0.0.1:8080"
        metrics_address = "127.0.0.1:9100"
        otlp_endpoint = "http://collector.example:4317"
        rest_base_domains = ["a.example", "B.example:8080"]
        rest_public_endpoint = "vectors.example.com"
        bucket_log_dir = "/var/log/vectors"
        backup_dir = "/var/backups/vectors"
        bucket_log_rotate_s = 60
        bucket_log_bytes_max = 5000

        [rest]
        idle_timeout_s = 5

        [limit]
        top_k_max = 1000

        [rate_limit]
        QueryVectors = 100

        [embedded]
        m = 32
        turn_target_s = 0.01

        [milvus]
        replicas = 2
        """
    )
    settings = load_settings(Settings, {}, config)
    assert set(settings.model_fields_set) == set(Settings.model_fields)
    assert settings.request_limits() == dataclasses.replace(
        UNLIMITED, top_k_max=1000, metadata_types=MetadataTypes.STRINGS
    )
    assert settings.rest_base_domains == ("a.example", "b.example:8080")
    assert settings.rest_options() == RestOptions(idle_timeout_s=5.0, drain_grace_s=0.5)
    options = settings.embedded_options()
    assert (options.data_dir, options.sync_writes) == (Path("/srv/vectors"), False)
    assert (options.m, options.turn_target_s) == (32, 0.01)
    assert settings.milvus_options() == MilvusOptions(
        "https://milvus.example:19530", "me:secret", "vectors", replicas=2
    )


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "DATA_DIR": "/srv",
        "GRPC_ADDRESS": "[::]:1",
        "INSECURE": "true",
        "ENGINE": "memory",
        "LIMITS": "unlimited",
        "LIMIT__TOP_K_MAX": "7",
        "METADATA_TYPES": "strings",
        "ACCOUNT_ID": "42",
        "REGION": "x",
        "SYNC_WRITES": "false",
        "EMBEDDED__M": "8",
        "MILVUS_URI": "http://milvus:19530",
        "MILVUS_TOKEN": "secret",
        "MILVUS_DATABASE": "vectors",
        "MILVUS__SHARDS": "2",
        "STREAMS_MAX": "1",
        "UNARY_WORKERS": "2",
        "IN_FLIGHT_BYTES_MAX": "3",
        "DRAIN_GRACE_S": "4",
        "DRAIN_NOTICE_S": "5",
        "FIRST_MESSAGE_TIMEOUT_S": "30",
        "HEALTH": "false",
        "REFLECTION": "false",
        "RATE_LIMITS": "oss",
        "RATE_LIMIT__QueryVectors": "100",
        "LOG_FORMAT": "console",
        "LOG_LEVEL": "error",
        "CREDENTIALS": "/etc/vectors.toml",
        "TLS_CERTIFICATE": "/etc/tls.crt",
        "TLS_KEY": "/etc/tls.key",
        "TLS_CLIENT_CA": "/etc/ca.crt",
        "REST_ADDRESS": "127.0.0.1:0",
        "METRICS_ADDRESS": "127.0.0.1:0",
        "OTLP_ENDPOINT": "https://collector.example:4317/",
        "REST_BASE_DOMAINS": "a.example, b.example",
        "REST_PUBLIC_ENDPOINT": "c.example",
        "REST__BODY_BYTES_MAX": "1000",
        "BUCKET_LOG_DIR": "/var/log/vectors",
        "BACKUP_DIR": "/var/backups/vectors",
        "BUCKET_LOG_ROTATE_S": "60",
        "BUCKET_LOG_BYTES_MAX": "5000",
    }
    for name, value in said.items():
        monkeypatch.setenv(f"VECTORBUCKET_{name}", value)
    settings = load_settings(Settings, {})
    assert set(settings.model_fields_set) == set(Settings.model_fields)
    assert settings.limit == {"top_k_max": 7}
    assert settings.embedded == {"m": 8}
    assert settings.milvus_options() == MilvusOptions(
        "http://milvus:19530", "secret", "vectors", shards=2
    )
    assert settings.rest == {"body_bytes_max": 1000}
    assert settings.rest_base_domains == ("a.example", "b.example")


def test_variables_that_belong_to_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client's command has twins of its flags under the same prefix.
    monkeypatch.setenv("VECTORBUCKET_TARGET", "127.0.0.1:50051")
    assert load_settings(Settings, {}).model_fields_set == set()


# --- Limits ---------------------------------------------------------------------------------------


def test_profile_unlimited_is_the_one_of_the_contract() -> None:
    assert load_settings(Settings, {"limits": "unlimited"}).request_limits() == UNLIMITED


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_each_limit_can_be_set_by_itself(name: str) -> None:
    default = getattr(OSS, name)
    value: Any
    if name == "metadata_types":
        text, value = "strings", MetadataTypes.STRINGS
    elif isinstance(default, bool):
        text, value = "true", True
    else:
        text, value = str(default), default
    limits = load_settings(Settings, {"limit": {name: text}}).request_limits()
    assert getattr(limits, name) == value
    assert type(getattr(limits, name)) is type(default)


def test_metadata_types_has_a_setting_of_its_own_that_its_limit_overrides() -> None:
    strings = {"metadata_types": "strings"}
    assert load_settings(Settings, strings).request_limits().metadata_types is MetadataTypes.STRINGS
    both = load_settings(Settings, strings | {"limit": {"metadata_types": "all"}})
    assert both.request_limits().metadata_types is MetadataTypes.ALL


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"top_k": "5"}, "limit: there is no limit 'top_k'; there is top_k_max"),
        ({"nonsense": "5"}, "limit: there is no limit 'nonsense'"),
        ({"top_k_max": "many"}, "limit: top_k_max is 'many'"),
        ({"top_k_max": "0"}, "limit top_k_max is 0"),
        ({"top_k_max": str(UNBOUNDED + 1)}, "limit top_k_max is 2147483648"),
        ({"list_vectors_default": "2000"}, "limit list_vectors_default is 2000"),
        ({"metadata_types": "numbers"}, "limit: metadata_types is 'numbers'"),
    ],
)
def test_bad_limit_is_named(table: dict[str, str], words: str) -> None:
    assert words in bad({"limit": table})


# --- Bad settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"stream_max": "1"}, "there is no setting 'stream_max'"),
        ({"streams_max": "none"}, "streams_max is 'none'"),
        ({"streams_max": "0"}, "greater than or equal to 1"),
        ({"unary_workers": "0"}, "unary_workers is '0'"),
        ({"drain_grace_s": "-1"}, "drain_grace_s is '-1'"),
        ({"in_flight_bytes_max": "0"}, "in_flight_bytes_max is '0'"),
        ({"drain_notice_s": "-1"}, "drain_notice_s is '-1'"),
        ({"first_message_timeout_s": "0"}, "first_message_timeout_s is '0'"),
        ({"rate_limits": "all"}, "rate_limits is 'all'"),
        ({"rate_limit": {"QueryVector": "1"}}, "rate_limit: there is no operation 'QueryVector'"),
        ({"rate_limit": {"QueryVectors": "0"}}, "rate_limit: QueryVectors is '0'"),
        ({"engine": "faiss"}, "engine is 'faiss'"),
        ({"limits": "none"}, "limits is 'none'"),
        ({"metadata_types": "numbers"}, "metadata_types is 'numbers'"),
        ({"account_id": "me"}, "account_id is 'me'"),
        ({"region": ""}, "region is ''"),
        ({"log_level": "loud"}, "log_level is 'loud'"),
        ({"insecure": "perhaps"}, "insecure is 'perhaps'"),
        ({"grpc_address": "localhost"}, "'localhost' is no HOST:PORT"),
        ({"grpc_address": "::1:50051"}, "'::1:50051' is no HOST:PORT"),
        ({"grpc_address": "127.0.0.1:65536"}, "no port from 0 to 65535"),
        ({"grpc_address": "127.0.0.1:-1"}, "no port from 0 to 65535"),
        ({"streams_max": "0", "region": ""}, "; streams_max is '0'"),
        ({"rest_address": "8080"}, "'8080' is no HOST:PORT"),
        ({"metrics_address": "9100"}, "'9100' is no HOST:PORT"),
        ({"otlp_endpoint": "localhost:4317"}, "otlp_endpoint is 'localhost:4317'"),
        ({"otlp_endpoint": "http://a/v1/traces"}, "otlp_endpoint is 'http://a/v1/traces'"),
        ({"rest_base_domains": "a b"}, "'a b' is no host name"),
        ({"rest_base_domains": "a.example,-"}, "'-' is no host name"),
        ({"rest_public_endpoint": "http://a"}, "'http://a' is no host name"),
        ({"rest": {"body_bytes": "1"}}, "there is no option of REST 'body_bytes'; there is body_"),
        ({"rest": {"drain_grace_s": "1"}}, "there is no option of REST 'drain_grace_s'"),
        ({"bucket_log_rotate_s": "0"}, "bucket_log_rotate_s is '0'"),
        ({"bucket_log_bytes_max": "1"}, "bucket_log_bytes_max is '1'"),
    ],
)
def test_bad_setting_is_named_with_its_value(flags: dict[str, Any], words: str) -> None:
    assert words in bad(flags)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "there is no setting 'colour'"),
        ("[limits]\ntop_k_max = 1", "limits is"),
        ("[embeded]\nm = 1", "there is no setting 'embeded'"),
        ("streams_max", "server.toml cannot be read"),
        ("streams_max = 0", "streams_max is 0"),
    ],
)
def test_bad_file_is_named_with_what_is_wrong(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    assert words in bad({}, config)


def test_file_that_is_no_text_cannot_be_read(config: Path) -> None:
    config.write_bytes(b"\xff\xfe")
    assert "cannot be read" in bad({}, config)


def test_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert f"{missing} does not exist" in bad({}, missing)
    assert f"{tmp_path} does not exist" in bad({}, tmp_path)


def test_environment_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECTORBUCKET_LIMIT", "{")
    assert 'field "limit"' in bad({})


# --- Addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert load_settings(Settings, {"grpc_address": f"{host}:0"}).grpc_address == f"{host}:0"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "[::]", "example.com"])  # noqa: S104
def test_what_other_machines_reach_needs_permission(host: str) -> None:
    assert "--insecure" in bad({"grpc_address": f"{host}:50051"})
    assert "rest_address" in bad({"rest_address": f"{host}:50051"})
    assert "metrics_address" in bad({"metrics_address": f"{host}:9100"})
    for permission in ({"insecure": True}, {"credentials": "a.toml"}):
        addresses = {"grpc_address": f"{host}:50051", "rest_address": f"{host}:8080"}
        settings = load_settings(Settings, addresses | permission)
        assert settings.grpc_address == f"{host}:50051"


# --- Their manual ---------------------------------------------------------------------------------


def test_every_setting_is_documented() -> None:
    fields = Settings.model_fields | TranslateSettings.model_fields
    for name, field in fields.items():
        assert field.description, name
        assert field.description.rstrip().endswith("."), name


def test_backups_are_where_they_are_wanted() -> None:
    assert load_settings(Settings, {"backup_dir": "/else/where"}).backups() == Path("/else/where")
    assert load_settings(Settings, {"data_dir": "/data"}).backups() == Path("/data/backups")


@pytest.mark.parametrize(
    "folder", ["", "store", "generations", "generations/backups", "backup.partial", "x/../store"]
)
def test_backups_are_not_among_the_engines_files(folder: str) -> None:
    given = {"data_dir": "/data", "backup_dir": f"/data/{folder}"}
    with pytest.raises(BadSettings, match=r"backup_dir is /data.*, among the engine's own files"):
        load_settings(Settings, given)
    load_settings(Settings, given | {"backup_dir": f"/data-2/{folder}"})
    load_settings(Settings, given | {"backup_dir": "/data/my/store"})


def test_secret_is_shown_in_no_error() -> None:
    words = bad({"otlp_endpoint": "https://me:secret@collector:4317"})
    assert words.startswith("otlp_endpoint: String should match pattern")
    assert "secret" not in words
