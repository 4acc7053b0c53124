"""The next cursor of a page of history, whatever the host does with the limit."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.goeasy.answers import Answer, HistoryMessage, HistoryPage
from moderation.ingestion.history_pages import Page, read_page

FIRST = 1_700_000_000_000


def page_of(elements: list[Any], before: int | None) -> Page:
    """Parse a page with these elements."""
    raws = [json.dumps(element) for element in elements]
    objects = [
        HistoryMessage(raw, element) for raw, element in zip(raws, elements, strict=True) if isinstance(element, dict)
    ]
    others = [raw for raw, element in zip(raws, elements, strict=True) if not isinstance(element, dict)]
    return read_page(HistoryPage(tuple(objects), Answer(200, 200, "", 1, False), tuple(others)), before)


def at(*times: object) -> list[Any]:
    return [{"timestamp": time} for time in times]


def test_a_short_page_is_not_the_end() -> None:
    page = page_of(at(FIRST + 2, FIRST + 1), None)
    assert page.is_short
    assert (page.is_end, page.is_blocked, page.next_before) == (False, False, FIRST + 2)


def test_a_page_that_showed_one_millisecond_alone_is_not_the_end_either() -> None:
    page = page_of(at(FIRST), FIRST + 1)
    assert (page.is_end, page.next_before, page.crowded_ms) == (False, FIRST, None)


@pytest.mark.parametrize("elements", [[], at(FIRST), at(FIRST + 9, FIRST)], ids=["empty", "repeated", "newer"])
def test_an_empty_page_and_one_with_nothing_older_than_the_cursor_are_the_end(elements: list[Any]) -> None:
    page = page_of(elements, FIRST)
    assert (page.is_end, page.is_blocked, page.next_before) == (True, False, None)


@pytest.mark.parametrize(
    "elements",
    [
        [{"ts": FIRST - 1, "s": "u", "mt": "text"}],
        [None],
        [*at(FIRST), {"ts": 1}],
        # A time that is not a valid cursor.
        at(FIRST // 1000),
        at(FIRST * 10**6),
    ],
    ids=["abbreviated", "null", "repeated and abbreviated", "seconds", "nanoseconds"],
)
def test_a_page_that_tells_no_time_to_go_on_from_is_not_the_end(elements: list[Any]) -> None:
    page = page_of(elements, FIRST)
    assert (page.is_end, page.is_blocked, page.next_before) == (False, True, None)


def test_a_time_that_can_be_no_cursor_does_not_lead_past_what_is_older() -> None:
    assert page_of(at(FIRST, 5, FIRST - 7), None).next_before == FIRST - 6


def test_unreadable_messages_do_not_hide_the_next_cursor() -> None:
    page = page_of([*at(str(FIRST)), {"ts": FIRST - 1}, 5], None)
    assert (len(page.messages), len(page.unreadable), page.next_before) == (1, 2, FIRST + 1)


def test_a_millisecond_that_fills_a_page_is_crowded_unless_something_could_not_be_read() -> None:
    assert page_of(at(*[FIRST] * 30), FIRST + 1).crowded_ms == FIRST
    assert page_of([*at(*[FIRST] * 29), {"ts": FIRST}], FIRST + 1).crowded_ms is None


@given(
    st.lists(st.integers(0, 40), max_size=120),
    st.integers(2, 30),
    st.booleans(),
)
def test_history_is_read_to_its_end_whatever_the_host_makes_of_the_limit(
    offsets: list[int], cap: int, inclusive: bool
) -> None:
    # Milliseconds with more messages than a page takes cannot be read whole: that is another test.
    counts = Counter(offsets)
    sent = sorted((FIRST + each for each in offsets if counts[each] < cap), reverse=True)
    read: set[int] = set()
    before: int | None = None
    for _call in range(3 * len(sent) + 3):
        shown = [each for each in sent if before is None or each < before + inclusive]
        page = page_of(at(*shown[:cap]), before)
        read |= {message.timestamp for message in page.messages}
        if page.is_end:
            break
        assert page.next_before is not None
        assert before is None or page.next_before < before, "it never turns in circles"
        before = page.next_before
    else:
        pytest.fail("it did not end")
    assert read == set(sent)
