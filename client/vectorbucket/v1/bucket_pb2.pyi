import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Bucket(_message.Message):
    __slots__ = ("bucket", "account_id", "create_time", "region")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    account_id: str
    create_time: _timestamp_pb2.Timestamp
    region: str
    def __init__(self, bucket: _Optional[str] = ..., account_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., region: _Optional[str] = ...) -> None: ...

class BucketLogging(_message.Message):
    __slots__ = ("target_bucket", "target_prefix", "logging_role")
    TARGET_BUCKET_FIELD_NUMBER: _ClassVar[int]
    TARGET_PREFIX_FIELD_NUMBER: _ClassVar[int]
    LOGGING_ROLE_FIELD_NUMBER: _ClassVar[int]
    target_bucket: str
    target_prefix: str
    logging_role: str
    def __init__(self, target_bucket: _Optional[str] = ..., target_prefix: _Optional[str] = ..., logging_role: _Optional[str] = ...) -> None: ...
