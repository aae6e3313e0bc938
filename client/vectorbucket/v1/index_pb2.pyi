import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]

class DistanceMetric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISTANCE_METRIC_UNSPECIFIED: _ClassVar[DistanceMetric]
    DISTANCE_METRIC_EUCLIDEAN: _ClassVar[DistanceMetric]
    DISTANCE_METRIC_COSINE: _ClassVar[DistanceMetric]

class IndexStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_STATUS_UNSPECIFIED: _ClassVar[IndexStatus]
    INDEX_STATUS_CREATING: _ClassVar[IndexStatus]
    INDEX_STATUS_ENABLE: _ClassVar[IndexStatus]
    INDEX_STATUS_DELETING: _ClassVar[IndexStatus]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DISTANCE_METRIC_UNSPECIFIED: DistanceMetric
DISTANCE_METRIC_EUCLIDEAN: DistanceMetric
DISTANCE_METRIC_COSINE: DistanceMetric
INDEX_STATUS_UNSPECIFIED: IndexStatus
INDEX_STATUS_CREATING: IndexStatus
INDEX_STATUS_ENABLE: IndexStatus
INDEX_STATUS_DELETING: IndexStatus

class MetadataConfiguration(_message.Message):
    __slots__ = ("non_filterable_metadata_keys",)
    NON_FILTERABLE_METADATA_KEYS_FIELD_NUMBER: _ClassVar[int]
    non_filterable_metadata_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, non_filterable_metadata_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class GraphConfiguration(_message.Message):
    __slots__ = ("m", "ef_construction", "ef_search")
    M_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    m: int
    ef_construction: int
    ef_search: int
    def __init__(self, m: _Optional[int] = ..., ef_construction: _Optional[int] = ..., ef_search: _Optional[int] = ...) -> None: ...

class Index(_message.Message):
    __slots__ = ("index_name", "data_type", "dimension", "distance_metric", "metadata", "create_time", "status", "bucket", "graph")
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_METRIC_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    index_name: str
    data_type: DataType
    dimension: int
    distance_metric: DistanceMetric
    metadata: MetadataConfiguration
    create_time: _timestamp_pb2.Timestamp
    status: IndexStatus
    bucket: str
    graph: GraphConfiguration
    def __init__(self, index_name: _Optional[str] = ..., data_type: _Optional[_Union[DataType, str]] = ..., dimension: _Optional[int] = ..., distance_metric: _Optional[_Union[DistanceMetric, str]] = ..., metadata: _Optional[_Union[MetadataConfiguration, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[IndexStatus, str]] = ..., bucket: _Optional[str] = ..., graph: _Optional[_Union[GraphConfiguration, _Mapping]] = ...) -> None: ...
