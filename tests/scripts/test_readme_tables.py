"""README's tables say what is declared, and a stale one is named and rewritten."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest

import readme_tables
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.rest.oss.routes import UNSUPPORTED
from vectorbucket_server.settings import Settings
from vectorbucket_server.translate_settings import TranslateSettings


class Colour(Enum):
    """A value that a setting may have."""

    RED = "red"


class Cup:
    """Something with documented fields."""

    size: int = 1
    """How much
    it holds."""
    colour: str = "red"
    handle: bool = True
    """Whether there is one."""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small page that the program takes for README.md."""
    path = tmp_path / "README.md"
    path.write_text("# A page\n<!-- cups -->\nold\n<!-- end -->\nand more\n")
    monkeypatch.setattr(readme_tables, "README", path)
    monkeypatch.setattr(readme_tables, "tables", lambda: {"cups": "| new |\n"})
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the program with these arguments."""
    monkeypatch.setattr("sys.argv", ["readme_tables.py", *arguments])
    readme_tables.main()


def test_table_is_markdown_and_escapes_its_bars() -> None:
    assert readme_tables.table(("a", "b"), [("1", "x|y"), ("``2``", "z")]) == (
        "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| `2` | z |\n"
    )


def test_text_below_a_field_is_its_meaning() -> None:
    assert readme_tables.attribute_docstrings(Cup) == {
        "size": "How much it holds.",
        "handle": "Whether there is one.",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_234_567, "1,234,567"),
        (True, "yes"),
        (False, "no"),
        (0.5, "`0.5`"),
        (0.0, "`0.0`"),
        ("oss", "`oss`"),
        ("", "none"),
        ({}, "none"),
        (Colour.RED, "`red`"),
        (Path("data"), "`data`"),
    ],
)
def test_value_is_shown_as_a_person_writes_it(value: object, text: str) -> None:
    assert readme_tables.shown(value) == text


def test_limit_says_what_it_bounds_and_both_profiles() -> None:
    lines = readme_tables.limits_table().splitlines()
    assert "| `top_k_max` | Vectors a query may ask for. | 100 | none |" in lines
    assert "| `dimension_max` | Numbers in a vector. | 4,096 | same |" in lines
    assert not [line for line in lines if "Source:" in line or "Policy." in line]


def test_error_says_its_codes_and_whether_to_retry() -> None:
    lines = readme_tables.errors_table().splitlines()
    assert "| `NoSuchBucket` | 404 | NOT_FOUND | no | There is no such bucket. |" in lines
    assert [line for line in lines if "`QpsLimitExceeded` | 503 | RESOURCE_EXHAUSTED | yes" in line]


def test_setting_says_flag_variable_and_default() -> None:
    table = readme_tables.settings_table(Settings)
    assert "| `--grpc-address` | `VECTORBUCKET_GRPC_ADDRESS` | `127.0.0.1:50051` |" in table
    assert "| `--limit` | `VECTORBUCKET_LIMIT` | none |" in table


def test_option_of_the_engine_is_listed_unless_it_is_a_setting() -> None:
    table = readme_tables.options_table(EmbeddedOptions)
    assert "| `ef_search` | 96 |" in table
    assert "sync_writes" not in table


def test_settings_of_a_translator_are_listed_where_they_are_its_own() -> None:
    table = readme_tables.settings_table(TranslateSettings, without=Settings.model_fields)
    assert "| `--api-key` | `VECTORBUCKET_API_KEY` | none |" in table
    assert "`--region`" not in table


def test_every_operation_of_rest_is_listed_also_those_that_are_refused() -> None:
    lines = readme_tables.operations_table().splitlines()
    assert [line for line in lines if line.startswith("| `QueryVectors` | `POST /?queryVectors` |")]
    assert [line for line in lines if line.startswith("| `ListVectorBuckets` | `GET /` | yes |")]
    refused = [line for line in lines if "| no |" in line]
    assert len(refused) == len(UNSUPPORTED) == 2


def test_stale_table_is_named_and_then_rewritten(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="stale"):
        run(monkeypatch, "--check")
    run(monkeypatch)
    assert page.read_text() == "# A page\n<!-- cups -->\n| new |\n<!-- end -->\nand more\n"
    run(monkeypatch, "--check")


@pytest.mark.parametrize("contents", [{}, {"cups": "", "plates": ""}])
def test_table_without_place_and_place_without_table_are_refused(contents: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="has places for"):
        readme_tables.filled("<!-- cups -->\n<!-- end -->\n", contents)


def test_backslash_in_a_table_stays_as_it_is() -> None:
    filled = readme_tables.filled("<!-- cups -->\n<!-- end -->\n", {"cups": "a\\1b\n"})
    assert filled == "<!-- cups -->\na\\1b\n<!-- end -->\n"
