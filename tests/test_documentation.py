"""Every setting, limit, error, command and operation is in README, and no link leads nowhere."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import generate_protos
import readme_tables
import vectorbucket
from house import ROOT
from vectorbucket.cli import application
from vectorbucket.errors import TABLE
from vectorbucket.limits import Limits
from vectorbucket_server import cli
from vectorbucket_server.door_settings import ENVIRONMENT_PREFIX
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.observability.metric_table import METRICS
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.settings import Settings
from vectorbucket_server.translate_settings import TranslateSettings

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    path
    for pattern in ("*.md", "proto/*.md", "server/*.md", "scripts/**/*.md")
    for path in ROOT.glob(pattern)
)


def missing(texts: list[str], page: str = README) -> list[str]:
    """Return what stands nowhere on the page."""
    return [text for text in texts if text not in page]


def dead_links(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead to no file of the checkout; others are not followed."""
    links = re.findall(r"\[[^]]*\]\(([^)#]+)[^)]*\)", text)
    inner = [link for link in links if "://" not in link]
    return [link for link in inner if not (page.parent / link).exists()]


def commands() -> list[str]:
    """Return the commands of ``vectorbucket-server``."""
    return sorted(getattr(typer.main.get_command(cli.command), "commands", {}))


def operations() -> list[str]:
    """Return the operations of the Python client."""
    members = inspect.getmembers(vectorbucket.Client, inspect.isfunction)
    return [name for name, _ in members if not name.startswith("_") and name != "close"]


def test_every_setting_is_there_as_flag_and_variable() -> None:
    names = list(Settings.model_fields)
    assert "grpc_address" in names
    assert missing([f"`--{name.replace('_', '-')}`" for name in names]) == []
    assert missing([f"`{ENVIRONMENT_PREFIX}{name.upper()}`" for name in names]) == []
    own = list(TranslateSettings.model_fields)
    assert missing([f"`--{name.replace('_', '-')}`" for name in own]) == []


def test_every_option_of_rest_is_there() -> None:
    names = {field.name for field in fields(RestOptions)} - set(Settings.model_fields)
    assert missing([f"| `{name}` |" for name in sorted(names)]) == []


def test_every_setting_says_what_it_means() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_every_option_of_the_engine_is_there() -> None:
    names = {field.name for field in fields(EmbeddedOptions)} - set(Settings.model_fields)
    assert missing([f"| `{name}` |" for name in sorted(names)]) == []


def test_every_limit_is_there() -> None:
    assert missing([f"| `{field.name}` |" for field in fields(Limits)]) == []


def test_every_error_is_there() -> None:
    assert missing([f"| `{leaf.code}` |" for leaf in TABLE]) == []


def test_every_command_is_there() -> None:
    assert "serve" in commands()
    assert missing([f"`vectorbucket-server {name}" for name in commands()]) == []


def test_every_command_of_the_command_line_is_there() -> None:
    names = sorted(getattr(typer.main.get_command(application.app), "commands", {}))
    assert {"put-vectors", "export", "get-health"} <= set(names)
    assert missing([f"`{name}`" for name in names]) == []


def test_every_metric_is_there() -> None:
    names = [metric.name for metric in METRICS]
    assert "vectorbucket_calls_total" in names
    assert missing([f"| `{name}` |" for name in names]) == []


def test_every_operation_of_the_client_is_there() -> None:
    assert {"put_vectors", "query_vectors", "scan_vectors"} <= set(operations())
    assert missing([f"`{name}`" for name in operations()]) == []


def test_operations_on_the_page_exist() -> None:
    nouns = "bucket|index|vector|operating"
    rows = re.findall(rf"^\| (?:{nouns}) \| ([`\w ]+) \|$", README, re.MULTILINE)
    assert len(rows) == 4
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(operations())


def test_every_file_of_the_contract_is_on_its_page() -> None:
    names = [path.name for path in generate_protos.PROTO_ROOT.glob("vectorbucket/v1/*.proto")]
    page = (ROOT / "proto" / "README.md").read_text(encoding="utf-8")
    assert missing([f"`{name}`" for name in names], page) == []


def test_tables_are_fresh() -> None:
    assert readme_tables.filled(README, readme_tables.tables()) == README


def test_page_opens_with_the_two_commands_and_the_example() -> None:
    places = [
        README.index(text) for text in ("scripts/serve", "scripts/test", "```python", "\n## ")
    ]
    assert places == sorted(places)
    for name in re.findall(r"scripts/[a-z_]+(?:\.py)?", README):
        assert (ROOT / name).exists(), name


def test_origin_of_the_sample_is_named() -> None:
    for page in (README, (ROOT / "scripts" / "demo_data" / "README.md").read_text("utf-8")):
        assert missing(["Debian 12", "bookworm", "all-MiniLM-L6-v2", "Apache-2.0"], page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    assert dead_links(page, page.read_text(encoding="utf-8")) == []


def test_link_that_leads_nowhere_is_found() -> None:
    text = "[a](README.md) [b](nowhere.md) [c](https://example.com/x) [d](proto/README.md#how)"
    assert dead_links(ROOT / "README.md", text) == ["nowhere.md"]


def test_what_is_not_on_a_page_is_found() -> None:
    assert missing(["here", "gone"], "it is here") == ["gone"]
