"""How far an export or import has come, on disk, so that it can be resumed.

Rules of this file: a record is replaced as a whole, by a rename, so that whoever is killed leaves
the old one or the new one. It never says more than is so: what it counts is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vectorbucket.cli.connection import BadInput

_VERSION = 1


def write_record(path: Path, task: Mapping[str, Any], done: Mapping[str, Any]) -> None:
    """Replace a record.

    Args:
        path: Where it is.
        task: What is being done: only the same may be resumed.
        done: How far it has come.
    """
    document = {"version": _VERSION, "task": dict(task), "done": dict(done)}
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)


def read_record(path: Path, task: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how far the same task had come; None if there is no record.

    Args:
        path: Where the record is.
        task: What is to be done now.

    Raises:
        BadInput: It is the record of another task, or none that can be read.
    """
    try:
        document = json.loads(path.read_bytes())
        version, then, done = document["version"], document["task"], dict(document["done"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} cannot be read as the record of an unfinished transfer; without --resume it "
            "is begun anew"
        ) from error
    if version != _VERSION:
        raise BadInput(f"{path} has version {version}; this program knows version {_VERSION}")
    # As JSON, because the record was: a tuple is a list there.
    now = json.loads(json.dumps(dict(task)))
    different = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if different:
        name = different[0]
        raise BadInput(
            f"{path} belongs to another transfer: its {name} is {_shown(then.get(name))}, now it "
            f"is {_shown(now.get(name))}; resume with the same flags, or begin anew without "
            "--resume"
        )
    return done


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
