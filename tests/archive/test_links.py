"""Links in messages are marked with their host in bold, and lead nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.archive.templatetags.payloads import linked, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no link", "no link"),
        (
            "see https://shop.example/a?b=1.",
            'see <span class="link">https://<strong>shop.example</strong>/a?b=1</span>.',
        ),
        ("加群：www.spam.example，快", '加群：<span class="link">www.<strong>spam.example</strong></span>，快'),
        (
            "http://a.example http://b.example:8080/x",
            '<span class="link">http://<strong>a.example</strong></span> '
            '<span class="link">http://<strong>b.example:8080</strong>/x</span>',
        ),
        ("(https://a.example/)", '(<span class="link">https://<strong>a.example</strong>/</span>)'),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("https://", "https://"),
        (
            'https://a.example/"onclick="x',
            '<span class="link">https://<strong>a.example</strong>/</span>&quot;onclick=&quot;x',
        ),
    ],
)
def test_a_link_is_marked_and_its_host_is_bold(text: str, shown: str) -> None:
    assert linked(text) == shown


def test_a_host_written_with_direction_marks_shows_them() -> None:
    html = linked("https://bank.example\u202emoc.live/")
    assert "\u202e" not in html
    assert 'class="mark"' in html


def test_no_link_is_one_that_can_be_followed() -> None:
    assert "<a " not in linked("https://a.example javascript:x http://b.example")


@given(st.text())
def test_text_without_a_link_is_shown_as_ever(text: str) -> None:
    if "://" not in text and "www." not in text.lower():
        assert linked(text) == visible(text)
