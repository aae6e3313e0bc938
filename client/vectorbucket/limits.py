"""Every limit of the contract, with its unit, its source and its value in each profile.

Rules of this file:

- It imports nothing outside the standard library.
- A limit's docstring says what is limited, in which unit, and where the number comes from. "OSS"
  means the documented limit of OSS Vectors (service pages of March 2026 unless said otherwise);
  "ours" means that this project chose it, and why.
- *Physical* limits hold in every profile: lifting them would break something. *Policy* limits are
  lifted by the profile ``unlimited``. Each one can also be set by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum

UNBOUNDED = 2**31 - 1
"""What a lifted limit becomes: the largest number that the contract's int32 fields can say."""

INTEGER_MAX = 2**53
"""Up to here every integer is a double of its own; beyond, some become their neighbours, so they
are refused. Source: IEEE 754 binary64."""

FILTER_LEVELS_CEILING = 64
"""What ``filter_levels_max`` may be set to: filters are parsed, printed and evaluated by recursion,
a few frames of the interpreter's 1,000 a level."""

TOKEN_FRAME_BYTES = 64
"""What a page token may hold beside the name or key after which the next page begins."""


class MetadataTypes(Enum):
    """Which values metadata may hold."""

    ALL = "all"
    """Strings, numbers, booleans, and lists of them, mixed or empty lists too."""
    STRINGS = "strings"
    """Strings and lists of strings, as the service pages of November 2025 to March 2026 say."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits a server holds its callers to. The defaults are the profile ``oss``."""

    buckets_max: int = 100
    """Policy. Buckets of an account. Source: OSS, 2026 pages."""

    indexes_per_bucket_max: int = 100
    """Policy. Indexes of a bucket. Source: OSS."""

    list_buckets_max: int = 1000
    """Physical. Buckets in a page. Source: OSS."""

    list_buckets_default: int = 100
    """Physical. Buckets in a page when the caller names no number. Source: OSS."""

    list_indexes_max: int = 500
    """Physical. Indexes in a page. Source: OSS."""

    list_indexes_default: int = 100
    """Physical. Indexes in a page when the caller names no number. Source: OSS."""

    list_vectors_max: int = 1000
    """Physical. Vectors in a page. Source: OSS."""

    list_vectors_default: int = 500
    """Physical. Vectors in a page when the caller names no number. Source: OSS."""

    segments_max: int = 16
    """Physical. Segments of a listing. Source: OSS."""

    dimension_max: int = 4096
    """Physical. Numbers in a vector. Source: OSS; message and page sizes are planned for it."""

    key_bytes_max: int = 1024
    """Physical. UTF-8 bytes of a vector's key. Source: OSS; page tokens are planned for it."""

    put_vectors_max: int = 500
    """Policy. Vectors in one batch. Source: OSS."""

    get_vectors_max: int = 100
    """Policy. Keys in one GetVectors. Source: OSS."""

    delete_vectors_max: int = 500
    """Policy. Keys in one DeleteVectors. Source: OSS."""

    top_k_max: int = 100
    """Policy. Vectors a query may ask for. Source: OSS, pages of March 2026."""

    m_min: int = 4
    """Physical. Links of a vector in the graph, at least. Source: ours; hnswlib takes 2, but graphs
    of so few links fall apart."""

    m_max: int = 128
    """Physical. Links of a vector in the graph, at most. Source: ours; at 128 a vector's links
    take 1 KB, and hnswlib's manual (ALGO_PARAMS.md) finds 48 to 64 enough for the hardest data."""

    ef_construction_min: int = 8
    """Physical. Breadth of the search for a new vector's links, at least. Source: ours; twice the
    fewest links, so that there is something to choose from."""

    ef_construction_max: int = 4096
    """Physical. Breadth of the search for a new vector's links, at most. Source: ours; twenty times
    the default, and the time of indexing grows with it."""

    ef_search_max: int = 10_000
    """Physical. Breadth of a query's search in the graph, at most. Source: ours; at 10,000 a
    search among 20,000 × 384 takes longer than an exact scan (17 ms to 11 ms)."""

    query_hits_max: int = 100_000
    """Physical. Queries × top_k in one QueryVectorsBatch. Source: ours; about 100 MB of hits with
    large keys is as much as one call should hold in memory."""

    metadata_bytes_max: int = 40 * 1024
    """Policy. Bytes of a vector's metadata in all: compact JSON in UTF-8. Source: OSS."""

    metadata_field_bytes_max: int = 2 * 1024
    """Policy. Bytes of one filterable field, name and value: compact JSON in UTF-8. Source: OSS,
    concept page."""

    metadata_fields_max: int = 10
    """Policy. Fields of a vector's metadata, filterable or not. Source: OSS, concept page."""

    metadata_key_bytes_max: int = 255
    """Physical. UTF-8 bytes of a metadata field's name. Source: ours."""

    metadata_types: MetadataTypes = MetadataTypes.ALL
    """Policy. Which values metadata may hold. Source: OSS, pages of 2025 and late 2026."""

    non_filterable_keys_max: int = 10
    """Policy. Non-filterable metadata keys of an index. Source: OSS."""

    non_filterable_key_bytes_max: int = 63
    """Physical. Bytes of the name of a non-filterable metadata key. Source: OSS."""

    filter_bytes_max: int = 64 * 1024
    """Physical. Bytes of a filter printed back as compact JSON. Source: OSS."""

    filter_operands_max: int = 1024
    """Physical. Leaf operands of a filter; each element of a list counts. Source: OSS ("items")."""

    filter_levels_max: int = 8
    """Physical. Depth of nested $and and $or; the outermost is level 1. Source: OSS."""

    bucket_name_min: int = 3
    """Physical. Characters of a bucket's name, at least. Source: OSS."""

    bucket_name_max: int = 63
    """Physical. Characters of a bucket's name, at most. Source: what the OSS SDKs let through."""

    bucket_policy_bytes_max: int = 16 * 1024
    """Physical. Bytes of a bucket's policy, as it was put. Source: ours; all policies are kept in
    memory, and hundreds of statements fit."""

    logging_text_bytes_max: int = 128
    """Physical. UTF-8 bytes of the prefix, and of the role, of a bucket's logging. Source: ours;
    with the bucket, the time and what makes it unique, the prefix is the name of a file, which has
    up to 255 bytes."""

    index_name_max: int = 63
    """Physical. Characters of an index's name. Source: OSS."""

    index_name_punctuation: bool = False
    """Policy. Whether an index's name may hold ``-``, ``_`` and ``.`` inside. Source: OSS: no."""

    message_bytes_max: int = 64 * 1024 * 1024
    """Physical. Bytes of one gRPC message that the server takes. Source: ours; the largest legal
    batch, 500 × 4,096 numbers with keys and metadata, is about 29 MB."""

    page_bytes_max: int = 3_500_000
    """Physical. Bytes after which a page or a stream message ends. Source: ours; gRPC libraries
    refuse messages over 4 MiB unless told otherwise."""

    index_token_bytes_max: int = 512
    """Physical. Bytes of a page token of ListVectorIndexes. Source: OSS."""

    vector_token_bytes_max: int = 2048
    """Physical. Bytes of a page token of ListVectors. Source: OSS."""

    stream_id_bytes_max: int = 64
    """Physical. Bytes of a PutVectors stream's id. Source: ours; a UUID has 36."""

    def __post_init__(self) -> None:
        """Check that every number is in range and that the limits fit each other."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is int and not 1 <= value <= UNBOUNDED:
                raise ValueError(f"limit {field.name} is {value}; it must be 1 to {UNBOUNDED}")
        for smaller, larger in _ORDERED:
            self._check_order(smaller, getattr(self, smaller), larger)
        # A page token holds a name or key in base64, and its frame.
        for name, token in _TOKENS:
            encoded = (getattr(self, name) + 2) // 3 * 4 + TOKEN_FRAME_BYTES
            self._check_order(f"{name}, in a page token,", encoded, token)
        if self.filter_levels_max > FILTER_LEVELS_CEILING:
            raise ValueError(
                f"limit filter_levels_max is {self.filter_levels_max}; it must be at most "
                f"{FILTER_LEVELS_CEILING}"
            )

    def _check_order(self, smaller: str, value: int, larger: str) -> None:
        limit = getattr(self, larger)
        if value > limit:
            raise ValueError(
                f"limit {smaller} is {value}; {larger} is {limit} and must not be less"
            )


_ORDERED = (
    ("list_buckets_default", "list_buckets_max"),
    ("list_indexes_default", "list_indexes_max"),
    ("list_vectors_default", "list_vectors_max"),
    ("bucket_name_min", "bucket_name_max"),
    ("m_min", "m_max"),
    ("ef_construction_min", "ef_construction_max"),
    # The breadth is raised to the links where it is less: no legal m raises it past its limit.
    ("m_max", "ef_construction_max"),
)
"""Pairs of limits of which the first must not exceed the second."""

_TOKENS = (
    ("key_bytes_max", "vector_token_bytes_max"),
    ("index_name_max", "index_token_bytes_max"),
)
"""What a page token must be able to hold, and the limit of the token."""


OSS = Limits()
"""The profile ``oss``: the documented limits of OSS Vectors."""

UNLIMITED = replace(
    OSS,
    buckets_max=UNBOUNDED,
    indexes_per_bucket_max=UNBOUNDED,
    put_vectors_max=UNBOUNDED,
    get_vectors_max=UNBOUNDED,
    delete_vectors_max=UNBOUNDED,
    top_k_max=UNBOUNDED,
    metadata_bytes_max=UNBOUNDED,
    metadata_field_bytes_max=UNBOUNDED,
    metadata_fields_max=UNBOUNDED,
    non_filterable_keys_max=UNBOUNDED,
    index_name_punctuation=True,
)
"""The profile ``unlimited``: what is policy is lifted, what is physical stays."""

PROFILES = {"oss": OSS, "unlimited": UNLIMITED}
"""Profile by name."""

# A message holds the largest legal batch of vectors, no page is over gRPC's own limit of 4 MiB, and
# no top_k raises a search past the breadth that may be asked for. All can be set otherwise, so
# these are relations of this profile only.
assert OSS.dimension_max * 4 * OSS.put_vectors_max < OSS.message_bytes_max  # noqa: S101
assert OSS.page_bytes_max < 4 * 1024 * 1024  # noqa: S101
assert OSS.top_k_max <= OSS.ef_search_max  # noqa: S101
