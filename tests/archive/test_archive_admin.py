"""Conversations and messages in Django admin: read-only lists and pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


@pytest.fixture
def messages(group: Any, private: Any, make_message: Callable[..., Any]) -> list[Any]:
    return [
        make_message(group, 1767323045123, payload={"text": "你好"}),
        make_message(private, 1767323045124, senderId="user-b"),
        make_message(group, 1767323045125, recalled=True),
    ]


def listed(client: Client, model: str, **query: Any) -> list[int]:
    page = client.get(reverse(f"admin:archive_{model}_changelist"), query)
    return [each.pk for each in page.context["cl"].result_list]


def test_messages_and_conversations_can_only_be_read(admin: Client, messages: list[Any]) -> None:
    for row in (messages[0], messages[0].conversation):
        model = row._meta.model_name
        assert admin.get(reverse(f"admin:archive_{model}_change", args=[row.pk])).status_code == 200
        for name, args in (("add", []), ("change", [row.pk]), ("delete", [row.pk]), ("changelist", [])):
            url = reverse(f"admin:archive_{model}_{name}", args=args)
            assert admin.post(url, {"post": "yes", "action": "delete_selected"}).status_code == 403, url


def test_a_message_is_shown_as_readable_json(admin: Client, messages: list[Any]) -> None:
    page = admin.get(reverse("admin:archive_message_change", args=[messages[0].pk])).content.decode()
    assert "你好" in page
    assert "&quot;timestamp&quot;: 1767323045123" in page
    assert messages[0].sha256 in page
    assert "2026-01-02 03:04:05.123" in page


def test_a_message_that_is_not_json_is_shown_as_it_is(admin: Client, messages: list[Any]) -> None:
    type(messages[0]).objects.filter(pk=messages[0].pk).update(raw="<script>alert(1)</script>")
    page = admin.get(reverse("admin:archive_message_change", args=[messages[0].pk])).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


DEEP = "[" * 2_000 + "]" * 2_000


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r'{"payload": "half \ud83d a pair", "recalled": true}', r"half \ud83d a pair"),
        (f'{{"payload": {DEEP}}}', DEEP),
        (DEEP, DEEP),
    ],
    ids=["half a surrogate pair", "a deep member", "deep"],
)
def test_a_hostile_message_is_shown_as_text(admin: Client, messages: list[Any], raw: str, text: str) -> None:
    type(messages[0]).objects.filter(pk=messages[0].pk).update(raw=raw, recalled_raw=raw)
    response = admin.get(reverse("admin:archive_message_change", args=[messages[0].pk]))
    assert response.status_code == 200
    assert response.content.decode().count(text) == 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [2, 1, 0]),
        ({"ids": "group-1"}, [2, 0]),
        ({"ids": "user-b ↔ user-a"}, [1]),
        ({"sender": "user-b"}, [1]),
        ({"timestamp": "1767323045123"}, [0]),
        ({"recalled": "1"}, [2]),
        ({"recalled": "0"}, [1, 0]),
        ({"timestamp": "yesterday"}, []),
    ],
)
def test_messages_are_filtered(admin: Client, messages: list[Any], query: dict[str, str], expected: list[int]) -> None:
    assert listed(admin, "message", **query) == [messages[index].pk for index in expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"kind": ["group"]}, ["group"]),
        ({"kind": ["group", "private"]}, ["group", "private"]),
        ({"ids": "user-a"}, ["private"]),
        ({"app": ["default"], "ids": "group-1"}, ["group"]),
    ],
)
def test_conversations_are_filtered(
    admin: Client, group: Any, private: Any, query: dict[str, Any], expected: list[str]
) -> None:
    rows = {"group": group.pk, "private": private.pk}
    assert sorted(listed(admin, "conversation", **query)) == sorted(rows[name] for name in expected)


def test_no_list_of_the_archive_counts_or_skips(admin: Client, messages: list[Any]) -> None:
    for model in ("message", "conversation"):
        with CaptureQueriesContext(connection) as queries:
            listed(admin, model, before=messages[2].pk, ids="group-1")
        statements = [q["sql"] for q in queries.captured_queries if f'"archive_{model}"' in q["sql"]]
        assert statements
        assert not any(re.search(r"COUNT\(|OFFSET|DISTINCT", sql) for sql in statements)
        assert not any('."raw"' in sql for sql in statements)
