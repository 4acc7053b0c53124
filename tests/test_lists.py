"""No page uses COUNT, OFFSET or DISTINCT on a growing table (architecture, invariant 8)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from recall import services
from recall.models import Recall

pytestmark = pytest.mark.django_db

GROWING = (
    "archive_message|archive_conversation|archive_sender|search_searchtext|ingestion_webhookdelivery|"
    "ingestion_unreadablemessage|audit_auditentry|"
    "audit_auditseal|audit_auditcheckpoint|audit_auditprivate|recall_recall|recall_recallbatch|"
    "outbox_call|outbox_attempt|recall_recallitem|recall_evidence"
)
OVER_A_GROWING_TABLE = re.compile(rf'(FROM|JOIN) "({GROWING})"')
COSTLY = re.compile(r"\bCOUNT\(|\bOFFSET\b|\bDISTINCT\b")
# Queries for one recall, the recalls of a page or the timestamps of a page do not grow with the table, nor do counts
# with a limit of a few thousand.
BOUNDED = re.compile(
    r'"(recall_id|timestamp)" (= |IN \()'
    r"|^SELECT COUNT\(\*\) FROM \(SELECT (?!DISTINCT)(?!.*(COUNT\(|DISTINCT|OFFSET)).* LIMIT \d{1,4}\) subquery$"
)


@pytest.fixture
def recall(private: Any, moderator: Any, reason: Any, make_message: Callable[..., Any]) -> Recall:
    for number in range(70):
        make_message(private, 1_700_000_000_000 + number)
    return services.request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note="",
        timestamps=[1_700_000_000_000 + number for number in range(30)],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/open/?q=user-a",
        "/open/?q=1700000000000",
        "/conversations/",
        "/conversations/?q=user&kind=private",
        "/conversations/?q=message",
        "/conversations/?q=m&sender=user-a&conversation={conversation}&recalled=no&type=text&since=1700000000000",
        "/conversations/?sender=user-a&before=1700000000050-9999",
        "/senders/default/?id=user-a",
        "/conversations/{conversation}/",
        "/conversations/{conversation}/?before=1700000000050-9999",
        "/conversations/{conversation}/?at=1700000000030",
        "/conversations/{conversation}/news/?after=1700000000000-1",
        "/conversations/{conversation}/messages/?sender=user-a",
        "/feed/",
        "/recalls/",
        "/recalls/?state=waiting&outcome=accepted&actor=mo",
        "/recalls/{recall}/",
        "/admin/",
        "/admin/audit/auditentry/",
        "/admin/audit/auditentry/?action=recall.requested&response_code=200&actor=mo",
        "/admin/audit/auditentry/{entry}/change/",
        "/admin/archive/conversation/",
        "/admin/archive/message/",
        "/admin/ingestion/webhookdelivery/",
        "/admin/ingestion/unreadablemessage/",
        "/admin/ingestion/unreadablemessage/?ids=user-a&app=default",
        "/admin/ingestion/webhookdelivery/?state=unread&app=default",
        "/admin/recall/recall/",
        "/admin/recall/recall/{recall}/change/",
    ],
)
def test_no_page_counts_or_skips_rows_of_a_growing_table(
    address: str, recall: Recall, administrator: Any, client: Client
) -> None:
    from moderation.audit.models import AuditEntry

    entry = AuditEntry.objects.latest("pk").pk
    client.force_login(administrator)
    url = address.format(conversation=recall.conversation_id, recall=recall.pk, entry=entry)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code in {200, 302}
    assert queries.captured_queries
    costly = [
        sql
        for sql in (query["sql"] for query in queries.captured_queries)
        if COSTLY.search(sql) and OVER_A_GROWING_TABLE.search(sql) and not BOUNDED.search(sql)
    ]
    assert costly == []


def test_a_count_is_detected(recall: Recall) -> None:
    with CaptureQueriesContext(connection) as queries:
        Recall.objects.count()
    (query,) = queries.captured_queries
    assert COSTLY.search(query["sql"])
    assert OVER_A_GROWING_TABLE.search(query["sql"])
    assert not BOUNDED.search(query["sql"])


def test_only_a_limited_count_is_accepted(recall: Recall) -> None:
    recalls = Recall.objects.order_by("pk")
    with CaptureQueriesContext(connection) as queries:
        recalls[:1001].count()
        recalls.values("state").distinct()[:1001].count()
        recalls[5:1001].count()
        recalls[:1_000_000].count()
    capped, *costly = [query["sql"] for query in queries.captured_queries]
    assert BOUNDED.search(capped)
    assert len(costly) == 3
    assert not any(BOUNDED.search(sql) for sql in costly)
