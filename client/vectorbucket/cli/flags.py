"""Flags that several commands have.

Rules of this file: spellings and help only. A flag is named as in ossutil; where somebody who knows
the API would guess another name, that one is taken too.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

BucketName: TypeAlias = Annotated[
    str, typer.Option("--bucket", help="The name of the bucket.", show_default=False)
]
IndexName: TypeAlias = Annotated[
    str,
    typer.Option("--index-name", "--index", help="The name of the index.", show_default=False),
]
Prefix: TypeAlias = Annotated[
    str, typer.Option("--prefix", help="List only names that start with this.", show_default=False)
]
MaxResults: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-results", "--max-keys", help="The most in a page; 0 is the server's default."
    ),
]
NextToken: TypeAlias = Annotated[
    str,
    typer.Option("--next-token", help="The token that the page before gave.", show_default=False),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="List every page, not just one.")]
Keys: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--keys",
        help="Keys with commas between them, or a JSON array: the JSON itself, file://PATH or - "
        "for standard input. Can be repeated.",
        show_default=False,
    ),
]
ReturnData: TypeAlias = Annotated[
    bool, typer.Option("--return-data", help="Answer the numbers of the vectors.")
]
ReturnMetadata: TypeAlias = Annotated[
    bool, typer.Option("--return-metadata", help="Answer the metadata.")
]
ReturnDistance: TypeAlias = Annotated[
    bool, typer.Option("--return-distance", help="Answer the distances.")
]
TopK: TypeAlias = Annotated[
    int, typer.Option("--top-k", help="How many vectors to find.", show_default=False)
]
Filter: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--filter",
        help="Which vectors take part: JSON, file://PATH or - for standard input.",
        show_default=False,
    ),
]
EfSearch: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--ef-search",
        help="Breadth of the search in the graph, 1 to 10,000; more finds more and is slower.",
        show_default=False,
    ),
]
Vectors: TypeAlias = Annotated[
    str,
    typer.Option(
        "--vectors",
        help="A JSON array of vectors, or JSON lines with one in each: the JSON itself, "
        "file://PATH or - for standard input.",
        show_default=False,
    ),
]
BackupName: TypeAlias = Annotated[
    str, typer.Option("--name", help="The name of the backup.", show_default=False)
]
