"""The command: its flags, its messages, its exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server import cli
from vectorbucket_server.auth.credentials import parse_credentials
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """Stands where the server would run, and keeps the settings it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.settings: Settings | None = None
        self._error = error

    def __call__(self, settings: Settings, ready: Any) -> None:
        del ready
        self.settings = settings
        if self._error is not None:
            raise self._error


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    served = Served()
    monkeypatch.setattr(cli, "serve", served)
    return served


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, standard output and standard error."""
    result = CliRunner().invoke(cli.command, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def settings_of(served: Served, *arguments: str) -> Settings:
    code, _, error = run("serve", *arguments)
    assert (code, error) == (0, "")
    assert served.settings is not None
    return served.settings


def test_no_arguments_show_what_there_is() -> None:
    _, output, error = run()
    assert "serve" in output + error


def test_version_is_shown_alone() -> None:
    version = metadata.version("vectorbucket")
    assert run("--version") == (0, f"vectorbucket-server {version}\n", "")


def test_help_describes_every_setting_and_its_default() -> None:
    code, output, _ = run("serve", "--help")
    assert code == 0
    words = " ".join(output.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in output
        first_words = " ".join((field.description or "").replace("``", "").split()[:5])
        assert first_words in words, name
    assert "[default: 127.0.0.1:50051]" in words
    assert "embedded|milvus|memory" in words


def test_every_setting_has_a_flag(served: Served, tmp_path: Path) -> None:
    settings = settings_of(
        served,
        *("--data-dir", str(tmp_path), "--grpc-address", "0.0.0.0:0", "--insecure"),
        *("--engine", "memory", "--limits", "unlimited", "--metadata-types", "strings"),
        *("--limit", "top_k_max=7", "--limit", "put_vectors_max=8"),
        *("--account-id", "42", "--region", "eu", "--no-sync-writes"),
        *("--embedded", "m=8", "--embedded", "turn_target_s=0.5"),
        *("--streams-max", "1", "--unary-workers", "2", "--in-flight-bytes-max", "3"),
        *("--drain-grace-s", "0.5", "--log-format", "console", "--log-level", "error"),
        *("--credentials", "keys.toml", "--rest-address", "127.0.0.1:0"),
        *("--rest-base-domains", "a.example,b.example", "--rest-public-endpoint", "c.example"),
        *("--rest", "idle_timeout_s=5", "--bucket-log-dir", str(tmp_path)),
        *("--backup-dir", str(tmp_path / "kept")),
        *("--metrics-address", "127.0.0.1:0", "--otlp-endpoint", "http://127.0.0.1:4317"),
        *("--tls-certificate", "a.pem", "--tls-key", "b.pem", "--tls-client-ca", "c.pem"),
        *("--drain-notice-s", "5", "--first-message-timeout-s", "30"),
        *("--no-health", "--no-reflection"),
        *("--rate-limits", "oss", "--rate-limit", "QueryVectors=100"),
        *("--bucket-log-rotate-s", "60", "--bucket-log-bytes-max", "5000"),
        *("--milvus-uri", "http://milvus:19530", "--milvus-token", "me:secret"),
        *("--milvus-database", "shops", "--milvus", "shards=2", "--milvus", "timeout_s=0.5"),
    )
    assert set(settings.model_fields_set) == set(Settings.model_fields)
    assert settings.limit == {"top_k_max": 7, "put_vectors_max": 8}
    assert settings.milvus == {"shards": 2, "timeout_s": 0.5}
    assert settings.embedded == {"m": 8, "turn_target_s": 0.5}
    assert (settings.insecure, settings.sync_writes) == (True, False)


def test_flags_that_are_not_given_leave_the_setting_to_others(
    served: Served, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    config.write_text("streams_max = 5\ninsecure = true\n")
    settings = settings_of(served, "--config", str(config), "--region", "eu")
    assert set(settings.model_fields_set) == {"streams_max", "insecure", "region"}
    assert not settings_of(served, "--config", str(config), "--no-insecure").insecure


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--streams-max", "0"], "streams_max is '0'"),
        (["--limit", "top_k=1"], "there is no limit 'top_k'"),
        (["--limit", "top_k_max"], "--limit is 'top_k_max'; it must be NAME=VALUE"),
        (["--embedded", "=1"], "--embedded is '=1'; it must be NAME=VALUE"),
        (["--config", "/nowhere.toml"], "/nowhere.toml does not exist"),
        (["--grpc-address", "0.0.0.0:1"], "--insecure"),
    ],
)
def test_bad_settings_are_one_line_and_code_2(
    served: Served, arguments: list[str], words: str
) -> None:
    code, output, error = run("serve", *arguments)
    assert (code, output) == (2, "")
    assert error.startswith("vectorbucket-server: ")
    assert error.count("\n") == 1
    assert words in error
    assert served.settings is None


def test_unknown_flag_is_code_2_and_named(served: Served) -> None:
    code, _, error = run("serve", "--colour", "red")
    assert code == 2
    assert "--colour" in error
    assert served.settings is None


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (StartFailed("cannot serve on 127.0.0.1:1: in use"), "cannot serve on 127.0.0.1:1: in use"),
        (ServiceUnavailable("the store is locked"), "ServiceUnavailable: the store is locked"),
        (
            ModuleNotFoundError("No module named 'hnswlib'", name="hnswlib"),
            "needs the package hnswlib, which is not installed: pip install 'vectorbucket[server]'",
        ),
    ],
)
def test_server_that_cannot_start_is_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str
) -> None:
    monkeypatch.setattr(cli, "serve", Served(failure))
    code, output, error = run("serve")
    assert (code, output) == (1, "")
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize("package", ["typer", "structlog", "msgspec", "pydantic_settings"])
def test_missing_extra_is_answered_with_what_to_install(package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv = ['vectorbucket-server']\n"
        f"sys.path[:0] = [{str(ROOT / 'client')!r}, {str(ROOT / 'server')!r}]\n"
        "import vectorbucket_server.__main__"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"vectorbucket-server needs the package {package}, which is not installed: "
        "pip install 'vectorbucket[server]'\n"
    )


# --- Translate ------------------------------------------------------------------------------------


def test_translate_takes_its_settings_from_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    translated = Served()
    monkeypatch.setattr(cli, "translate", translated)
    flags = ("--grpc-target", "vectors:50051", "--rest-address", "127.0.0.1:0")
    keys = ("--api-key", "k", "--credentials", "keys.toml")
    assert run("translate", *flags, *keys)[0] == 0
    settings: Any = translated.settings
    assert (settings.grpc_target, settings.rest_address) == ("vectors:50051", "127.0.0.1:0")
    assert settings.api_key.get_secret_value() == "k"


def test_translator_that_cannot_start_is_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "translate", Served(StartFailed("cannot serve on x")))
    assert run("translate") == (1, "", "vectorbucket-server: cannot serve on x\n")


def test_translator_with_bad_settings_is_code_2() -> None:
    code, _, error = run("translate", "--rest-address", "8080")
    assert (code, error.count("\n")) == (2, 1)
    assert "'8080' is no HOST:PORT" in error


# --- Credentials ----------------------------------------------------------------------------------


def test_new_credential_is_added_to_a_file_and_its_secrets_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    code, shown, error = run("credentials", "new", "ann", "--owner", "--file", str(path))
    assert (code, error) == (0, "")
    assert run("credentials", "new", "bob", "--account-id", "42", "--file", str(path))[0] == 0
    said = dict(line.split() for line in shown.splitlines())
    known = parse_credentials(path.read_text())
    ann = known.by_api_key(said["api_key"])
    assert ann is not None
    assert (ann.name, ann.owner, ann.account_id) == ("ann", True, "1234567890")
    assert ann.access_key_secret == said["access_key_secret"]
    assert known.by_access_key_id(said["access_key_id"]) == ann
    assert said["api_key"] not in path.read_text()
    bob = known.by_name("bob")
    assert bob is not None
    assert (bob.owner, bob.account_id) == (False, "42")
    assert path.stat().st_mode & 0o777 == 0o600


def test_new_credential_of_an_operator_may_operate() -> None:
    code, shown, _ = run("credentials", "new", "ops", "--operator")
    assert code == 0
    ops = parse_credentials(shown).by_name("ops")
    assert ops is not None
    assert (ops.operator, ops.owner) == (True, False)


def test_new_credential_of_a_translator_may_name_others() -> None:
    code, shown, _ = run("credentials", "new", "door", "--impersonate")
    assert code == 0
    door = parse_credentials(shown).by_name("door")
    assert door is not None
    assert door.impersonate


@pytest.mark.parametrize("arguments", [("ann",), ("bob", "--account-id", "me"), ("",)])
def test_credential_that_cannot_be_is_refused_and_the_file_stays(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    path = tmp_path / "keys.toml"
    assert run("credentials", "new", "ann", "--file", str(path))[0] == 0
    before = path.read_text()
    code, shown, error = run("credentials", "new", *arguments, "--file", str(path))
    assert (code, shown, error.count("\n")) == (2, "", 1)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_credential_is_not_added_to_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not TOML at all")
    code, _, error = run("credentials", "new", "ann", "--file", str(path))
    assert code == 2
    assert str(path) in error
    assert path.read_text() == "not TOML at all"
