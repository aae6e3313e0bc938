"""What the commands ``export`` and ``import`` do, from the flags to the summary.

Rules of this file: it joins what stands beside it, says how to go on after whatever ended a
command, and answers with what was done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from vectorbucket import VectorBucketError
from vectorbucket._models import IndexInfo
from vectorbucket.cli.answers import answer, size_text
from vectorbucket.cli.connection import BadInput, Connection, Output
from vectorbucket.cli.endings import say
from vectorbucket.cli.json_input import read_json
from vectorbucket.cli.transfer_definition import Definition
from vectorbucket.cli.transfer_export import (
    Done,
    Selection,
    export_vectors,
    note_in,
    record_path,
    unfinished,
)
from vectorbucket.cli.transfer_formats import STANDARD, Format, format_of
from vectorbucket.cli.transfer_import import Import, Reached
from vectorbucket.cli.transfer_progress import TransferProgress
from vectorbucket.cli.transfer_record import read_record, write_record
from vectorbucket.cli.transfer_rejects import Rejects
from vectorbucket.cli.transfer_source import Wanted, destination, open_source, task_of
from vectorbucket.cli.transfer_target import (
    JsonLinesTarget,
    StreamTarget,
    Target,
    discard,
    parquet_target,
    partial_path,
)

_RESUME = "the same command with --resume goes on after them"


@dataclass(frozen=True, slots=True)
class ExportFlags:
    """The flags of ``export``.

    Attributes:
        bucket: The bucket.
        index_name: The index.
        file: The file; ``-`` for standard output.
        format: What ``--format`` says.
        filter: What ``--filter`` says.
        segment_count: Into how many segments the keys are split.
        segment_index: Which segment.
        no_data: Whether the numbers stay out.
        resume: Whether to go on with what was begun.
        overwrite: Whether what is there may be replaced.
    """

    bucket: str
    index_name: str
    file: str
    format: Format | None
    filter: str | None
    segment_count: int
    segment_index: int
    no_data: bool
    resume: bool
    overwrite: bool


@dataclass(frozen=True, slots=True)
class ImportFlags:
    """The flags of ``import``.

    Attributes:
        bucket: The bucket.
        index_name: The index.
        file: The file; ``-`` for standard input.
        format: What ``--format`` says.
        metadata: The JSON lines beside an array.
        wanted: The index to make where there is none.
        batch_size: Vectors in a batch.
        resume: Whether to go on with what was begun.
        state: Where the record stands; None: beside the input.
        skip: Whether bad rows are passed over.
        rejects: Where they are written down; None: beside the input.
    """

    bucket: str
    index_name: str
    file: str
    format: Format | None
    metadata: str | None
    wanted: Wanted
    batch_size: int
    resume: bool
    state: str | None
    skip: bool
    rejects: str | None


# --- Export ---------------------------------------------------------------------------------------


def run_export(connection: Connection, flags: ExportFlags) -> None:
    """Export an index.

    Raises:
        BadInput: A flag or a file is wrong.
        VectorBucketError: The server refused.
    """
    kind, compressed = format_of(flags.file, flags.format)
    if kind is Format.NPY:
        raise BadInput("--format npy cannot be written; parquet and jsonl can")
    found = None
    if flags.filter is not None:
        found = read_json("--filter", flags.filter, dict, "a JSON object")
    selection = Selection(
        found or None, not flags.no_data, flags.segment_count, flags.segment_index
    )
    path = None if flags.file == STANDARD else Path(flags.file)
    if path is None and flags.resume:
        raise BadInput("--resume goes with a file; standard output cannot be resumed")
    with connection.connect() as client:
        index = client.get_vector_index(flags.bucket, flags.index_name)
        task = {**selection.as_json(index), "format": f"{kind}{'.gz' if compressed else ''}"}
        begun = Done()
        if path is not None:
            begun = unfinished(path, task, resume=flags.resume, overwrite=flags.overwrite)
        target = _target(path, kind, compressed, index, selection)
        points = [begun]

        def note(done: Done) -> None:
            points.append(done)
            if path is not None:
                note_in(path, task)(done)

        progress = _progress(connection, "exported", begun.count)
        with (
            _tidied(path, points),
            closing(target),
            progress,
            _going_on(lambda: _export_hint(points[-1])),
        ):
            target.begin(begun.point)
            total = selection.total(index)
            count = export_vectors(
                client,
                index,
                selection,
                target,
                begun=begun,
                note=note,
                show=lambda count: progress.show(count, total),
            )
            size = target.finish()
        if path is not None:
            record_path(path).unlink(missing_ok=True)
    document = {"vectorCount": count, "bytes": size, "seconds": round(progress.elapsed_s, 3)}
    text = f"exported {progress.text(count, None)}, {size_text(size)}, in"
    _answer(connection, document, f"{text} {progress.elapsed_s:.1f} s", to_stderr=path is None)


def _target(
    path: Path | None,
    kind: Format,
    compressed: bool,  # noqa: FBT001 - as format_of returned it
    index: IndexInfo,
    selection: Selection,
) -> Target:
    """Return where an export goes."""
    if path is None:
        return StreamTarget(sys.stdout.buffer)
    definition, source = Definition.of_index(index), selection.as_json(index)
    if kind is Format.PARQUET:
        return parquet_target(path, definition, source, data=selection.data)
    return JsonLinesTarget(path, definition, source, compressed=compressed)


def _export_hint(done: Done) -> str:
    """Return how to go on after an export that was ended; empty if it begins anew."""
    if not done.count:
        return ""
    return f"{done.count:,} vectors are exported and kept; {_RESUME}"


@contextmanager
def _tidied(path: Path | None, points: list[Done]) -> Iterator[None]:
    """Leave nothing behind that could not be resumed."""
    try:
        yield
    finally:
        if path is not None and not points[-1].point:
            discard(partial_path(path))


# --- Import ---------------------------------------------------------------------------------------


def run_import(connection: Connection, flags: ImportFlags) -> None:
    """Import a file.

    Raises:
        BadInput: A flag, the file or a row of it is wrong.
        VectorBucketError: The server refused.
    """
    state, rejects_path = _state_path(flags), _rejects_path(flags)
    with ExitStack() as stack:
        source = stack.enter_context(closing(open_source(flags.file, flags.format, flags.metadata)))
        client = stack.enter_context(connection.connect())
        index = destination(client, flags.bucket, flags.index_name, source, flags.wanted)
        task = task_of(flags.file, flags.metadata, index)
        begun = _begun(state, task, resume=flags.resume)
        rejects = None
        if rejects_path is not None:
            rejects = Rejects(rejects_path, source.unit, begun.rows)
            stack.enter_context(closing(rejects))
        reached = [begun]

        def note(now: Reached) -> None:
            reached.append(now)
            del reached[:-1]
            if state is not None:
                write_record(state, task, asdict(now))

        place = (flags.bucket, flags.index_name)
        progress = _progress(connection, "imported", begun.rows)
        run = Import(client, place, source, rejects=rejects, begun=begun, note=note)
        with progress, _going_on(lambda: _import_hint(state, source.unit, reached[-1])):
            done = run.run(
                index.dimension,
                flags.batch_size,
                lambda now: progress.show(now.rows, source.total),
            )
        size = source.bytes_read
    if state is not None:
        state.unlink(missing_ok=True)
    rejected = 0 if rejects is None else rejects.count
    document = {
        "vectorCount": done.stored,
        "rejectedCount": rejected,
        "bytes": size,
        "seconds": round(progress.elapsed_s, 3),
    }
    text = f"imported {progress.text(done.stored, None)}, {size_text(size)}, in"
    told = f"{text} {progress.elapsed_s:.1f} s"
    if rejected:
        told += f"; {rejected:,} were rejected and stand in {rejects_path}"
    _answer(connection, document, told, to_stderr=False)


def _state_path(flags: ImportFlags) -> Path | None:
    """Return where the record of an import stands; None if nowhere.

    Raises:
        BadInput: It is to be resumed, and there is no such place.
    """
    if flags.state is not None:
        return Path(flags.state)
    if flags.file != STANDARD:
        return Path(f"{flags.file}.import.json")
    if flags.resume:
        raise BadInput("--resume of standard input needs --state FILE, as the run before it")
    return None


def _rejects_path(flags: ImportFlags) -> Path | None:
    """Return where bad rows are written down; None if the first one ends the import.

    Raises:
        BadInput: Nothing says it.
    """
    if not flags.skip:
        if flags.rejects is not None:
            raise BadInput("--rejects goes with --on-error skip")
        return None
    if flags.rejects is not None:
        return Path(flags.rejects)
    if flags.file == STANDARD:
        raise BadInput("--on-error skip of standard input needs --rejects FILE")
    return Path(f"{flags.file}.rejects.jsonl")


def _begun(state: Path | None, task: Mapping[str, Any], *, resume: bool) -> Reached:
    """Return where an import begins."""
    done = read_record(state, task) if state is not None and resume else None
    return Reached() if done is None else Reached(**done)


def _import_hint(state: Path | None, unit: str, reached: Reached) -> str:
    """Return how to go on after an import that was ended; empty if it begins anew."""
    if state is None or not reached.rows:
        return ""
    return f"{reached.rows:,} {unit}s are done; {_RESUME}"


# --- Both -----------------------------------------------------------------------------------------


def _progress(connection: Connection, verb: str, already: int) -> TransferProgress:
    return TransferProgress(verb, already=already, stream=sys.stderr, color=not connection.no_color)


@contextmanager
def _going_on(hint: Callable[[], str]) -> Iterator[None]:
    """Say how to go on, if what is done meanwhile is ended."""
    try:
        yield
    except (KeyboardInterrupt, VectorBucketError, BadInput, OSError):
        if told := hint():
            say(told)
        raise


def _answer(
    connection: Connection, document: Mapping[str, Any], told: str, *, to_stderr: bool
) -> None:
    """Answer with what was done; on standard error where vectors are on standard output."""
    if connection.output is not Output.JSON:
        say(told)
    elif to_stderr:
        typer.echo(json.dumps(document), err=True)
    else:
        answer(connection, document)
