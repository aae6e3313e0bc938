"""The command that asks whether the server serves; probes use its exit code.

Rules of this file: those of operations.py; the health service is gRPC's own, not of the contract.
"""

from __future__ import annotations

from typing import Annotated

import typer

from vectorbucket.cli import exit_codes
from vectorbucket.cli.answers import answer, facts
from vectorbucket.cli.command import operation
from vectorbucket.cli.connection import BadInput, Connection
from vectorbucket.cli.endings import leave

app = typer.Typer()


@operation(app, "get-health", panel="Operating")
def get_health(
    connection: Connection,
    *,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="The bucket of an index.", show_default=False)
    ] = None,
    index_name: Annotated[
        str | None,
        typer.Option("--index-name", "--index", help="The index to ask for.", show_default=False),
    ] = None,
) -> None:
    """Ask whether the server, or an index, serves; exits with 4 if it does not.

    The server as a whole takes no credentials.
    """
    if (bucket is None) != (index_name is None):
        raise BadInput("--bucket and --index-name belong together; only one of them was given")
    with connection.connect() as client:
        serving = client.is_serving(bucket, index_name, timeout_s=connection.timeout_s)
    status = "SERVING" if serving else "NOT_SERVING"
    answer(connection, {"status": status}, facts([("status", status)]))
    if not serving:
        leave(exit_codes.TEMPORARY)
