"""Entries as OCSF events have what the schema requires (1.3.0, class API Activity and its objects)."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from moderation.audit import verifier
from moderation.audit.models import Action

from .entries import record

pytestmark = pytest.mark.django_db

# Required attributes with their JSON types; attributes of nested objects after a dot.
REQUIRED: dict[str, type] = {
    **dict.fromkeys(("category_uid", "class_uid", "activity_id", "type_uid", "severity_id", "time"), int),
    **dict.fromkeys(("metadata", "metadata.product", "actor", "api", "src_endpoint"), dict),
    **dict.fromkeys(("metadata.version", "metadata.product.vendor_name", "api.operation"), str),
}
# At least one of these is required.
ENDPOINT = {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name"}


def exported(**fields: Any) -> list[dict[str, Any]]:
    record(**{"actor": "mo", "action": Action.ANSWERED, **fields})
    out = StringIO()
    call_command("export_audit", "--format", "ocsf", stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("fields", "activity", "status", "severity"),
    [
        ({"response_code": 200, "http_status": 200}, 99, 1, 1),
        ({"response_code": 401}, 99, 2, 2),
        ({"action": Action.UNANSWERED}, 99, 0, 2),
        ({"action": Action.SIGN_IN_FAILED}, 99, 2, 2),
        ({"action": Action.SEARCHED}, 2, 1, 1),
        ({"action": Action.ACCOUNT_CHANGED, "detail": {"did": "added"}}, 1, 1, 1),
        ({"action": Action.ACCOUNT_CHANGED, "detail": {"did": "changed"}}, 3, 1, 1),
        ({"action": Action.ACCOUNT_CHANGED, "detail": {"did": "deleted"}}, 4, 1, 1),
        ({"action": Action.LOG_VERIFIED, "detail": {"problem": "seq 1: …"}}, 2, 2, 5),
        ({"detail": {"from": {"address": "203.0.113.7", "user_agent": "B/1", "request_id": "request-1"}}}, 99, 2, 2),
    ],
)
def test_each_event_has_what_the_schema_requires(
    fields: dict[str, Any], activity: int, status: int, severity: int
) -> None:
    (event,) = exported(**fields)
    for path, kind in REQUIRED.items():
        value: Any = event
        for name in path.split("."):
            value = value[name]
        assert type(value) is kind, path
    assert (event["category_uid"], event["class_uid"]) == (6, 6003)
    assert (event["activity_id"], event["status_id"], event["severity_id"]) == (activity, status, severity)
    assert event["type_uid"] == 600300 + activity
    assert ENDPOINT & event["src_endpoint"].keys()
    assert event["actor"]["user"]["name"] == "mo"
    assert event["metadata"]["uid"] == str(event["unmapped"]["seq"]) == "1"
    assert verifier.entry_hash(event["unmapped"]) == event["unmapped"]["hash"]
