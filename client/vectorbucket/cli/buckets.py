"""The commands on buckets, their policies and their logging.

Rules of this file: one command per operation, named and flagged as in ossutil; a command reads its
flags, calls one method of the client and answers.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vectorbucket import BucketInfo, BucketLogging
from vectorbucket.cli.answers import answer, answer_done, answer_text, columns, facts
from vectorbucket.cli.command import operation
from vectorbucket.cli.connection import BadInput, Connection
from vectorbucket.cli.endings import say
from vectorbucket.cli.flags import All, BucketName, Prefix
from vectorbucket.cli.json_input import read_json, read_text
from vectorbucket.cli.spelling import bucket_document, logging_document

_PANEL = "Buckets"

_LOGGING_MEMBERS = ("TargetBucket", "TargetPrefix", "LoggingRole")

app = typer.Typer()


@operation(app, "put-vector-bucket", panel=_PANEL)
def put_vector_bucket(connection: Connection, *, bucket: BucketName) -> None:
    """Make a bucket."""
    with connection.connect() as client:
        client.put_vector_bucket(bucket)
    answer_done(connection, f"bucket {bucket} is made")


@operation(app, "get-vector-bucket", panel=_PANEL)
def get_vector_bucket(connection: Connection, *, bucket: BucketName) -> None:
    """Show a bucket."""
    with connection.connect() as client:
        found = client.get_vector_bucket(bucket)
    document = {"BucketInfo": bucket_document(found)}
    answer(connection, document, facts(zip(_HEADINGS, _row(found), strict=True)))


@operation(app, "list-vector-buckets", panel=_PANEL)
def list_vector_buckets(
    connection: Connection,
    *,
    prefix: Prefix = "",
    marker: Annotated[
        str,
        typer.Option(
            "--marker",
            "--next-token",
            help="List only names after this: what the page before gave.",
            show_default=False,
        ),
    ] = "",
    max_keys: Annotated[
        int,
        typer.Option("--max-keys", "--max-results", help="The most in a page, 1 to 1,000; 0: 100."),
    ] = 0,
    every: All = False,
) -> None:
    """List the account's buckets, a page or all."""
    with connection.connect() as client:
        page = client.list_vector_buckets_page(prefix, marker=marker, max_keys=max_keys)
        buckets, marker = page.buckets, page.next_marker
        while every and marker:
            page = client.list_vector_buckets_page(prefix, marker=marker, max_keys=max_keys)
            buckets, marker = buckets + page.buckets, page.next_marker
    result: dict[str, Any] = {"Buckets": [bucket_document(one) for one in buckets]}
    if marker:
        result = {"Prefix": prefix, "IsTruncated": True, "NextMarker": marker} | result
    answer(connection, {"ListAllMyBucketsResult": result}, columns(_HEADINGS, map(_row, buckets)))
    if marker:
        say(f"there are more: --marker {marker}, or --all")


@operation(app, "delete-vector-bucket", panel=_PANEL)
def delete_vector_bucket(connection: Connection, *, bucket: BucketName) -> None:
    """Delete an empty bucket."""
    with connection.connect() as client:
        client.delete_vector_bucket(bucket)
    answer_done(connection, f"bucket {bucket} is deleted")


@operation(app, "put-bucket-policy", panel=_PANEL)
def put_bucket_policy(
    connection: Connection,
    *,
    bucket: BucketName,
    body: Annotated[
        str,
        typer.Option(
            "--body",
            "--policy",
            help="The policy: JSON, file://PATH or - for standard input. It is kept as it stands.",
            show_default=False,
        ),
    ],
) -> None:
    """Say what others may do with a bucket."""
    policy = read_text("--body", body)
    with connection.connect() as client:
        client.put_bucket_policy(bucket, policy)
    answer_done(connection, f"bucket {bucket} has this policy")


@operation(app, "get-bucket-policy", panel=_PANEL)
def get_bucket_policy(connection: Connection, *, bucket: BucketName) -> None:
    """Show the policy of a bucket, as it was put."""
    with connection.connect() as client:
        answer_text(connection, client.get_bucket_policy(bucket))


@operation(app, "delete-bucket-policy", panel=_PANEL)
def delete_bucket_policy(connection: Connection, *, bucket: BucketName) -> None:
    """Take back the policy of a bucket."""
    with connection.connect() as client:
        client.delete_bucket_policy(bucket)
    answer_done(connection, f"bucket {bucket} has no policy")


@operation(app, "put-bucket-logging", panel=_PANEL)
def put_bucket_logging(
    connection: Connection,
    *,
    bucket: BucketName,
    status: Annotated[
        str,
        typer.Option(
            "--bucket-logging-status",
            "--body",
            help='Where to log: {"LoggingEnabled": {"TargetBucket": …, "TargetPrefix": …}} as '
            "JSON, file://PATH or - for standard input.",
            show_default=False,
        ),
    ],
) -> None:
    """Have every request on a bucket logged from now on."""
    found = read_json("--bucket-logging-status", status, dict, "a JSON object")
    logging = _logging(found)
    with connection.connect() as client:
        client.put_bucket_logging(bucket, logging)
    answer_done(connection, f"requests on bucket {bucket} are logged")


@operation(app, "get-bucket-logging", panel=_PANEL)
def get_bucket_logging(connection: Connection, *, bucket: BucketName) -> None:
    """Show where the requests on a bucket are logged."""
    with connection.connect() as client:
        logging = client.get_bucket_logging(bucket)
    document = logging_document(logging)
    shown = document["BucketLoggingStatus"]["LoggingEnabled"] or {"LoggingEnabled": False}
    answer(connection, document, facts(shown.items()))


@operation(app, "delete-bucket-logging", panel=_PANEL)
def delete_bucket_logging(connection: Connection, *, bucket: BucketName) -> None:
    """End the logging of a bucket."""
    with connection.connect() as client:
        client.delete_bucket_logging(bucket)
    answer_done(connection, f"requests on bucket {bucket} are not logged")


_HEADINGS = ("bucket", "account", "region", "made")


def _row(bucket: BucketInfo) -> tuple[object, ...]:
    """Return what stands in a table for a bucket, below _HEADINGS."""
    return bucket.bucket, bucket.account_id, bucket.region, bucket.create_time


def _logging(status: dict[str, Any]) -> BucketLogging:
    """Return where to log; the outermost name may be left out, as ossutil's pages do and do not.

    Raises:
        BadInput: Something is missing, or not a text.
    """
    place = "--bucket-logging-status"
    found: Any = status.get("BucketLoggingStatus", status)
    found = found.get("LoggingEnabled") if isinstance(found, dict) else None
    if not isinstance(found, dict) or "TargetBucket" not in found:
        raise BadInput(f"{place} has no LoggingEnabled.TargetBucket, which says where to log")
    texts = [found.get(name) or "" for name in _LOGGING_MEMBERS]
    for name, text in zip(_LOGGING_MEMBERS, texts, strict=True):
        if not isinstance(text, str):
            raise BadInput(f"{place}: LoggingEnabled.{name} must be a text")
    return BucketLogging(*texts)
