"""Highlighting of hits in the original text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.search.highlight import AFTER, BEFORE, excerpt
from moderation.search.normalise import normalise


@pytest.mark.parametrize(
    ("text", "looked_for", "shown"),
    [
        ("加我微信", "微信", ["微信"]),
        ("ＷｅＣｈａｔ me", "wechat", ["ＷｅＣｈａｔ"]),
        ("Straße, STRASSE", "strasse", ["Straße", "STRASSE"]),
        ("cafe\u0301 au lait", "é", ["e\u0301"]),
        ("ﬁne", "i", ["ﬁ"]),
        ("ﾊﾞｶ", "バ", ["ﾊﾞ"]),
        ("aaa", "aa", ["aa"]),
        ("加我微\u200b信！", "微信", ["微\u200b信"]),
        ("微\u0301信\ufe0f and 微信", "微信", ["微\u0301信\ufe0f", "微信"]),
        ("\u2060微信", "微", ["微"]),
        ("領紅包", "红", ["紅"]),
        ("<b>", "b", ["b"]),
        ("nothing of that", "x", []),
        ("nothing", "", []),
    ],
)
def test_highlighted_text_is_the_original_text(text: str, looked_for: str, shown: list[str]) -> None:
    pieces = excerpt(text, looked_for)
    assert [piece for piece, is_hit in pieces if is_hit] == shown
    assert "".join(piece for piece, _is_hit in pieces) == text


@pytest.mark.parametrize(
    ("text", "looked_for", "shown"),
    [
        ("加我微.信！！你好", "微信", ["微.信"]),
        ("W e\u200b c-h a t, please", "wechat", ["W e\u200b c-h a t"]),
        ("微信", "微 信", ["微信"]),
        ("what?!", "?!", ["?!"]),
    ],
)
def test_a_hit_with_spaces_and_signs_in_it_is_shown_whole(text: str, looked_for: str, shown: list[str]) -> None:
    pieces = excerpt(text, looked_for, loosely=True)
    assert [piece for piece, is_hit in pieces if is_hit] == shown
    assert "".join(piece for piece, _is_hit in pieces) == text


def test_a_long_text_is_shortened_to_the_part_around_the_hit() -> None:
    pieces = excerpt("a" * 5_000 + "needle" + "b" * 5_000, "Needle")
    assert pieces == [
        ("…", False),
        ("a" * BEFORE, False),
        ("needle", True),
        ("b" * AFTER, False),
        ("…", False),
    ]
    assert excerpt("a" * 5_000, "z") == [("a" * AFTER, False), ("…", False)]


SIGNS = st.text(st.sampled_from("aAﬁß微信微\u200b信 .\u3164\u0e31e\u0301ﾊﾞ🎉 \u1100\u1161\u11a8①İ"), max_size=30)


@given(text=SIGNS | st.text(), looked_for=SIGNS | st.text(max_size=3))
def test_the_pieces_are_the_text_and_the_hits_hold_what_was_searched_for(text: str, looked_for: str) -> None:
    pieces = excerpt(text[:BEFORE], looked_for)
    assert "".join(piece for piece, _is_hit in pieces) == text[:BEFORE]
    for piece, is_hit in pieces:
        assert not is_hit or normalise(looked_for) in normalise(piece)


@pytest.mark.parametrize("text", ["ทำงาน promo", "น้ำ promo กำลัง", "ນ້ຳ promo"])
def test_a_vowel_that_begins_with_a_mark_hides_no_hit(text: str) -> None:
    assert ("promo", True) in excerpt(text, "promo")
    assert any(is_hit for _piece, is_hit in excerpt(text, text.split()[0]))
