from google.protobuf import struct_pb2 as _struct_pb2
from google.rpc import status_pb2 as _status_pb2
from vectorbucket.v1 import vector_pb2 as _vector_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutVectorsRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "stream_id", "batch_number", "vectors")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_NUMBER_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    stream_id: str
    batch_number: int
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Vector]
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., stream_id: _Optional[str] = ..., batch_number: _Optional[int] = ..., vectors: _Optional[_Iterable[_Union[_vector_pb2.Vector, _Mapping]]] = ...) -> None: ...

class PutVectorsResponse(_message.Message):
    __slots__ = ("batch_number", "stored", "error")
    BATCH_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    batch_number: int
    stored: PutVectorsStored
    error: _status_pb2.Status
    def __init__(self, batch_number: _Optional[int] = ..., stored: _Optional[_Union[PutVectorsStored, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class PutVectorsStored(_message.Message):
    __slots__ = ("vector_count",)
    VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    vector_count: int
    def __init__(self, vector_count: _Optional[int] = ...) -> None: ...

class PutVectorsBatchRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "vectors")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Vector]
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., vectors: _Optional[_Iterable[_Union[_vector_pb2.Vector, _Mapping]]] = ...) -> None: ...

class PutVectorsBatchResponse(_message.Message):
    __slots__ = ("vector_count",)
    VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    vector_count: int
    def __init__(self, vector_count: _Optional[int] = ...) -> None: ...

class GetVectorsRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "keys", "return_data", "return_metadata", "data_encoding")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    RETURN_DATA_FIELD_NUMBER: _ClassVar[int]
    RETURN_METADATA_FIELD_NUMBER: _ClassVar[int]
    DATA_ENCODING_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    return_data: bool
    return_metadata: bool
    data_encoding: _vector_pb2.DataEncoding
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., return_data: bool = ..., return_metadata: bool = ..., data_encoding: _Optional[_Union[_vector_pb2.DataEncoding, str]] = ...) -> None: ...

class GetVectorsResponse(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Vector]
    def __init__(self, vectors: _Optional[_Iterable[_Union[_vector_pb2.Vector, _Mapping]]] = ...) -> None: ...

class ListVectorsRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "max_results", "next_token", "return_data", "return_metadata", "segment_count", "segment_index", "data_encoding", "whole_page")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RETURN_DATA_FIELD_NUMBER: _ClassVar[int]
    RETURN_METADATA_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    DATA_ENCODING_FIELD_NUMBER: _ClassVar[int]
    WHOLE_PAGE_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    max_results: int
    next_token: str
    return_data: bool
    return_metadata: bool
    segment_count: int
    segment_index: int
    data_encoding: _vector_pb2.DataEncoding
    whole_page: bool
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., max_results: _Optional[int] = ..., next_token: _Optional[str] = ..., return_data: bool = ..., return_metadata: bool = ..., segment_count: _Optional[int] = ..., segment_index: _Optional[int] = ..., data_encoding: _Optional[_Union[_vector_pb2.DataEncoding, str]] = ..., whole_page: bool = ...) -> None: ...

class ListVectorsResponse(_message.Message):
    __slots__ = ("vectors", "next_token")
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Vector]
    next_token: str
    def __init__(self, vectors: _Optional[_Iterable[_Union[_vector_pb2.Vector, _Mapping]]] = ..., next_token: _Optional[str] = ...) -> None: ...

class ScanVectorsRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "after_key", "return_data", "return_metadata", "segment_count", "segment_index", "data_encoding", "filter")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_KEY_FIELD_NUMBER: _ClassVar[int]
    RETURN_DATA_FIELD_NUMBER: _ClassVar[int]
    RETURN_METADATA_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    DATA_ENCODING_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    after_key: str
    return_data: bool
    return_metadata: bool
    segment_count: int
    segment_index: int
    data_encoding: _vector_pb2.DataEncoding
    filter: _struct_pb2.Struct
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., after_key: _Optional[str] = ..., return_data: bool = ..., return_metadata: bool = ..., segment_count: _Optional[int] = ..., segment_index: _Optional[int] = ..., data_encoding: _Optional[_Union[_vector_pb2.DataEncoding, str]] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ScanVectorsResponse(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Vector]
    def __init__(self, vectors: _Optional[_Iterable[_Union[_vector_pb2.Vector, _Mapping]]] = ...) -> None: ...

class DeleteVectorsRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "keys")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteVectorsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryVectorsRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "query_vector", "top_k", "filter", "return_distance", "return_metadata", "ef_search")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    QUERY_VECTOR_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RETURN_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    RETURN_METADATA_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    query_vector: _vector_pb2.VectorData
    top_k: int
    filter: _struct_pb2.Struct
    return_distance: bool
    return_metadata: bool
    ef_search: int
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., query_vector: _Optional[_Union[_vector_pb2.VectorData, _Mapping]] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., return_distance: bool = ..., return_metadata: bool = ..., ef_search: _Optional[int] = ...) -> None: ...

class QueryVectorsResponse(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Hit]
    def __init__(self, vectors: _Optional[_Iterable[_Union[_vector_pb2.Hit, _Mapping]]] = ...) -> None: ...

class QueryVectorsBatchRequest(_message.Message):
    __slots__ = ("bucket", "index_name", "query_vectors", "top_k", "filter", "return_distance", "return_metadata", "ef_search")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    QUERY_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RETURN_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    RETURN_METADATA_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    query_vectors: _vector_pb2.VectorData
    top_k: int
    filter: _struct_pb2.Struct
    return_distance: bool
    return_metadata: bool
    ef_search: int
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ..., query_vectors: _Optional[_Union[_vector_pb2.VectorData, _Mapping]] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., return_distance: bool = ..., return_metadata: bool = ..., ef_search: _Optional[int] = ...) -> None: ...

class QueryVectorsBatchResponse(_message.Message):
    __slots__ = ("first_position", "results")
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    first_position: int
    results: _containers.RepeatedCompositeFieldContainer[QueryResult]
    def __init__(self, first_position: _Optional[int] = ..., results: _Optional[_Iterable[_Union[QueryResult, _Mapping]]] = ...) -> None: ...

class QueryResult(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[_vector_pb2.Hit]
    def __init__(self, vectors: _Optional[_Iterable[_Union[_vector_pb2.Hit, _Mapping]]] = ...) -> None: ...
