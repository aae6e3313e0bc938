"""A function → a command: with the flags of every command, and errors told in one line.

Rules of this file: it knows typer and no operation. A command is a function that takes a Connection
first and then, by name only, its own flags::

    @operation(app, "get-vector-bucket", panel="Buckets")
    def get_vector_bucket(connection: Connection, *, bucket: BucketName) -> None:
        ...
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from vectorbucket.cli.connection import changed, connection_flags
from vectorbucket.cli.endings import ended, told

_SWITCH = {"true": True, "1": True, "false": False, "0": False}
"""What may stand after ``=`` of a flag that is on or off, as in ``--return-data=true``."""


class Commands(TyperGroup):
    """All commands together, whose every end is told in one line."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        """Run what the arguments say; see typer for them."""
        standalone = named.pop("standalone_mode", True)
        run = functools.partial(super().main, *arguments, **named)
        with ended(standalone=standalone) as ending:
            ending.result = run(standalone_mode=False)
        return ending.result


class OperationCommand(TyperCommand):
    """A command whose flags may also be given as ``--return-data=true``, as ossutil's may."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        return super().parse_args(ctx, [*self._plain(args)])

    def _plain(self, args: list[str]) -> Iterator[str]:
        """Yield arguments, flags that are on or off in the form that has no value."""
        switches = {
            spelling: parameter
            for parameter in self.params
            if getattr(parameter, "is_flag", False)
            for spelling in parameter.opts
        }
        rest = iter(args)
        for argument in rest:
            if argument == "--":
                yield argument
                yield from rest
                return
            name, equals, value = argument.partition("=")
            if not equals or name not in switches:
                yield argument
            elif value.lower() not in _SWITCH:
                raise typer.BadParameter(f"{name} is {value!r}; it must be true or false")
            elif _SWITCH[value.lower()]:
                yield name
            else:
                yield from switches[name].secondary_opts[:1]


Body: TypeAlias = Callable[..., None]


def operation(app: typer.Typer, name: str, *, panel: str) -> Callable[[Body], Body]:
    """Make a function a command: with the flags of every command, and errors in one line.

    Args:
        app: What the command is added to.
        name: The command's name.
        panel: The heading under which the help shows it.

    Returns:
        A decorator, which returns the function as it is.
    """

    def added(body: Body) -> Body:
        hints = get_type_hints(body, include_extras=True)
        _connection, *own = inspect.signature(body).parameters.values()
        own = [one.replace(annotation=hints[one.name]) for one in own]

        @functools.wraps(body)
        def run(context: typer.Context, **given: Any) -> None:
            connection = changed(context.obj, given)
            with told(connection):
                body(connection, **given)
                sys.stdout.flush()

        flags = (one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own)
        taking(run, [*flags, *connection_flags(environment=False)])
        text = paragraphs(inspect.getdoc(body) or "")
        app.command(name, cls=OperationCommand, rich_help_panel=panel, help=text)(run)
        return body

    return added


def paragraphs(text: str) -> str:
    """Return a text whose lines end only where paragraphs do: typer keeps the others as well."""
    return "\n\n".join(" ".join(one.split()) for one in text.split("\n\n"))


def taking(function: Body, flags: Iterable[inspect.Parameter]) -> Body:
    """Have typer see a function that takes its context and these flags; return the function."""
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *flags]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    return function
