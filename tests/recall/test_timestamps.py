"""The parser of pasted timestamps: lenient about the form, strict about the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall.services import plan
from recall.timestamps import parse_timestamps

NOW = 1_700_000_000_000
A, B, C = 1_594_958_217_087, 1_594_958_217_088, 1_594_958_218_000

timestamps = st.integers(min_value=1_000_000_000_000, max_value=NOW)


@pytest.mark.parametrize(
    "text",
    [
        f"{A} {B} {C}",
        f"{A},{B},{C}",
        f"{A}\n{B}\r\n\t{C}\n",
        f"{C};{B};{A}",
        f"[{A}, {B}, {C}]",
        f'["{A}", "{B}", "{C}"]',
        f"{A}，{B}、{C}；",
        f"\ufeff{A}\u3000{B}\u00a0{C}",
        "１５９４９５８２１７０８７，１５９４９５８２１７０８８ １５９４９５８２１８０００",
    ],
)
def test_it_reads_the_forms_that_people_paste(text: str) -> None:
    parsed = parse_timestamps([text], now_ms=NOW)
    assert parsed.timestamps == (A, B, C)
    assert parsed.rejected == []


def test_it_counts_what_was_given_twice() -> None:
    parsed = parse_timestamps([f"{B} {A}", f"{A},{A}"], now_ms=NOW)
    assert (parsed.timestamps, parsed.duplicates) == ((A, B), 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hello", "not_whole"),
        ("1594958217087.5", "not_whole"),
        ("1594958217087.0", "not_whole"),
        ("-1594958217087", "not_whole"),
        ("+1594958217087", "not_whole"),
        ("1_594_958_217_087", "not_whole"),
        ("1.594958217087e12", "not_whole"),
        ("0x17354d8b2ff", "not_whole"),
        ("159495821708²", "not_whole"),
        ("١٥٩٤٩٥٨٢١٧٠٨٧", "not_whole"),
        ("1594958217", "seconds"),
        ("159495821708", "digits"),
        ("15949582170870", "digits"),
        ("0", "digits"),
        ("0000000000000", "digits"),
        ("9" * 19, "digits"),
        ("9" * 25, "digits"),
        ("1700086400001", "future"),
    ],
)
def test_it_refuses_what_is_no_timestamp_and_says_why(text: str, problem: str) -> None:
    parsed = parse_timestamps([text], now_ms=NOW)
    assert (parsed.timestamps, parsed.rejected) == ((), [(text, problem)])


def test_a_day_ahead_is_still_accepted() -> None:
    assert parse_timestamps(["1700086400000"], now_ms=NOW).timestamps == (1_700_086_400_000,)


@given(st.lists(timestamps), st.sampled_from([" ", ",", "\n", "，", "、", "; ", "\t", "\u3000"]))
def test_whatever_the_order_and_separator_the_same_set_comes_out(values: list[int], separator: str) -> None:
    parsed = parse_timestamps([separator.join(map(str, values))], now_ms=NOW)
    assert parsed.timestamps == tuple(sorted(set(values)))
    assert parsed.duplicates == len(values) - len(set(values))
    assert parsed.rejected == []


@given(st.text())
def test_any_text_is_read_without_an_error_and_yields_only_numbers_it_contains(text: str) -> None:
    parsed = parse_timestamps([text], now_ms=NOW)
    plain = text.translate(str.maketrans("０１２３４５６７８９", "0123456789"))
    assert all(str(timestamp) in plain for timestamp in parsed.timestamps)


@given(st.lists(timestamps, min_size=1))
def test_the_calls_hold_every_timestamp_once_in_order_and_at_most_twenty(values: list[int]) -> None:
    calls = plan(values)
    assert [timestamp for call in calls for timestamp in call] == sorted(set(values))
    assert len(calls) == -(-len(set(values)) // 20)
    assert all(1 <= len(call) <= 20 for call in calls)
