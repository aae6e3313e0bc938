"""Write the tables of README.md from what they describe, or check that they are fresh.

Usage: ``readme_tables.py`` replaces what stands between the markers, ``readme_tables.py --check``
compares and exits 1 when something is stale.

Rules of this file: a table says nothing that is not said where the thing is declared, in the
docstrings of limits, errors and settings and in the help of commands; so whoever reads either reads
the same.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Container, Iterable, Mapping
from dataclasses import fields
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import typer
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from vectorbucket import limits
from vectorbucket.cli.application import app
from vectorbucket.cli.exit_codes import EXIT_CODES
from vectorbucket.errors import TABLE, VectorBucketError
from vectorbucket_server.door_settings import ENVIRONMENT_PREFIX
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.observability.metric_table import METRICS
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.routes import ROUTES, UNSUPPORTED
from vectorbucket_server.settings import Settings
from vectorbucket_server.translate_settings import TranslateSettings

README = Path(__file__).resolve().parent.parent / "README.md"

GRPC_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
"""Names of the codes that the errors' table knows by number."""


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, one line a row."""
    names = list(heads)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def attribute_docstrings(owner: type) -> dict[str, str]:
    """Return what is written below each field of a class, on one line, by the field's name."""
    found = {}
    for definition in ast.parse(inspect.getsource(owner)).body:
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, text in pairwise(body):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                found[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore[attr-defined]
    return found


def shown(value: object) -> str:
    """Return a value as a person writes it in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value}`" if value or isinstance(value, float) else "none"


def limits_table() -> str:
    """Return the limits: what each bounds, and its value in both profiles."""
    texts = attribute_docstrings(limits.Limits)
    rows = []
    for field in fields(limits.Limits):
        meaning = re.sub(r"^(Policy|Physical)\. | Source: .*", "", texts[field.name])
        strict, lifted = (getattr(one, field.name) for one in (limits.OSS, limits.UNLIMITED))
        other = (
            "none" if lifted == limits.UNBOUNDED else "same" if lifted == strict else shown(lifted)
        )
        rows.append((f"`{field.name}`", meaning, shown(strict), other))
    return table(("limit", "of what", "`oss`", "`unlimited`"), rows)


def errors_table() -> str:
    """Return the errors: codes, whether to retry, and what each means."""
    return table(
        ("error", "HTTP", "gRPC", "retry", "meaning"),
        (
            (
                f"`{leaf.code}`",
                str(leaf.http_status),
                GRPC_NAMES[leaf.grpc_code],
                "yes" if leaf.retryable else "no",
                _summary(leaf),
            )
            for leaf in TABLE
        ),
    )


def _summary(leaf: type[VectorBucketError]) -> str:
    return inspect.cleandoc(leaf.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def settings_table(kind: type[BaseSettings], without: Container[str] = ()) -> str:
    """Return settings: how each is given, its default, and what it means.

    Args:
        kind: The class that declares them.
        without: Names of settings that the table leaves out.
    """
    return table(
        ("flag", "environment", "default", "meaning"),
        (
            (
                f"`--{name.replace('_', '-')}`",
                f"`{ENVIRONMENT_PREFIX}{name.upper()}`",
                shown(_plain(field.get_default(call_default_factory=True))),
                " ".join((field.description or "").split()),
            )
            for name, field in kind.model_fields.items()
            if name not in without
        ),
    )


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def options_table(kind: type[Any], without: Container[str] = ()) -> str:
    """Return the options of a dataclass that are no settings of their own.

    Args:
        kind: The dataclass.
        without: Options that are settings under another name.
    """
    texts = attribute_docstrings(kind)
    return table(
        ("option", "default", "meaning"),
        (
            (f"`{field.name}`", shown(field.default), texts[field.name])
            for field in fields(kind)
            if field.name not in Settings.model_fields and field.name not in without
        ),
    )


def operations_table() -> str:
    """Return the operations of the REST API: how each is called, and how it differs here."""
    answered = [
        (
            f"`{route.operation}`",
            f"`{route.method} /{'?' if route.flag else ''}{route.flag}`",
            "yes",
            route.differences or "none",
        )
        for route in ROUTES
    ]
    refused = [
        (f"`{name}`", f"`POST /?{flag}`", "no", "answered with `VectorIndexParameterInvalid`")
        for flag, name in UNSUPPORTED.items()
    ]
    return table(("operation", "request", "supported", "differences"), answered + refused)


def metrics_table() -> str:
    """Return the metrics: what each is called, told apart by, and means."""
    return table(
        ("metric", "kind", "labels", "meaning"),
        (
            (f"`{one.name}`", one.kind, " ".join(f"`{label}`" for label in one.labels), one.help)
            for one in METRICS
        ),
    )


def commands_table() -> str:
    """Return the commands of the command line, by what they concern."""
    found: dict[str, list[str]] = {}
    for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
        found.setdefault(str(command.rich_help_panel), []).append(f"`{name}`")
    return table(
        ("concerns", "commands"),
        ((panel.lower(), " ".join(names)) for panel, names in found.items()),
    )


def exit_codes_table() -> str:
    """Return the exit codes of the command line."""
    return table(
        ("exit code", "meaning"), ((f"`{code}`", text) for code, text in EXIT_CODES.items())
    )


def tables() -> dict[str, str]:
    """Return every table of the README, by the name of its place."""
    return {
        "limits": limits_table(),
        "errors": errors_table(),
        "settings": settings_table(Settings),
        "translate": settings_table(TranslateSettings, without=Settings.model_fields),
        "options": options_table(EmbeddedOptions),
        "rest_options": options_table(RestOptions),
        "milvus": options_table(MilvusOptions, without=("uri", "token", "database")),
        "operations": operations_table(),
        "metrics": metrics_table(),
        "commands": commands_table(),
        "exit_codes": exit_codes_table(),
    }


def filled(text: str, contents: Mapping[str, str]) -> str:
    """Return the text with each table between its markers.

    Args:
        text: A page with ``<!-- NAME -->`` and ``<!-- end -->`` around the place of each table.
        contents: Table by name.

    Raises:
        ValueError: A table has no place, or a place no table.
    """
    places = set(re.findall(r"<!-- (?!end )(\w+) -->", text))
    if places != set(contents):
        raise ValueError(f"the page has places for {sorted(places)}, not for {sorted(contents)}")
    for name, lines in contents.items():
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition("<!-- end -->")
        text = before + opening + lines + closing + after
    return text


def main() -> None:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    fresh = filled(text, tables())
    if fresh == text:
        return
    if check:
        sys.exit("the tables of README.md are stale; run scripts/readme_tables.py")
    README.write_text(fresh, encoding="utf-8")
    print("wrote README.md")


if __name__ == "__main__":
    main()
