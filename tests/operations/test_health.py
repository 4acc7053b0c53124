"""Health endpoints for load balancers and supervisors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from moderation import __version__
from moderation.audit import request_context
from moderation.operations.models import Heartbeat
from moderation.outbox.models import Circuit


def test_healthz_needs_neither_a_user_nor_the_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "version": __version__}


def test_readyz_is_ok_with_a_live_worker(client: Client, db: None) -> None:
    Heartbeat.objects.create(worker="w", at=timezone.now())
    answer = client.get("/readyz")
    assert answer.status_code == 200
    well = dict.fromkeys(("status", "database", "migrations", "worker", "feed", "audit", "goeasy"), "ok")
    assert answer.json() == well


@pytest.mark.parametrize("ages", [[], [timedelta(minutes=5)]])
def test_readyz_fails_without_a_heartbeat_of_a_worker(client: Client, db: None, ages: list[timedelta]) -> None:
    for age in ages:
        Heartbeat.objects.create(worker="w", at=timezone.now() - age)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["worker"] == "no sign of life"


def test_readyz_reports_held_calls_and_stays_ready(client: Client, application: Any) -> None:
    Heartbeat.objects.create(worker="w", at=timezone.now())
    Circuit.objects.create(application=application, opened_at=timezone.now(), reason=Circuit.Reason.FAILING)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["goeasy"]) == (200, {application.slug: "failing"})


def test_an_undeclared_proxy_is_warned_about_once(
    client: Client,
    administrator: Any,
    moderator: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(request_context, "_ignored_at", float("-inf"))
    settings.HTTPS = True
    Heartbeat.objects.create(worker="w", at=timezone.now())
    client.force_login(administrator)
    assert "FORWARDED_HOPS" not in client.get("/").content.decode()
    assert "warnings" not in client.get("/readyz").json()
    for _request in range(3):
        client.get("/", headers={"x-forwarded-for": "198.51.100.7"})
    assert "FORWARDED_HOPS" in client.get("/").content.decode()
    ready = client.get("/readyz")
    assert (ready.status_code, len(ready.json()["warnings"])) == (200, 1)
    assert len([each for each in caplog.messages if "FORWARDED_HOPS" in each]) == 1
    client.force_login(moderator)
    assert "FORWARDED_HOPS" not in client.get("/").content.decode()


@pytest.mark.parametrize(("https", "hops"), [(True, 1), (False, 0)])
def test_a_proxy_that_is_expected_is_not_warned_about(
    client: Client, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch, https: bool, hops: int
) -> None:
    monkeypatch.setattr(request_context, "_ignored_at", float("-inf"))
    settings.HTTPS, settings.FORWARDED_HOPS = https, hops
    assert "warnings" not in client.get("/readyz", headers={"x-forwarded-for": "198.51.100.7"}).json()
