import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from vectorbucket.v1 import index_pb2 as _index_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutVectorIndexRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "data_type", "dimension", "distance_metric", "metadata", "graph")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_METRIC_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    data_type: _index_pb2.DataType
    dimension: int
    distance_metric: _index_pb2.DistanceMetric
    metadata: _index_pb2.MetadataConfiguration
    graph: _index_pb2.GraphConfiguration
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., data_type: _Optional[_Union[_index_pb2.DataType, str]] = ..., dimension: _Optional[int] = ..., distance_metric: _Optional[_Union[_index_pb2.DistanceMetric, str]] = ..., metadata: _Optional[_Union[_index_pb2.MetadataConfiguration, _Mapping]] = ..., graph: _Optional[_Union[_index_pb2.GraphConfiguration, _Mapping]] = ...) -> None: ...

class PutVectorIndexResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetVectorIndexRequest(_message.Message):
    __slots__ = ("bucket", "index_name")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ...) -> None: ...

class GetVectorIndexResponse(_message.Message):
    __slots__ = ("index", "vector_count", "pending_vector_count", "loaded", "dead_share", "rebuilding", "memory_bytes", "disk_bytes", "checkpoint_time")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    PENDING_VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    DEAD_SHARE_FIELD_NUMBER: _ClassVar[int]
    REBUILDING_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_TIME_FIELD_NUMBER: _ClassVar[int]
    index: _index_pb2.Index
    vector_count: int
    pending_vector_count: int
    loaded: bool
    dead_share: float
    rebuilding: bool
    memory_bytes: int
    disk_bytes: int
    checkpoint_time: _timestamp_pb2.Timestamp
    def __init__(self, index: _Optional[_Union[_index_pb2.Index, _Mapping]] = ..., vector_count: _Optional[int] = ..., pending_vector_count: _Optional[int] = ..., loaded: bool = ..., dead_share: _Optional[float] = ..., rebuilding: bool = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., checkpoint_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListVectorIndexesRequest(_message.Message):
    __slots__ = ("bucket", "max_results", "next_token", "prefix")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    max_results: int
    next_token: str
    prefix: str
    def __init__(self, bucket: _Optional[str] = ..., max_results: _Optional[int] = ..., next_token: _Optional[str] = ..., prefix: _Optional[str] = ...) -> None: ...

class ListVectorIndexesResponse(_message.Message):
    __slots__ = ("indexes", "next_token")
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    indexes: _containers.RepeatedCompositeFieldContainer[_index_pb2.Index]
    next_token: str
    def __init__(self, indexes: _Optional[_Iterable[_Union[_index_pb2.Index, _Mapping]]] = ..., next_token: _Optional[str] = ...) -> None: ...

class DeleteVectorIndexRequest(_message.Message):
    __slots__ = ("bucket", "index_name")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ...) -> None: ...

class DeleteVectorIndexResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
