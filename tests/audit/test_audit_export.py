"""Direct export of the audit log's list from Django admin."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.audit.models import AuditEntry, AuditSeal

from .audit_list import LIST, entry

pytestmark = pytest.mark.django_db


def test_a_head_request_for_an_export_records_nothing(reader: Client) -> None:
    entry()
    address = reverse("admin:audit_auditentry_export")
    answer = reader.head(f"{address}?format=csv")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"", "text/csv; charset=utf-8")
    assert reader.head(f"{address}?format=xlsx").status_code == 302
    assert AuditEntry.objects.count() == 1
    assert not AuditSeal.objects.exists()


def exported(client: Client, **query: Any) -> Any:
    return client.get(reverse("admin:audit_auditentry_export"), query)


def test_the_export_honours_the_filters(reader: Client, log: dict[str, int]) -> None:
    response = exported(reader, format="jsonl", response_code=["200", "401"], before="1")
    assert response.streaming
    assert re.search(r'filename="audit-log-\d{8}T\d{6}Z\.jsonl"', response["Content-Disposition"])
    lines = b"".join(response).decode().splitlines()
    wanted = [log["accepted"], log["refused"]]
    assert [json.loads(line)["seq"] for line in lines] == [AuditEntry.objects.get(pk=pk).seal.seq for pk in wanted]
    recorded = AuditEntry.objects.latest("pk")
    assert (recorded.actor, recorded.action) == ("audrey", "audit.exported")
    assert recorded.detail.pop("from")["address"] == "127.0.0.1"
    assert recorded.detail == {"format": "jsonl", "entries_up_to": 5, "filters": {"response_code": ["200", "401"]}}


def test_the_export_as_csv_opens_in_a_spreadsheet(reader: Client) -> None:
    entry(response_content="=1+1", detail={"note": "垃圾"})
    body = b"".join(exported(reader, format="csv"))
    assert body.startswith(b"\xef\xbb\xbf")
    (row,) = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    assert row["response_content"] == "'=1+1"
    assert "垃圾" in row["detail"]


def test_an_invalid_export_redirects_to_the_list(reader: Client) -> None:
    assert exported(reader, format="jsonl", other_codes="x").url == f"{LIST}?format=jsonl&other_codes=x"
    assert exported(reader, format="xlsx").url == f"{LIST}?format=xlsx"


def test_the_list_links_to_the_export_with_its_filters(reader: Client, log: dict[str, int]) -> None:
    page = reader.get(LIST, {"response_code": ["200", "401"], "before": log["unanswered"]}).content.decode()
    link = re.search(r'href="([^"]*/export/\?format=csv[^"]*)"', page)
    assert link
    rows = b"".join(reader.get(link[1].replace("&amp;", "&"))).decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(rows, newline="")))) == 2
