"""Clients cannot flood the log: one line a minute for each kind and source, with a count."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client

from moderation.log_limits import MAX_SOURCES, LimitRepeats

pytestmark = pytest.mark.django_db


class Lines(logging.Handler):
    """Handler that records the lines that pass the console's filter."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lines: list[str] = []
        self.addFilter(LimitRepeats(lambda: self.now))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Lines:
    handler = Lines()
    # The console's own handler has counted lines of other tests.
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    return handler


def post_unsigned(client: Client, source: str) -> None:
    assert client.post("/webhooks/goeasy/default/", REMOTE_ADDR=source).status_code == 401


def test_unsigned_deliveries_write_one_line_a_minute_per_source(
    client: Client, application: Any, settings: Any, log: Lines
) -> None:
    settings.GOEASY_SECRET_KEYS = ["secret"]
    for _time in range(5):
        post_unsigned(client, "203.0.113.1")
    assert log.lines == ["webhook of default refused: unsigned"]
    post_unsigned(client, "203.0.113.2")
    assert len(log.lines) == 2
    log.now = 61
    post_unsigned(client, "203.0.113.1")
    assert log.lines[2:] == ["webhook of default refused: unsigned (and 4 more like it, left out)"]


def test_other_warnings_that_a_client_can_cause_are_limited(client: Client, application: Any, log: Lines) -> None:
    for number in range(5):
        client.get(f"/no/such/page/{number}/")
        client.get("/", headers={"host": f"evil{number}.example.com"})
        client.delete(f"/healthz?{number}")
        Client(enforce_csrf_checks=True).post("/accounts/login/", {"username": str(number)})
        client.post(f"/webhooks/goeasy/nobody-{number}/")
        logging.getLogger("gunicorn.error").warning(f"Invalid request from ip=203.0.113.9: {number}")
    for kind in ("Not Found", "Invalid HTTP_HOST", "Not Allowed", "Forbidden", "no such application", "ip=203.0.113.9"):
        assert len([line for line in log.lines if kind in line]) == 1, log.lines


def test_many_sources_together_are_limited(client: Client, application: Any, log: Lines) -> None:
    for number in range(3 * MAX_SOURCES):
        post_unsigned(client, f"203.0.113.{number}")
    assert len(log.lines) == MAX_SOURCES + 1
    log.now = 61
    post_unsigned(client, "198.51.100.1")
    assert log.lines[-1].endswith(f"(and {2 * MAX_SOURCES - 1} more like it, left out)")


def test_different_errors_of_one_source_are_all_written(log: Lines) -> None:
    def fail(number: int) -> None:
        try:
            if number % 2:
                [].index(1)
            int("x")
        except ValueError:
            logging.getLogger("django.request").exception("Internal Server Error: %s", "/")

    for number in range(4):
        fail(number)
    logging.getLogger("moderation.outbox.sender").warning("from inside")
    logging.getLogger("moderation.outbox.sender").warning("from inside")
    assert log.lines.count("from inside") == 2
    assert len(log.lines) == 4
