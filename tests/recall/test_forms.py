"""Bad input: the form is shown again, the field is named, nothing is stored."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from django.http import QueryDict

from moderation.accounts.models import User
from recall.forms import RecallForm

pytestmark = pytest.mark.django_db

A = 1_594_958_217_087
FUTURE = int(time.time() * 1000) + 2 * 24 * 3600 * 1000


def form(*timestamps: str, **fields: str) -> RecallForm:
    data = QueryDict(mutable=True)
    data.update(
        {
            "app": "default",
            "kind": "private",
            "user_a": "a",
            "user_b": "b",
            "reason": "spam",
            "submission": str(uuid.uuid4()),
            **fields,
        }
    )
    data.setlist("timestamps", list(timestamps))
    # A lead: a moderator's form has no fields for the recaller.
    return RecallForm(data, actor=User.objects.get(username="lea"))


def errors(bound: RecallForm) -> dict[str, list[str]]:
    return {name: [str(message) for message in messages] for name, messages in bound.errors.items()}


@pytest.fixture(autouse=True)
def cast(application: Any, reason: Any, lead: Any) -> None:
    """Every form needs an application, a reason and somebody who recalls."""


def test_ticked_boxes_and_a_pasted_list_are_one_selection() -> None:
    bound = form(str(A + 1), str(A), f"{A + 2}，{A}\n")
    assert bound.is_valid(), bound.errors
    assert bound.cleaned_data["timestamps"] == (A, A + 1, A + 2)
    assert bound.dropped == ["1 timestamp was given twice and counts once."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Choose at least one message"),
        ("hello", "“hello” is not a whole number"),
        ("1594958217087.5", "is not a whole number"),
        ("1594958217", "seconds"),
        (str(FUTURE), "future"),
        (" ".join(str(A + number) for number in range(5001)), "5001 messages; one recall takes at most 5000"),
    ],
    ids=["none", "text", "float", "seconds", "far future", "over 5,000"],
)
def test_wrong_timestamps_are_named(text: str, said: str) -> None:
    bound = form(text)
    assert not bound.is_valid()
    assert list(errors(bound)) == ["timestamps"]
    assert said in errors(bound)["timestamps"][0]


def test_many_wrong_pieces_are_named_five_at_a_time() -> None:
    said = errors(form("a b c d e f g"))["timestamps"]
    assert len(said) == 6
    assert said[-1] == "2 more like these."


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"user_b": ""}, "user_b", "both user ids"),
        ({"user_a": "", "user_b": ""}, "user_a", "both user ids"),
        ({"kind": "group", "user_a": "", "user_b": ""}, "group_id", "needs its id"),
        ({"group_id": "g"}, "__all__", "not both"),
        ({"kind": "group", "group_id": "g"}, "__all__", "not both"),
        ({"user_a": "x" * 256}, "user_a", "255"),
        ({"user_a": "a\x00b"}, "user_a", "Null characters"),
        ({"kind": "both"}, "kind", "both is not one of"),
        ({"app": "nowhere"}, "app", "valid choice"),
        ({"reason": ""}, "reason", "required"),
        ({"reason": "none-such"}, "reason", "no longer available"),
        ({"note": "x" * 2001}, "note", "2000"),
        ({"recaller_id": "x" * 256}, "recaller_id", "255"),
        ({"recaller_data": "[1]"}, "recaller_data", "not a JSON object"),
        ({"recaller_data": "Support"}, "recaller_data", "not a JSON object"),
        ({"recaller_data": "[" * 100_000}, "recaller_data", "not a JSON object"),
        ({"recaller_data": '{"name": "' + "字" * 700 + '"}'}, "recaller_data", "2048 bytes"),
        ({"recaller_data": '{"n": 1e308}'}, "recaller_data", "plain"),
        ({"recaller_data": '{"a":' * 30 + "1" + "}" * 30}, "recaller_data", "plain"),
        ({"submission": "again"}, "submission", "UUID"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, str], field: str, said: str) -> None:
    bound = form(str(A), **fields)
    assert not bound.is_valid()
    assert said in " ".join(errors(bound).get(field, [])), errors(bound)


def test_an_empty_recaller_is_left_out() -> None:
    bound = form(str(A), recaller_id="", recaller_data="{}")
    assert bound.is_valid()
    assert bound.cleaned_data["recaller"] is None


def test_above_twenty_the_number_has_to_be_typed() -> None:
    many = " ".join(str(A + number) for number in range(21))
    for typed, right in (("21", True), (" 21 ", True), ("２１", True), ("20", False), ("", False)):
        bound = form(many, typed_count=typed)
        assert bound.is_valid()
        assert bound.needs_count
        assert bound.clean_count() is right
    few = form(" ".join(str(A + number) for number in range(20)))
    assert few.is_valid()
    assert not few.needs_count
    assert few.clean_count()
