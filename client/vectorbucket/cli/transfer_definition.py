"""What an exported file says of its index, so that an import can make it again.

Rules of this file: values and their JSON, in the spelling of OSS (graph options, which OSS has not,
in the same manner); beside JSON lines it stands in ``FILE.index.json``, in Parquet within the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vectorbucket._models import IndexInfo
from vectorbucket.cli.connection import BadInput

SUFFIX = ".index.json"
"""What is added to the name of a file of JSON lines."""

_GRAPH = {"m": "m", "efConstruction": "ef_construction", "efSearch": "ef_search"}


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition of an index.

    Attributes:
        dimension: Numbers in each vector.
        distance_metric: ``cosine`` or ``euclidean``.
        non_filterable_metadata_keys: Metadata fields that no filter can use.
        m: Links of a vector in the graph; None where that is left to the server.
        ef_construction: Breadth of the search for a new vector's links; None as for ``m``.
        ef_search: Breadth of the search of a query; None as for ``m``.
    """

    dimension: int
    distance_metric: str
    non_filterable_metadata_keys: tuple[str, ...] = ()
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None

    @classmethod
    def of_index(cls, index: IndexInfo) -> Self:
        """Return the definition of an index."""
        return cls(
            index.dimension,
            index.distance_metric,
            index.non_filterable_metadata_keys,
            index.m,
            index.ef_construction,
            index.ef_search,
        )

    @classmethod
    def of_json(cls, said: Any) -> Self:
        """Return the definition that JSON says.

        Raises:
            ValueError: It says none.
        """
        try:
            graph = said.get("graph", {})
            made = cls(
                said["dimension"],
                said["distanceMetric"],
                tuple(said.get("metadata", {}).get("nonFilterableMetadataKeys", ())),
                **{name: graph.get(word) for word, name in _GRAPH.items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("it holds no definition of an index") from error
        if type(made.dimension) is not int or type(made.distance_metric) is not str:
            raise ValueError("it holds no definition of an index")
        return made

    def as_json(self) -> dict[str, Any]:
        """Return the definition as JSON."""
        graph = {word: getattr(self, name) for word, name in _GRAPH.items()}
        said = {word: value for word, value in graph.items() if value is not None}
        return {
            "dataType": "float32",
            "dimension": self.dimension,
            "distanceMetric": self.distance_metric,
            "metadata": {"nonFilterableMetadataKeys": list(self.non_filterable_metadata_keys)},
            **({"graph": said} if said else {}),
        }


def definition_path(file: Path) -> Path:
    """Return where the definition stands for a file of JSON lines."""
    return file.with_name(file.name + SUFFIX)


def described(definition: Definition, source: Mapping[str, Any]) -> str:
    """Return the text that stands in ``FILE.index.json``.

    Args:
        definition: The index.
        source: Where the vectors came from.
    """
    document = {"index": definition.as_json(), "source": dict(source)}
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def definition_beside(file: Path) -> Definition | None:
    """Return the definition that stands beside a file, None if there is none.

    Raises:
        BadInput: What stands there is no definition.
    """
    path = definition_path(file)
    try:
        return Definition.of_json(json.loads(path.read_bytes())["index"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no definition of an index: {error}") from error
