"""A function becomes a command: with the flags of all, and errors in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from vectorbucket import NoSuchBucket
from vectorbucket.cli.command import Commands, operation, paragraphs, taking
from vectorbucket.cli.connection import Connection, Output, changed, connection_flags

Echo = Callable[..., Result]
Seen = list[tuple[Connection, bool, str]]


@pytest.fixture
def seen() -> Seen:
    """What the command of ``echo`` was called with."""
    return []


@pytest.fixture
def echo(seen: Seen) -> Echo:
    """Run a command that notes what it was called with."""
    app = typer.Typer(name="vectorbucket", cls=Commands, rich_markup_mode=None)

    def before(context: typer.Context, **given: object) -> None:
        context.obj = changed(Connection(), given)

    app.callback()(taking(before, connection_flags(environment=True)))

    @operation(app, "echo", panel="Tests")
    def echo(
        connection: Connection,
        *,
        on: Annotated[bool, typer.Option("--on/--off")] = False,
        word: Annotated[str, typer.Option("--word", "--text")] = "",
    ) -> None:
        """Note what is said."""
        if word == "fail":
            raise NoSuchBucket.of("photos")
        seen.append((connection, on, word))

    @operation(app, "other", panel="Tests")
    def other(connection: Connection) -> None:
        """Do nothing, so that there is more than one command."""

    def ran(*arguments: str, **environment: str) -> Result:
        return CliRunner(env=environment).invoke(app, [*arguments])

    return ran


def test_flags_stand_before_or_after_the_command_and_the_later_wins(echo: Echo, seen: Seen) -> None:
    assert echo("--endpoint", "a:1", "-o", "json", "echo", "--target", "b:2").exit_code == 0
    assert echo("echo", VECTORBUCKET_ENDPOINT="c:3", VECTORBUCKET_TIMEOUT_S="7").exit_code == 0
    assert echo("--endpoint", "a:1", "echo", VECTORBUCKET_ENDPOINT="c:3").exit_code == 0
    assert echo("echo", "--no-tls", VECTORBUCKET_TLS="true").exit_code == 0
    connections = [connection for connection, _, _ in seen]
    assert connections == [
        Connection(endpoint="b:2", output=Output.JSON),
        Connection(endpoint="c:3", timeout_s=7.0),
        Connection(endpoint="a:1"),
        Connection(tls=False),
    ]


SWITCHES = {
    "--on": True,
    "--on=true": True,
    "--on=1": True,
    "--on=TRUE": True,
    "--on=false": False,
    "--on --on=0": False,
    "--off": False,
    "": False,
}


@pytest.mark.parametrize("flags", SWITCHES)
def test_flag_that_is_on_or_off_may_say_so(echo: Echo, seen: Seen, flags: str) -> None:
    assert echo("echo", *flags.split(), "--word=--on=true").exit_code == 0
    assert [(switch, word) for _, switch, word in seen] == [(SWITCHES[flags], "--on=true")]


def test_flags_of_every_command_may_say_so_too(echo: Echo, seen: Seen) -> None:
    assert echo("echo", "--debug=true", "--text=x=y").exit_code == 0
    assert [(connection.debug, word) for connection, _, word in seen] == [(True, "x=y")]


WRONG = {
    "neither": (["echo", "--on=perhaps"], "--on is 'perhaps'; it must be true or false"),
    "unknown flag": (["echo", "--wrod", "x"], "No such option: --wrod"),
    "rest": (["echo", "x"], "unexpected extra argument"),
    "unknown command": (["ecko"], "No such command 'ecko'. Did you mean 'echo'?"),
    "output": (["echo", "--output", "xml"], "'-o': 'xml' is not one of 'table', 'json'"),
    "number": (["echo", "--timeout-s", "soon"], "Invalid value for '--timeout-s'"),
    "after dashes": (["echo", "--", "--on=true"], "unexpected extra argument"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line_that_says_where_help_is(echo: Echo, seen: Seen, case: str) -> None:
    arguments, words = WRONG[case]
    result = echo(*arguments)
    assert (result.exit_code, result.stdout, seen) == (2, "", [])
    [line] = result.stderr.splitlines()
    assert line.startswith("vectorbucket: ")
    assert words in line
    assert line.endswith("--help")


def test_error_of_a_command_becomes_its_exit_code(echo: Echo) -> None:
    result = echo("echo", "--word", "fail")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "vectorbucket: NoSuchBucket: bucket 'photos' does not exist; "
        "list-vector-buckets shows those that do\n"
    )


def test_help_breaks_lines_where_paragraphs_end_only() -> None:
    text = """Show it.

    It is long,
    and goes on.
    """
    assert paragraphs(text) == "Show it.\n\nIt is long, and goes on."


def test_function_stays_as_it_was() -> None:
    def body(connection: Connection) -> None:
        """Do nothing."""

    assert operation(typer.Typer(), "body", panel="Tests")(body) is body
