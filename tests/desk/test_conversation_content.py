"""Message content on a conversation's page: it is text, and nothing is fetched from elsewhere before a click."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from moderation.applications.models import Application
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.goeasy.client import Group
from tests.desk.conversations import START, fill, page, shown

HOSTILE = [
    {"type": "text", "payload": {"text": "<script>alert(1)</script><img src=x onerror=alert(2)>"}},
    {"type": "text", "payload": {"text": "{{ 7|add:7 }}{% now 'Y' %}"}},
    {"type": "text", "payload": {"text": "a\u202egnp.exe\x00\x1b[31m\ud800"}},
    {"type": "text", "payload": {"text": "😀" * 750}},
    {"type": "text", "payload": ["<script>alert(3)</script>"]},
    {"type": "<script>alert(4)</script>", "payload": {"<script>": "</script>"}},
    {"type": "image", "payload": {"url": "javascript:alert(5)", "name": '"><script>alert(6)</script>'}},
    {"type": "image", "payload": {"url": 'https://x.example/"onerror="alert(7)'}},
    {"type": "video", "payload": {"video": "no"}},
    {"type": None, "senderData": {"name": "<script>alert(8)</script>", "avatar": "javascript:alert(9)"}},
    {"type": "text", "senderId": '"><script>alert(10)</script>', "payload": {"text": "x"}},
    {"type": "text", "recalled": True, "recaller": {"id": "<script>alert(11)</script>\ud83d"}, "payload": "x"},
]


def test_hostile_content_is_shown_as_text(mo: Client, private: Conversation) -> None:
    base = {"senderId": "user-a", "payload": {"text": "x"}}
    ingest(
        private,
        [json.dumps({**base, "timestamp": START + n, "messageId": str(n), **each}) for n, each in enumerate(HOSTILE)],
    )
    html = page(mo, private)
    assert len(shown(html)) == len(HOSTILE)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7|add:7 }}" in html
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<[^>]*\son\w+=", html) == []
    assert 'href="javascript' not in html
    assert "\u202e" not in html


@pytest.mark.parametrize("value", [r'"half \ud83d a pair"', "[" * 2_000 + "]" * 2_000], ids=["half a pair", "deep"])
@pytest.mark.parametrize("member", ["payload", "recaller", "senderData", ""])
def test_a_hostile_message_does_not_slow_the_page(mo: Client, private: Conversation, member: str, value: str) -> None:
    first, *_others = fill(private, 3)
    raw = f'{{"type": "text", "recaller": {{"data": {value}}}, "{member}": {value}}}' if member else value
    Message.objects.filter(pk=first.pk).update(raw=raw, recalled=True, recalled_raw=raw)
    assert len(shown(page(mo, private))) == 3
    assert Message.objects.get(pk=first.pk).recaller in ({}, {"data": json.loads(value) if "half" in value else value})


def test_nothing_is_fetched_from_elsewhere_before_a_click(mo: Client, private: Conversation, settings: Any) -> None:
    settings.MEDIA_ORIGINS = ["https://files.example.com"]
    payload = {"url": "https://files.example.com/cat.png", "name": "cat.png", "size": 48_000}
    fill(private, 1, type="image", payload=payload, senderData={"name": "A", "avatar": "https://files.example.com/a"})
    html = page(mo, private)
    assert re.findall(r'<(?:img|audio|video|iframe|source|link|script)[^>]*(?:src|href)="(?!/static/)', html) == []
    assert 'data-media="image" data-url="https://files.example.com/cat.png"' in html
    assert 'rel="noopener noreferrer"' in html


def test_media_of_another_origin_is_only_linked_and_an_admin_is_led_to_where_it_is_allowed(
    mo: Client, private: Conversation, administrator: Any
) -> None:
    fill(private, 1, type="image", payload={"url": "https://files.example.com/cat.png"})
    html = page(mo, private)
    assert "data-media=" not in html
    assert "files.example.com is not among the hosts that are allowed." in html
    assert "An admin can allow it." in html
    assert "/admin/" not in html
    fill(private, 1, start=START + 10_000, type="image", payload={"url": "http://plain.example.com/cat.png"})
    assert "It could be only if it were https." in page(mo, private)
    mo.force_login(administrator)
    assert f'"/admin/applications/application/{private.application_id}/change/#id_media_origins"' in page(mo, private)


def test_an_applications_own_hosts_are_allowed_on_its_pages_and_on_no_other(
    mo: Client, private: Conversation, settings: Any
) -> None:
    settings.MEDIA_ORIGINS = ["https://everywhere.example.com"]
    other = Application.objects.create(slug="other", name="Other", media_origins="https://files.example.com:8443")
    theirs = Conversation.objects.open(other, Group("g"))
    for conversation in (private, theirs):
        fill(conversation, 1, type="image", payload={"url": "https://files.example.com:8443/cat.png"})
    assert "data-media=" not in page(mo, private)
    assert "data-media=" in page(mo, theirs)

    def policy(address: str) -> dict[str, list[str]]:
        parts = (part.split() for part in mo.get(address).headers["Content-Security-Policy"].split(";"))
        return {name: origins for name, *origins in parts}

    both = ["https://everywhere.example.com", "https://files.example.com:8443"]
    assert policy(theirs.get_absolute_url())["img-src"] == ["'self'", "data:", *both]
    assert policy(theirs.get_absolute_url())["media-src"] == ["'self'", *both]
    assert policy(private.get_absolute_url())["img-src"] == ["'self'", "data:", both[0]]
    assert policy("/conversations/")["img-src"] == ["'self'", "data:"]
