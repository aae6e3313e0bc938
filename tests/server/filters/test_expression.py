"""Tests of filters/expression.py: nodes are values that print as the filter that they mean."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given

from filter_cases import EXPRESSIONS, REPEATABLE
from vectorbucket.limits import FILTER_LEVELS_CEILING, INTEGER_MAX, OSS, UNBOUNDED
from vectorbucket_server.filters.expression import (
    COMBINERS,
    OPERATORS,
    And,
    Compare,
    Comparison,
    Equals,
    Exists,
    Expression,
    In,
    NotEquals,
    NotIn,
    Or,
    Scalar,
    conditions,
    fields,
)
from vectorbucket_server.filters.parser import parse

ROOMY = dataclasses.replace(
    OSS, filter_levels_max=FILTER_LEVELS_CEILING, filter_bytes_max=UNBOUNDED
)
"""Limits under which any printed expression parses."""

A, B = Equals("a", 1.0), Equals("b", 2.0)

EXAMPLES: dict[str, Expression] = {
    "$eq": Equals("f", "x"),
    "$ne": NotEquals("f", 2.5),
    "$in": In("f", ("x", 1.0, True)),
    "$nin": NotIn("f", (False,)),
    "$gt": Compare("f", Comparison.GT, 1.0),
    "$gte": Compare("f", Comparison.GTE, -0.5),
    "$lt": Compare("f", Comparison.LT, 1e300),
    "$lte": Compare("f", Comparison.LTE, 0.0),
    "$exists": Exists("f", present=False),
    "$and": And((A, Or((B,)), A)),
    "$or": Or((A, B)),
}
"""An expression by the operator that it is about."""


def read_back(expression: Expression) -> Expression | None:
    """Return what the printed expression parses to."""
    return parse(json.loads(str(expression)), limits=ROOMY)


# --- The table ----------------------------------------------------------------------------------


def test_table_holds_every_node_and_no_other() -> None:
    listed = {*OPERATORS.values(), *COMBINERS.values()}
    assert listed == set(get_args(Expression))


def test_comparisons_are_the_operators_that_make_compare() -> None:
    assert [name for name, node in OPERATORS.items() if node is Compare] == [
        comparison.value for comparison in Comparison
    ]


def test_there_is_an_example_of_every_operator() -> None:
    assert EXAMPLES.keys() == {*OPERATORS, *COMBINERS}


@pytest.mark.parametrize("name", [*OPERATORS, *COMBINERS])
def test_every_operator_prints_under_its_name_and_parses_back(name: str) -> None:
    expression = EXAMPLES[name]
    assert isinstance(expression, {**OPERATORS, **COMBINERS}[name])
    assert f'"{name}":' in str(expression)
    assert read_back(expression) == expression


# --- Printing -----------------------------------------------------------------------------------


@REPEATABLE
@given(EXPRESSIONS)
def test_printed_expression_parses_back_to_an_equal_one(expression: Expression) -> None:
    again = read_back(expression)
    assert again == expression
    assert hash(again) == hash(expression)
    assert str(again) == str(expression)


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        (A, '{"a":{"$eq":1}}'),
        (NotEquals("é", "ü\n"), '{"é":{"$ne":"ü\\n"}}'),
        (In("a", ("x", 1.0, True)), '{"a":{"$in":["x",1,true]}}'),
        (Exists("a", present=True), '{"a":{"$exists":true}}'),
        (Compare("a", Comparison.LTE, 1.25), '{"a":{"$lte":1.25}}'),
        (Or((A,)), '{"$or":[{"a":{"$eq":1}}]}'),
        (And((A,)), '{"$and":[{"a":{"$eq":1}}]}'),
    ],
)
def test_expression_prints_as_compact_json(expression: Expression, printed: str) -> None:
    assert str(expression) == printed


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (1.0, "1"),
        (-3.0, "-3"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (float(INTEGER_MAX), "9007199254740992"),
        (-float(INTEGER_MAX), "-9007199254740992"),
        # As integers these would be refused when they are read back.
        (float(INTEGER_MAX) + 2, "9007199254740994.0"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
    ],
)
def test_integral_number_prints_without_a_fraction(number: float, printed: str) -> None:
    assert str(Equals("n", number)) == f'{{"n":{{"$eq":{printed}}}}}'
    assert read_back(Equals("n", number)) == Equals("n", number)


GT_1, LT_5 = Compare("y", Comparison.GT, 1.0), Compare("y", Comparison.LT, 5.0)
EITHER = Or((A, B))


@pytest.mark.parametrize(
    ("operands", "printed"),
    [
        ((A, B), '{"a":{"$eq":1},"b":{"$eq":2}}'),
        ((GT_1, LT_5, A), '{"y":{"$gt":1,"$lt":5},"a":{"$eq":1}}'),
        ((A, EITHER), '{"a":{"$eq":1},"$or":[{"a":{"$eq":1}},{"b":{"$eq":2}}]}'),
        ((And((A,)), B), '{"$and":[{"a":{"$eq":1}}],"b":{"$eq":2}}'),
    ],
)
def test_operands_that_fit_one_object_print_as_one(
    operands: tuple[Expression, ...], printed: str
) -> None:
    assert str(And(operands)) == printed
    assert read_back(And(operands)) == And(operands)


@pytest.mark.parametrize(
    "operands",
    [
        pytest.param((A, A), id="the same member twice"),
        pytest.param((Equals("a", 1.0), Equals("a", 2.0)), id="the same operator twice"),
        pytest.param((GT_1, A, LT_5), id="a field that is not together"),
        pytest.param((EITHER, EITHER), id="two $or"),
        pytest.param((And((A,)), And((B,))), id="two $and"),
        pytest.param((A,), id="a single one"),
    ],
)
def test_operands_that_do_not_fit_one_object_print_as_a_list(
    operands: tuple[Expression, ...],
) -> None:
    printed = json.loads(str(And(operands)))
    assert list(printed) == ["$and"]
    assert len(printed["$and"]) == len(operands)
    assert read_back(And(operands)) == And(operands)


def test_deepest_expression_prints_in_linear_size() -> None:
    expression: Expression = A
    for _ in range(FILTER_LEVELS_CEILING // 2):
        # Two $or do not fit one object, so each And is tried as an object and printed as a list.
        expression = And((Or((expression,)), Or((B,))))
    assert len(str(expression)) < 60 * FILTER_LEVELS_CEILING
    assert read_back(expression) == expression


def test_what_is_no_node_is_a_loud_bug() -> None:
    foreign: Any = Foreign("f")
    with pytest.raises(AssertionError, match="unreachable"):
        str(Or((foreign,)))


@dataclasses.dataclass(frozen=True)
class Foreign:
    field: str


# --- Nodes are values ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Equals("f", value=True), Equals("f", 1.0)),
        (Equals("f", value=False), Equals("f", 0.0)),
        (Equals("f", "1"), Equals("f", 1.0)),
        (In("f", (True,)), In("f", (1.0,))),
        (In("f", ("a", "b")), In("f", ("b", "a"))),
        (Equals("f", "x"), NotEquals("f", "x")),
        (In("f", ("x",)), NotIn("f", ("x",))),
        (And((A, B)), Or((A, B))),
        (And((A,)), A),
        (And((Equals("f", value=True),)), And((Equals("f", 1.0),))),
        (Exists("f", present=True), Exists("f", present=False)),
        (Exists("f", present=True), Equals("f", value=True)),
        (Compare("f", Comparison.GT, 1.0), Compare("f", Comparison.GTE, 1.0)),
        (Equals("f", "x"), Equals("g", "x")),
    ],
)
def test_expressions_that_say_different_things_are_not_equal(
    one: Expression, other: Expression
) -> None:
    assert one != other
    assert len({one, other}) == 2


def test_expressions_that_say_the_same_are_equal() -> None:
    assert Equals("f", 0.0) == Equals("f", -0.0)
    one, other = And((A, In("f", (True, "x")))), And((A, In("f", (True, "x"))))
    assert one == other
    assert {one: "found"}[other] == "found"


def test_expression_equals_nothing_that_is_no_expression() -> None:
    assert str(A) != A
    assert A != ("a", 1.0)


@pytest.mark.parametrize("expression", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_node_cannot_be_changed(expression: Expression) -> None:
    name = dataclasses.fields(expression)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(expression, name, "other")
    assert not hasattr(expression, "__dict__")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1, None, ["x"]])
def test_value_that_no_filter_can_hold_is_refused(value: Scalar) -> None:
    with pytest.raises(ValueError, match=r"is not finite|is no str, float or bool"):
        Equals("f", value)
    with pytest.raises(ValueError, match=r"is not finite|is no str, float or bool"):
        NotIn("f", ("x", value))


@pytest.mark.parametrize("operand", [True, "1", 1, float("nan")])
def test_comparison_takes_nothing_but_a_finite_number(operand: float) -> None:
    with pytest.raises(ValueError, match=r"is no float|is not finite"):
        Compare("f", Comparison.GT, operand)


@pytest.mark.parametrize("name", ["", "$and", "$f"])
def test_field_with_a_name_that_no_metadata_has_is_refused(name: str) -> None:
    for make in (lambda: Equals(name, "x"), lambda: Exists(name, present=True)):
        with pytest.raises(ValueError, match="is no name"):
            make()


def test_node_without_an_operand_is_refused() -> None:
    for make in (lambda: And(()), lambda: Or(()), lambda: In("f", ()), lambda: NotIn("f", ())):
        with pytest.raises(ValueError, match="one operand or more"):
            make()


# --- What an expression asks about --------------------------------------------------------------


def test_conditions_come_from_left_to_right() -> None:
    expression = And((A, Or((B, And((GT_1, A)))), LT_5))
    assert list(conditions(expression)) == [A, B, GT_1, A, LT_5]


def test_fields_are_the_names_asked_about() -> None:
    assert fields(And((A, Or((B, GT_1)), A))) == {"a", "b", "y"}
    assert fields(Exists("f", present=False)) == {"f"}
