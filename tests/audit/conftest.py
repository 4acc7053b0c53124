"""Fixtures of the audit log's tests."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.test import Client

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.audit import services, verifier
from moderation.audit.ledger import checkpoints
from moderation.audit.models import Action

from .audit_list import GROUP, PAIR, entry
from .recording import FROM
from .verifying import Run


@pytest.fixture
def published(settings: Any, tmp_path: Path) -> Path:
    """The file in which checkpoints are published."""
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "published" / "checkpoint")
    return Path(settings.AUDIT_CHECKPOINT_FILE)


@pytest.fixture
def reader(client: Client, auditor: Any) -> Client:
    auditor.timezone = "Asia/Shanghai"
    auditor.save()
    client.force_login(auditor)
    return client


@pytest.fixture
def log(make_user: Callable[..., Any], application: Any) -> dict[str, int]:
    """Different entries: their ids by name."""
    Application.objects.bulk_create([Application(slug="other", name="Other")])
    make_user("mo", "moderator")
    make_user("lea", "lead")
    recall = UUID("00000000-0000-4000-8000-000000000001")
    made = {
        "requested": {"action": Action.REQUESTED, "app": "default", "conversation": GROUP, "recall": recall},
        "accepted": {"response_code": 200, "app": "default", "conversation": GROUP, "recall": recall},
        "refused": {"response_code": 401, "app": "default", "conversation": PAIR, "actor": "lea"},
        "strange": {"response_code": -7, "app": "other", "conversation": {**PAIR, "user_b": "user-c"}},
        "unanswered": {"action": Action.UNANSWERED, "app": "other", "actor": "gone", "conversation": GROUP},
    }
    numbers = {}
    for day, (name, fields) in enumerate(made.items(), start=1):
        with time_machine.travel(datetime.fromisoformat(f"2026-01-0{day}T00:00:00+08:00"), tick=False):
            numbers[name] = entry(**fields).pk
    return numbers


@pytest.fixture
def browser(client: Client) -> Client:
    client.defaults.update(FROM)
    return client


@pytest.fixture
def admin(browser: Client, administrator: User) -> Client:
    browser.force_login(administrator)
    return browser


class Full(Exception):
    """The log refuses an entry."""


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit log that refuses every entry."""

    def refuse(_entries: object) -> None:
        raise Full

    monkeypatch.setattr(services, "record_all", refuse)


@pytest.fixture
def failing(browser: Client) -> Client:
    """A client that gets error pages instead of exceptions."""
    browser.raise_request_exception = False
    return browser


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the verifier and returns its exit status and output."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["verifier.py", *map(str, arguments)])
        status = verifier.main()
        out, err = capsys.readouterr()
        assert bool(out) == (status == 0) and bool(err) == (status != 0)
        return status, (out + err).strip()

    return run


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with the console's public key."""
    path = tmp_path / "key"
    path.write_text(base64.b64encode(checkpoints.public_key()).decode())
    return path
