"""Reasons are maintained in Django admin; recalls are read there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from moderation.outbox.models import Attempt
from recall.admin import RecallAdmin
from recall.forms import RecallForm
from recall.models import Evidence, Recall, RecallItem, RecallReason
from tests.outbox.calls import make_batch

pytestmark = pytest.mark.django_db

LIST = "/admin/recall/recall/"


@pytest.fixture
def reader(client: Client, auditor: Any) -> Client:
    client.force_login(auditor)
    return client


@pytest.fixture
def make_recall(group: Any, moderator: Any, reason: Any) -> Callable[..., Recall]:
    """A function that makes a recall of two batches with an attempt and evidence each."""

    def make(age: int = 0, **fields: Any) -> Recall:
        recall = Recall.objects.create(
            **{
                "application": group.application,
                "conversation": group,
                "actor": moderator,
                "reason": reason,
                "note": "垃圾",
                "recaller_data": {"name": "客服"},
                "state": "finished",
                "created_at": timezone.now() - timedelta(minutes=age),
                **fields,
            }
        )
        for index in range(2):
            batch = make_batch(recall, index, state="refused")
            item = RecallItem.objects.create(recall=recall, batch=batch, position=0, timestamp=1767323045123 + index)
            Evidence.objects.create(item=item, raw="kept text", sha256="0" * 64)
            Attempt.objects.create(
                call=batch.call,
                number=1,
                started_at=timezone.now(),
                outcome="refused",
                http_status=200,
                response_code=401,
                response_content="<b>Unauthorized</b>",
                latency_ms=1087,
            )
        return recall

    return make


def test_a_recall_shows_its_batches_attempts_and_timestamps(reader: Client, make_recall: Callable[..., Recall]) -> None:
    recall = make_recall()
    page = reader.get(reverse("admin:recall_recall_change", args=[recall.pk])).content.decode()
    for text in ("1767323045123", "1767323045124", "<strong>401</strong>", "HTTP 200", "1087 ms", "垃圾", "客服"):
        assert text in page
    assert "&lt;b&gt;Unauthorized&lt;/b&gt;" in page
    assert reverse("recall", args=[recall.pk]) in page


def test_the_evidence_and_the_number_of_batches_cost_no_queries(
    reader: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall()
    url = reverse("admin:recall_recall_change", args=[recall.pk])

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            reader.get(url)
        return [query["sql"] for query in captured.captured_queries]

    few = queries()
    assert not any("recall_evidence" in sql for sql in few)
    for index in range(2, 8):
        batch = make_batch(recall, index)
        RecallItem.objects.create(recall=recall, batch=batch, position=0, timestamp=1767323045200 + index)
        Attempt.objects.create(call=batch.call, number=1, started_at=timezone.now())
    assert len(queries()) == len(few)


def test_recalls_can_only_be_read(client: Client, administrator: Any, make_recall: Callable[..., Recall]) -> None:
    client.force_login(administrator)
    recall = make_recall()
    for name, args in (("add", []), ("change", [recall.pk]), ("delete", [recall.pk]), ("changelist", [])):
        url = reverse(f"admin:recall_recall_{name}", args=args)
        assert client.post(url, {"post": "yes", "state": "cancelled"}).status_code == 403, name
    recall.refresh_from_db()
    assert recall.state == "finished"


def test_recalls_are_listed_newest_first_and_paged_by_key(
    reader: Client, make_recall: Callable[..., Recall], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecallAdmin, "list_per_page", 2)
    same_moment = timezone.now() - timedelta(hours=1)
    made = [make_recall(age=age) for age in range(2)] + [make_recall(created_at=same_moment) for _ in range(3)]
    expected = [recall.pk for recall in sorted(made, key=lambda each: (each.created_at, each.pk), reverse=True)]
    seen, url, last = [], LIST, None
    while url:
        with CaptureQueriesContext(connection) as queries:
            last = reader.get(url).context["cl"]
        statements = [query["sql"] for query in queries.captured_queries if '"recall_recall"' in query["sql"]]
        assert statements
        assert not any(re.search(r"COUNT\(|OFFSET|DISTINCT|\.\"note\"", sql) for sql in statements)
        seen += [each.pk for each in last.result_list]
        url = LIST + last.older if last.older else ""
    assert seen == expected
    assert last is not None
    newer = reader.get(LIST + last.newer).context["cl"]
    assert [each.pk for each in newer.result_list] == expected[2:4]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": ["finished"]}, ["finished"]),
        ({"state": ["finished", "waiting"]}, ["finished", "waiting"]),
        ({"actor": ["lea"]}, ["waiting"]),
        ({"actor": ["lea", "mo"]}, ["finished", "waiting"]),
        ({"ids": "group-1", "state": ["waiting"]}, ["waiting"]),
        ({"ids": "group-2"}, []),
        ({"app": ["default"]}, ["finished", "waiting"]),
        ({"state": ["lost"]}, []),
    ],
)
def test_recalls_are_filtered_by_several_values(
    reader: Client, make_recall: Callable[..., Recall], lead: Any, query: dict[str, Any], expected: list[str]
) -> None:
    make_recall()
    make_recall(state="waiting", actor=lead)
    rows = reader.get(LIST, query).context["cl"].result_list
    assert sorted(each.state for each in rows) == expected


def reason_form(**fields: Any) -> dict[str, Any]:
    return {"code": "new-one", "label_en": "New", "label_zh": "新的", "position": 9, "is_active": "on", **fields}


def test_a_lead_maintains_the_reasons(client: Client, lead: Any) -> None:
    client.force_login(lead)
    assert client.post(reverse("admin:recall_recallreason_add"), reason_form()).status_code == 302
    added = RecallReason.objects.get(code="new-one")
    change = reverse("admin:recall_recallreason_change", args=[added.pk])
    assert client.post(change, reason_form(label_en="Newer", code="another")).status_code == 302
    added.refresh_from_db()
    assert (added.label_en, added.code) == ("Newer", "new-one")


def test_a_reason_that_was_used_is_withdrawn_not_deleted(
    client: Client, lead: Any, make_recall: Callable[..., Recall], reason: RecallReason
) -> None:
    make_recall()
    unused = RecallReason.objects.create(code="unused", label_en="Unused", label_zh="未用")
    client.force_login(lead)
    delete = "admin:recall_recallreason_delete"
    assert client.post(reverse(delete, args=[reason.pk]), {"post": "yes"}).status_code == 403
    assert client.post(reverse(delete, args=[unused.pk]), {"post": "yes"}).status_code == 302
    assert RecallReason.objects.filter(pk=reason.pk).exists()
    assert not RecallReason.objects.filter(pk=unused.pk).exists()


def test_the_queue_has_no_page() -> None:
    with pytest.raises(NoReverseMatch):
        reverse("admin:django_tasks_database_dbtaskresult_changelist")


def test_the_admin_page_of_a_recall_shows_every_field_that_was_asked() -> None:
    asked = set(RecallForm.base_fields) & {field.name for field in Recall._meta.fields}
    # The data is laid out (recaller_json); the submission says nothing to people.
    lost = asked - set(RecallAdmin.fields) - {"recaller_data", "submission"}
    assert not lost, f"RecallAdmin.fields lacks {lost} (recall/admin.py)"
