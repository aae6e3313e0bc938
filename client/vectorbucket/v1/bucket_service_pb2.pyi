from vectorbucket.v1 import bucket_pb2 as _bucket_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutVectorBucketRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class PutVectorBucketResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetVectorBucketRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class GetVectorBucketResponse(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: _bucket_pb2.Bucket
    def __init__(self, bucket: _Optional[_Union[_bucket_pb2.Bucket, _Mapping]] = ...) -> None: ...

class ListVectorBucketsRequest(_message.Message):
    __slots__ = ("prefix", "marker", "max_keys")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    MARKER_FIELD_NUMBER: _ClassVar[int]
    MAX_KEYS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    marker: str
    max_keys: int
    def __init__(self, prefix: _Optional[str] = ..., marker: _Optional[str] = ..., max_keys: _Optional[int] = ...) -> None: ...

class ListVectorBucketsResponse(_message.Message):
    __slots__ = ("buckets", "is_truncated", "next_marker")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    IS_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    NEXT_MARKER_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[_bucket_pb2.Bucket]
    is_truncated: bool
    next_marker: str
    def __init__(self, buckets: _Optional[_Iterable[_Union[_bucket_pb2.Bucket, _Mapping]]] = ..., is_truncated: bool = ..., next_marker: _Optional[str] = ...) -> None: ...

class DeleteVectorBucketRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class DeleteVectorBucketResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PutBucketPolicyRequest(_message.Message):
    __slots__ = ("bucket", "policy")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    policy: str
    def __init__(self, bucket: _Optional[str] = ..., policy: _Optional[str] = ...) -> None: ...

class PutBucketPolicyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetBucketPolicyRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class GetBucketPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: str
    def __init__(self, policy: _Optional[str] = ...) -> None: ...

class DeleteBucketPolicyRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class DeleteBucketPolicyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PutBucketLoggingRequest(_message.Message):
    __slots__ = ("bucket", "logging")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    LOGGING_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    logging: _bucket_pb2.BucketLogging
    def __init__(self, bucket: _Optional[str] = ..., logging: _Optional[_Union[_bucket_pb2.BucketLogging, _Mapping]] = ...) -> None: ...

class PutBucketLoggingResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetBucketLoggingRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class GetBucketLoggingResponse(_message.Message):
    __slots__ = ("logging",)
    LOGGING_FIELD_NUMBER: _ClassVar[int]
    logging: _bucket_pb2.BucketLogging
    def __init__(self, logging: _Optional[_Union[_bucket_pb2.BucketLogging, _Mapping]] = ...) -> None: ...

class DeleteBucketLoggingRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class DeleteBucketLoggingResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
