"""What is renumbered, retyped, renamed or removed in a contract is lost; additions lose nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

import contract_lock

Kind = FieldDescriptorProto
Change = Callable[[FileDescriptorProto], object]


def contract() -> FileDescriptorProto:
    """Return a small contract with one of everything."""
    entry = DescriptorProto(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Kind.TYPE_STRING)
    entry.field.add(name="value", number=2, type=Kind.TYPE_MESSAGE, type_name=".shop.v1.Cup")
    cup = DescriptorProto(name="Cup", nested_type=[entry])
    cup.field.add(name="name", number=1, type=Kind.TYPE_STRING)
    cup.field.add(name="sizes", number=2, type=Kind.TYPE_DOUBLE, label=Kind.LABEL_REPEATED)
    cup.field.add(name="price", number=3, type=Kind.TYPE_INT64, proto3_optional=True)
    cup.field.add(name="colour", number=4, type=Kind.TYPE_ENUM, type_name=".shop.v1.Colour")
    cup.field.add(
        name="labels",
        number=5,
        type=Kind.TYPE_MESSAGE,
        type_name=".shop.v1.Cup.LabelsEntry",
        label=Kind.LABEL_REPEATED,
    )
    cup.field.add(
        name="made",
        number=6,
        type=Kind.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        oneof_index=0,
    )
    cup.oneof_decl.add(name="age")
    cup.reserved_range.add(start=7, end=9)
    colour = EnumDescriptorProto(name="Colour")
    colour.value.add(name="COLOUR_UNSPECIFIED", number=0)
    colour.value.add(name="COLOUR_RED", number=1)
    colour.reserved_range.add(start=2, end=2)
    take = MethodDescriptorProto(
        name="Take", input_type=".shop.v1.Cup", output_type=".shop.v1.Cup", server_streaming=True
    )
    return FileDescriptorProto(
        name="shop.proto",
        package="shop.v1",
        message_type=[cup],
        enum_type=[colour],
        service=[ServiceDescriptorProto(name="Shop", method=[take])],
    )


def listed(file: FileDescriptorProto) -> list[str]:
    """Return the listing of one file."""
    return contract_lock.listing(FileDescriptorSet(file=[file]))


def lost_by(change: Change) -> list[str]:
    """Return what is lost when the contract is changed."""
    changed = contract()
    change(changed)
    return contract_lock.lost(listed(contract()), listed(changed))


def test_listing_says_one_fact_a_line() -> None:
    assert listed(contract()) == [
        "enum Colour",
        "enum Colour 0 COLOUR_UNSPECIFIED",
        "enum Colour 1 COLOUR_RED",
        "enum Colour 2 reserved",
        "message Cup",
        "message Cup 1 name: string",
        "message Cup 2 sizes: repeated double",
        "message Cup 3 price: optional int64",
        "message Cup 4 colour: Colour",
        "message Cup 5 labels: map<string, Cup>",
        "message Cup 6 made: google.protobuf.Timestamp in age",
        "message Cup 7 reserved",
        "message Cup 8 reserved",
        "package shop.v1",
        "rpc Shop.Take Cup -> stream Cup",
    ]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda file: setattr(file.message_type[0].field[0], "number", 9), "Cup 1 name: string"),
        (
            lambda file: setattr(file.message_type[0].field[0], "name", "title"),
            "Cup 1 name: string",
        ),
        (
            lambda file: setattr(file.message_type[0].field[0], "type", Kind.TYPE_BYTES),
            "Cup 1 name",
        ),
        (lambda file: setattr(file.message_type[0].field[1], "label", 1), "Cup 2 sizes: repeated"),
        (lambda file: file.message_type[0].field[2].ClearField("proto3_optional"), "3 price: opt"),
        (lambda file: file.message_type[0].field[5].ClearField("oneof_index"), "Timestamp in age"),
        (lambda file: file.message_type[0].field.pop(), "6 made"),
        (lambda file: file.message_type[0].reserved_range.pop(), "message Cup 7 reserved"),
        (lambda file: setattr(file.enum_type[0].value[1], "number", 3), "enum Colour 1 COLOUR_RED"),
        (lambda file: file.enum_type[0].value.pop(), "enum Colour 1 COLOUR_RED"),
        (
            lambda file: setattr(file.service[0].method[0], "client_streaming", True),
            "rpc Shop.Take",
        ),
        (lambda file: file.service[0].method.pop(), "rpc Shop.Take Cup -> stream Cup"),
        (lambda file: setattr(file, "package", "shop.v2"), "package shop.v1"),
    ],
)
def test_change_of_what_was_agreed_is_lost(change: Change, fact: str) -> None:
    assert any(fact in line for line in lost_by(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.message_type[0].field.add(name="new", number=9, type=Kind.TYPE_BOOL),
        lambda file: file.enum_type[0].value.add(name="COLOUR_BLUE", number=3),
        lambda file: file.message_type.add(name="Plate"),
        lambda file: setattr(file, "name", "elsewhere.proto"),
    ],
)
def test_addition_loses_nothing(change: Change) -> None:
    assert lost_by(change) == []


def test_nested_message_and_enum_carry_the_name_of_their_owner() -> None:
    file = contract()
    inner = file.message_type[0].nested_type.add(name="Handle")
    inner.field.add(name="length", number=1, type=Kind.TYPE_FLOAT)
    file.message_type[0].enum_type.add(name="Shape").value.add(name="SHAPE_UNSPECIFIED", number=0)
    assert {"message Cup.Handle 1 length: float", "enum Cup.Shape 0 SHAPE_UNSPECIFIED"} <= set(
        listed(file)
    )


def test_rendered_listing_parses_back() -> None:
    lines = listed(contract())
    assert contract_lock.parse(contract_lock.render(lines)) == lines
