import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerStatisticsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerStatisticsResponse(_message.Message):
    __slots__ = ("version", "engine", "start_time", "bucket_count", "index_count", "loaded_index_count", "vector_count", "pending_vector_count", "dead_vector_count", "memory_bytes", "memory_bytes_max", "store_bytes", "graph_bytes", "disk_free_bytes", "writes_refused")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    BUCKET_COUNT_FIELD_NUMBER: _ClassVar[int]
    INDEX_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOADED_INDEX_COUNT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    PENDING_VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GRAPH_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITES_REFUSED_FIELD_NUMBER: _ClassVar[int]
    version: str
    engine: str
    start_time: _timestamp_pb2.Timestamp
    bucket_count: int
    index_count: int
    loaded_index_count: int
    vector_count: int
    pending_vector_count: int
    dead_vector_count: int
    memory_bytes: int
    memory_bytes_max: int
    store_bytes: int
    graph_bytes: int
    disk_free_bytes: int
    writes_refused: str
    def __init__(self, version: _Optional[str] = ..., engine: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bucket_count: _Optional[int] = ..., index_count: _Optional[int] = ..., loaded_index_count: _Optional[int] = ..., vector_count: _Optional[int] = ..., pending_vector_count: _Optional[int] = ..., dead_vector_count: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_bytes_max: _Optional[int] = ..., store_bytes: _Optional[int] = ..., graph_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., writes_refused: _Optional[str] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class RebuildVectorIndexRequest(_message.Message):
    __slots__ = ("bucket", "index_name")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ...) -> None: ...

class RebuildVectorIndexResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoadVectorIndexRequest(_message.Message):
    __slots__ = ("bucket", "index_name")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ...) -> None: ...

class LoadVectorIndexResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnloadVectorIndexRequest(_message.Message):
    __slots__ = ("bucket", "index_name")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    INDEX_NAME_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    index_name: str
    def __init__(self, bucket: _Optional[str] = ..., index_name: _Optional[str] = ...) -> None: ...

class UnloadVectorIndexResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Backup(_message.Message):
    __slots__ = ("name", "create_time", "size_bytes", "path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    size_bytes: int
    path: str
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., size_bytes: _Optional[int] = ..., path: _Optional[str] = ...) -> None: ...

class PutBackupRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class PutBackupResponse(_message.Message):
    __slots__ = ("backup",)
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    backup: Backup
    def __init__(self, backup: _Optional[_Union[Backup, _Mapping]] = ...) -> None: ...

class ListBackupsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBackupsResponse(_message.Message):
    __slots__ = ("backups",)
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    backups: _containers.RepeatedCompositeFieldContainer[Backup]
    def __init__(self, backups: _Optional[_Iterable[_Union[Backup, _Mapping]]] = ...) -> None: ...

class DeleteBackupRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteBackupResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
