"""What a load balancer and a supervisor ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from recall.models import Circuit, Heartbeat


def test_healthz_needs_neither_a_user_nor_the_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_ready_with_a_worker_that_lives(client: Client, db: None) -> None:
    Heartbeat.objects.create(worker="w", at=timezone.now())
    answer = client.get("/readyz")
    assert answer.status_code == 200
    well = dict.fromkeys(("status", "database", "migrations", "worker", "feed", "audit", "goeasy"), "ok")
    assert answer.json() == well


@pytest.mark.parametrize("ages", [[], [timedelta(minutes=5)]])
def test_not_ready_without_a_sign_of_life_from_a_worker(client: Client, db: None, ages: list[timedelta]) -> None:
    for age in ages:
        Heartbeat.objects.create(worker="w", at=timezone.now() - age)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["worker"] == "no sign of life"


def test_calls_that_are_held_back_are_told_and_keep_nobody_from_reading(client: Client, application: Any) -> None:
    Heartbeat.objects.create(worker="w", at=timezone.now())
    Circuit.objects.create(application=application, opened_at=timezone.now(), reason=Circuit.Reason.FAILING)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["goeasy"]) == (200, {application.slug: "failing"})
