"""The golden listing of the contract: every name, number and type that a caller may rely on.

Rules of this file: pure, descriptors in, lines out; a line says one fact by itself, so that
comparing two listings needs no context; what is not on a line (comments, the order of declarations,
which file something stands in) may change freely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

HEADER = """\
# The contract as it was agreed: one fact a line, written by scripts/generate_protos.py, compared by
# tests/proto/test_contract.py. Within v1 lines are added, never changed or removed; see README.md.
"""


def listing(files: FileDescriptorSet) -> list[str]:
    """Return the facts of the files, one line each, sorted by kind and name, then by number."""
    lines = [f"package {package}" for package in {file.package for file in files.file}]
    for file in files.file:
        prefix = f".{file.package}."
        for message in file.message_type:
            lines += _message_lines(message, message.name, prefix)
        for enum in file.enum_type:
            lines += _enum_lines(enum, enum.name)
        for service in file.service:
            lines += [_method_line(service.name, one, prefix) for one in service.method]
    return sorted(lines, key=_sorting)


def render(lines: Iterable[str]) -> str:
    """Return the text of ``contract.lock``."""
    return HEADER + "".join(f"{line}\n" for line in lines)


def parse(text: str) -> list[str]:
    """Return the lines of a ``contract.lock``, without its comments."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def lost(agreed: Sequence[str], current: Sequence[str]) -> list[str]:
    """Return the facts that were agreed and hold no longer: what breaks a caller."""
    return sorted(set(agreed) - set(current))


def _sorting(line: str) -> tuple[str, str, int]:
    kind, name, *rest = line.split(" ", 3)
    number = int(rest[0]) if rest and rest[0].isdigit() else -1
    return kind, name, number


def _message_lines(message: DescriptorProto, name: str, prefix: str) -> Iterator[str]:
    yield f"message {name}"
    maps = {one.name: one for one in message.nested_type if one.options.map_entry}
    for field in message.field:
        yield f"message {name} {field.number} {field.name}: {_type(field, message, maps, prefix)}"
    for reserved in message.reserved_range:
        for number in range(reserved.start, reserved.end):
            yield f"message {name} {number} reserved"
    for nested in message.nested_type:
        if nested.name not in maps:
            yield from _message_lines(nested, f"{name}.{nested.name}", prefix)
    for enum in message.enum_type:
        yield from _enum_lines(enum, f"{name}.{enum.name}")


def _enum_lines(enum: EnumDescriptorProto, name: str) -> Iterator[str]:
    yield f"enum {name}"
    for value in enum.value:
        yield f"enum {name} {value.number} {value.name}"
    for reserved in enum.reserved_range:
        for number in range(reserved.start, reserved.end + 1):
            yield f"enum {name} {number} reserved"


def _method_line(service: str, method: MethodDescriptorProto, prefix: str) -> str:
    taken = _arm(method.input_type, prefix, stream=method.client_streaming)
    given = _arm(method.output_type, prefix, stream=method.server_streaming)
    return f"rpc {service}.{method.name} {taken} -> {given}"


def _arm(type_name: str, prefix: str, *, stream: bool) -> str:
    return f"{'stream ' if stream else ''}{_short(type_name, prefix)}"


def _type(
    field: FieldDescriptorProto,
    owner: DescriptorProto,
    maps: dict[str, DescriptorProto],
    prefix: str,
) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (_type(one, entry, {}, prefix) for one in entry.field)
        return f"map<{key}, {value}>"
    text = _short(field.type_name, prefix) or _scalar(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {text}"
    if field.proto3_optional:
        return f"optional {text}"
    if field.HasField("oneof_index"):
        return f"{text} in {owner.oneof_decl[field.oneof_index].name}"
    return text


def _scalar(field: FieldDescriptorProto) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _short(type_name: str, prefix: str) -> str:
    return type_name.removeprefix(prefix).removeprefix(".")
