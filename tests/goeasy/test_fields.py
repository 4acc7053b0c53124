"""Readers for the fields of GoEasy's messages, in each of their formats."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.goeasy.fields import (
    decimal_number,
    object_of,
    recall_mark,
    recaller_of,
    text_of,
    timestamp_of,
    whole_number,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [("u", "u"), ("", ""), (10086, "10086"), (0, "0"), (-5, "-5"), (10086.0, "10086"), (2**70, str(2**70))]
    + [(value, "") for value in (None, True, False, 1.5, [], {}, ["u"], float("nan"), float("inf"))],
)
def test_an_id_can_be_text_or_a_whole_number(value: object, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [(15220, 15220), (15220.0, 15220), ("1048576", 1048576), (" 7 ", 7), ("15220.0", 15220), (0, 0)]
    + [(value, None) for value in (-1, -1.0, 1.5, "1.5", "1e3", "-1", "", "٣", True, None, [], {}, "9" * 30, 2.0**60)],
)
def test_a_whole_number_is_read_in_each_of_its_forms(value: object, number: int | None) -> None:
    assert whole_number(value) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [(2.46, 2.46), ("2.46", 2.46), (2, 2.0), ("2", 2.0), (-74.006, -74.006), ("-74.006", -74.006), (-1, -1.0)]
    + [
        (value, None)
        for value in ("nan", "--1", "-", -(10**400), float("nan"), float("inf"), True, None, "1:05", 10**400)
    ],
)
def test_a_number_is_read_in_each_of_its_forms(value: object, number: float | None) -> None:
    assert decimal_number(value) == number


@pytest.mark.parametrize("value", [{"a": 1}, '{"a": 1}', ' {"a":1} '])
def test_an_object_can_be_json_text(value: object) -> None:
    assert object_of(value) == {"a": 1}


@pytest.mark.parametrize("value", [None, "", "{", "[1]", '["a"]', "shop-9", 5, [], True, '{"a":' * 5000])
def test_a_value_that_is_not_an_object_reads_as_an_empty_object(value: object) -> None:
    assert object_of(value) == {}


@pytest.mark.parametrize("value", [1795718732695, "1795718732695", 1795718732695.0, "1795718732695.0"])
def test_a_timestamp_can_be_digits(value: object) -> None:
    assert timestamp_of({"timestamp": value}) == 1795718732695


@pytest.mark.parametrize("value", [None, True, "", "soon", 0, -1, 1.5, 2**63, "9" * 19 + "9", [], {}])
def test_an_invalid_timestamp_reads_as_none(value: object) -> None:
    assert timestamp_of({"timestamp": value}) is None


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({"recalled": True}, True),
        ({"recalled": 1}, True),
        ({"recalled": "true"}, True),
        ({"recalled": "True"}, True),
        ({"recalled": "1"}, True),
        ({"rc": True}, True),
        ({"rc": 1}, True),
        ({"recaller": {"id": "u-a"}}, True),
        ({"recalled": None, "recaller": {"id": "u-a"}}, True),
        ({}, False),
        ({"recalled": False}, False),
        ({"recalled": 0}, False),
        ({"recalled": "false"}, False),
        ({"recalled": None}, False),
        ({"recaller": None}, False),
        ({"recaller": {}}, False),
        # It says expressly that it is not.
        ({"recalled": False, "recaller": {"id": "u-a"}}, False),
        ({"recaller": "u-a"}, None),
        ({"recalled": "perhaps"}, None),
        ({"recalled": 7}, None),
        ({"recalled": {"by": "u-a"}}, None),
    ],
    ids=str,
)
def test_recall_marks_are_read_and_unknown_marks_are_none(fields: dict[str, Any], mark: bool | None) -> None:
    assert recall_mark(fields) is mark


@pytest.mark.parametrize(
    ("recaller", "read"),
    [
        ({"id": "s", "data": {"name": "S"}}, {"id": "s", "data": {"name": "S"}}),
        ({"id": 7, "data": '{"name": "S"}'}, {"id": "7", "data": {"name": "S"}}),
        ('{"id": "s"}', {"id": "s"}),
        ("s", {}),
        (7, {}),
        ({"id": [7]}, {"id": [7]}),
        (None, {}),
        ([], {}),
    ],
    ids=str,
)
def test_a_recaller_is_read_in_each_of_its_forms(recaller: object, read: dict[str, Any]) -> None:
    assert recaller_of({"recaller": recaller}) == read


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING)
def test_reading_a_field_never_raises(value: Any) -> None:
    text_of(value)
    whole_number(value)
    decimal_number(value)
    object_of(value)
    for name in ("timestamp", "recalled", "rc", "recaller"):
        timestamp_of({name: value})
        recall_mark({name: value})
        recaller_of({name: value})
