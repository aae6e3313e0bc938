"""The commands ``export`` and ``import``: an index to a file, and a file to an index.

Rules of this file: flags and help only; what they do stands in transfer_commands.py, which is
loaded when one of them is used, because pyarrow takes its time.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

from vectorbucket._batching import BATCH_VECTORS_MAX
from vectorbucket.cli.command import operation
from vectorbucket.cli.connection import Connection
from vectorbucket.cli.flags import BucketName, Filter, IndexName
from vectorbucket.cli.transfer_formats import Format, OnError

_PANEL = "Moving data"

app = typer.Typer()


def _flag(*spellings: str, text: str) -> Any:
    """Return a flag without a default that is worth showing."""
    return typer.Option(*spellings, help=text, show_default=False)


# --- The flags of import --------------------------------------------------------------------------

InputFile: TypeAlias = Annotated[
    str,
    _flag(
        "--file",
        text="The file to read: .jsonl, .jsonl.gz, .parquet or .npy; - for JSON lines on standard "
        "input.",
    ),
]
InputFormat: TypeAlias = Annotated[
    Format | None, _flag("--format", text="What it holds, if its ending does not say.")
]
MetadataFile: TypeAlias = Annotated[
    str | None,
    _flag(
        "--metadata",
        text='For .npy: a file of JSON lines, {"key": …, "metadata": {…}} for each row.',
    ),
]
Create: TypeAlias = Annotated[
    bool, _flag("--create", text="Make the index, and its bucket, if they do not exist.")
]
Dimension: TypeAlias = Annotated[
    int | None,
    _flag("--dimension", text="For --create: numbers in each vector, if no export says it."),
]
Metric: TypeAlias = Annotated[
    str | None,
    _flag("--distance-metric", text="For --create: cosine or euclidean, if no export says it."),
]
NonFilterable: TypeAlias = Annotated[
    str | None,
    _flag(
        "--non-filterable-metadata-keys",
        text="For --create: metadata fields that no filter can use, with commas between them.",
    ),
]
BatchSize: TypeAlias = Annotated[
    int, typer.Option("--batch-size", min=1, help="Vectors that are stored at once.")
]
Resume: TypeAlias = Annotated[bool, _flag("--resume", text="Go on with one that was not finished.")]
State: TypeAlias = Annotated[
    str | None,
    _flag("--state", text="Where to note how far it has come; FILE.import.json if not given."),
]
Rejects: TypeAlias = Annotated[
    str | None,
    _flag(
        "--rejects",
        text="For --on-error skip: where such rows go, with the reason; FILE.rejects.jsonl if not "
        "given.",
    ),
]
DoOnError: TypeAlias = Annotated[
    OnError, typer.Option("--on-error", help="What to do about a row that is no vector.")
]


# --- The commands ---------------------------------------------------------------------------------


@operation(app, "export", panel=_PANEL)
def export_index(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    file: Annotated[
        str,
        _flag(
            "--file",
            text="The file to write: .jsonl, .jsonl.gz or .parquet; - for JSON lines on standard "
            "output.",
        ),
    ],
    format_: Annotated[
        Format | None, _flag("--format", text="What it is to hold, if its ending does not say.")
    ] = None,
    filter_: Filter = None,
    segment_count: Annotated[
        int,
        typer.Option(
            "--segment-count",
            help="Into how many segments the keys are split, 1 to 16: each can be exported to a "
            "file of its own, at the same time.",
        ),
    ] = 1,
    segment_index: Annotated[
        int, typer.Option("--segment-index", help="Which segment to export, from 0.")
    ] = 0,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Keys and metadata only, without the numbers.")
    ] = False,
    resume: Resume = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, or begin anew.")
    ] = False,
) -> None:
    """Write an index, or what a filter matches of it, to a file.

    Until it is whole the file is called FILE.partial. JSON lines get the definition of the index
    beside them, in FILE.index.json; a Parquet file holds it.
    """
    from vectorbucket.cli.transfer_commands import ExportFlags, run_export  # noqa: PLC0415

    run_export(
        connection,
        ExportFlags(
            bucket,
            index_name,
            file,
            format_,
            filter_,
            segment_count,
            segment_index,
            no_data,
            resume,
            overwrite,
        ),
    )


@operation(app, "import", panel=_PANEL)
def import_index(
    connection: Connection,
    *,
    bucket: BucketName,
    index_name: IndexName,
    file: InputFile,
    format_: InputFormat = None,
    metadata: MetadataFile = None,
    create: Create = False,
    dimension: Dimension = None,
    distance_metric: Metric = None,
    non_filterable_metadata_keys: NonFilterable = None,
    batch_size: BatchSize = BATCH_VECTORS_MAX,
    resume: Resume = False,
    state: State = None,
    on_error: DoOnError = OnError.STOP,
    rejects: Rejects = None,
) -> None:
    """Put the vectors of a file into an index; each replaces what its key held before."""
    from vectorbucket.cli.transfer_commands import ImportFlags, run_import  # noqa: PLC0415
    from vectorbucket.cli.transfer_source import Wanted  # noqa: PLC0415

    keys = tuple(filter(None, (non_filterable_metadata_keys or "").split(",")))
    run_import(
        connection,
        ImportFlags(
            bucket,
            index_name,
            file,
            format_,
            metadata,
            Wanted(
                create=create,
                dimension=dimension,
                distance_metric=distance_metric,
                non_filterable_metadata_keys=keys,
            ),
            batch_size,
            resume,
            state,
            on_error is OnError.SKIP,
            rejects,
        ),
    )
