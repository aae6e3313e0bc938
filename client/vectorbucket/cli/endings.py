"""How a command ends: what is told of an error, and the exit code.

Rules of this file: the only one to choose an exit code, by the table of exit_codes.py. An error is
one line on standard error: its code, what went wrong, the request id, and what to do next.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import typer

from vectorbucket import VectorBucketError
from vectorbucket.cli import exit_codes
from vectorbucket.cli.connection import BadInput, Connection

PROGRAM = "vectorbucket"


_USAGE_ERROR: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""What a wrong command line raises. Typer brings this class along or has it from click, depending
on its version, but not by a name of its own."""


@dataclass(slots=True)
class Ending:
    """What a command returned; typer returns an exit code where one was chosen."""

    result: Any = None


@contextmanager
def ended(*, standalone: bool) -> Iterator[Ending]:
    """End the process with the exit code that a command chose.

    Args:
        standalone: Whether to end it at all, or to leave that to the caller.

    Raises:
        SystemExit: If so.
    """
    ending = Ending()
    try:
        yield ending
    except _USAGE_ERROR as error:
        message = error.format_message().rstrip(".").replace(": Value error, ", ": ")
        say(f"{message}; see {_help_of(error)}")
        ending.result = exit_codes.WRONG_USAGE
    except typer.Abort:
        say("interrupted")
        ending.result = exit_codes.INTERRUPTED
    except SystemExit as leaving:
        # So typer and rich end a help that nobody reads any more.
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        _forget_output()
        ending.result = exit_codes.BROKEN_PIPE
    if standalone:
        sys.exit(ending.result if isinstance(ending.result, int) else exit_codes.DONE)


def _help_of(error: Any) -> str:
    """Return the command that explains the one that was used wrongly."""
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context is not None else PROGRAM} --help"


@contextmanager
def told(connection: Connection) -> Iterator[None]:
    """Say in one line why something failed, and exit with the code that says whose turn it is.

    Raises:
        typer.Exit: It failed.
    """
    interrupted = threading.Event()
    try:
        with _noting(interrupted):
            yield
    except (VectorBucketError, BadInput) as error:
        if interrupted.is_set():
            _leave_interrupted()
        fail(connection, error)
    except KeyboardInterrupt:
        _leave_interrupted()
    except BrokenPipeError:
        _forget_output()
        raise typer.Exit(exit_codes.BROKEN_PIPE) from None
    except OSError as error:
        where = "the output" if error.filename is None else error.filename
        why = error.strerror or str(error)
        fail(connection, BadInput(f"{where} cannot be read or written: {why}"), exit_codes.FAILED)


def _forget_output() -> None:
    """Let what is still in the buffer go nowhere: it would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _noting(interrupted: threading.Event) -> Iterator[None]:
    """Set the event when Ctrl-C is pressed, which also raises KeyboardInterrupt.

    What is raised may be lost, where it meets a library in the midst of something that no exception
    can leave; the command is interrupted all the same, and must not blame the server.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not heard here
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.default_int_handler(number, frame)

    previous = signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _leave_interrupted() -> NoReturn:
    """Say that it was interrupted, and exit.

    Raises:
        typer.Exit: Always.
    """
    say("interrupted")
    raise typer.Exit(exit_codes.INTERRUPTED) from None


def fail(
    connection: Connection, error: VectorBucketError | BadInput, code: int | None = None
) -> NoReturn:
    """Say in one line what went wrong and what to do next, and exit.

    Args:
        connection: How much to say.
        error: What went wrong.
        code: The exit code; by default that of the error.

    Raises:
        typer.Exit: Always.
    """
    if connection.debug:
        say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, BadInput):
        say(str(error))
        leave(exit_codes.WRONG_USAGE if code is None else code)
    if connection.debug:
        say(f"field {error.field}, details {error.details}, retry after {error.retry_after_s} s")
    advice = exit_codes.advice(error)
    say(f"{error}; {advice}" if advice else str(error))
    leave(exit_codes.exit_code(error) if code is None else code)


def leave(code: int) -> NoReturn:
    """Exit with a code of exit_codes.py.

    Raises:
        typer.Exit: Always.
    """
    raise typer.Exit(code)


def say(message: str) -> None:
    """Write a message for people, on standard error."""
    typer.echo(f"{PROGRAM}: {shown(message)}", err=True)


def shown(text: str) -> str:
    """Return a text without what a terminal would obey instead of showing it."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
