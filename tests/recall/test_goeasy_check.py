"""`manage.py goeasy_check` against the sandbox, over real HTTP, for what GoEasy's documentation leaves open."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from moderation.applications.models import Application
from moderation.audit.models import AuditEntry
from moderation.goeasy.sandbox import Behaviour, Sandbox
from moderation.ingestion.models import WebhookDelivery
from recall.goeasy_check import messages, steps, webhook
from recall.goeasy_check.assumptions import ASSUMPTIONS

pytestmark = pytest.mark.django_db(transaction=True)

PAIR = {"kind": "private", "user_a": "10086", "user_b": "10010"}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(webhook, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(webhook, "AFTERWARDS", 0.3)


@pytest.fixture
def goeasy(tmp_path: Path, application: Application, settings: Any, live_server: Any) -> Iterator[Sandbox]:
    """A GoEasy with 45 messages of the pair that delivers to this console."""
    address = f"{live_server.url}/webhooks/goeasy/default/"
    with Sandbox(data=tmp_path / "goeasy.sqlite3", webhook_url=address) as sandbox:
        settings.GOEASY_APPKEY, settings.GOEASY_REST_HOST = sandbox.appkey, sandbox.url
        settings.GOEASY_SECRET_KEYS = [sandbox.secret_key]
        first = time.time_ns() // 1_000_000 - 3_600_000
        sandbox.add_messages(
            PAIR,
            [
                {
                    "timestamp": first + 1000 * at,
                    "senderId": "10010",
                    "type": "text",
                    "payload": {"text": str(at)},
                }
                for at in range(45)
            ],
        )
        yield sandbox


@pytest.fixture
def check(goeasy: Sandbox, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """A function that runs the command and returns exit status, document and messages."""

    def run(*arguments: str, **behaviour: Any) -> tuple[int, dict[str, Any], str]:
        goeasy.behaviour = Behaviour.parse(behaviour)
        out, err = io.StringIO(), io.StringIO()
        users = ("--user-a", "10086", "--user-b", "10010")
        output = ("--output", str(tmp_path / "answers.json"))
        status = 0
        try:
            call_command("goeasy_check", *users, *output, "--wait", "3", "--json", *arguments, stdout=out, stderr=err)
        except SystemExit as end:
            status = int(end.code or 0)
        return status, json.loads(out.getvalue() or "{}"), err.getvalue()

    return run


def results(document: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["result"] for each in document["assumptions"]}


def failed(document: dict[str, Any]) -> set[str]:
    return {id for id, result in results(document).items() if result == "does not hold"}


def ours(goeasy: Sandbox) -> list[dict[str, Any]]:
    return [message for message in goeasy.messages(PAIR) if "console" in str(message.get("payload"))]


def test_everything_holds_with_a_goeasy_as_it_is_expected(
    check: Any, goeasy: Sandbox, application: Application, tmp_path: Path
) -> None:
    status, document, said = check("--yes")
    assert status == 0
    assert failed(document) == set()
    # Not seen: no such message was sent, and the webhook does not report recalls.
    unseen = {id for id, result in results(document).items() if result == "not seen"}
    assert unseen <= {"webhook_im_alone", "webhook_reports_recalls", "recaller_told"}
    assert [each["id"] for each in document["assumptions"]] == [each.id for each in ASSUMPTIONS]
    assert set(document["measured"]) == {"sent_shown_s", "recall_shown_s", "webhook_s"}
    # The wait that was measured, with a margin, and never under two seconds.
    application.refresh_from_db()
    assert application.verify_after_seconds == document["verify_after"]["now"] == 2
    assert application.verify_after == 2
    assert "Waiting for the webhook" in said
    answers = tmp_path / "answers.json"
    assert answers.stat().st_mode & 0o777 == 0o600
    kept = json.loads(answers.read_text())
    assert {each["step"] for each in kept["answers"]} >= {"wrong key", "send", "recall", "webhook"}
    assert goeasy.appkey not in answers.read_text()


def test_it_takes_back_what_it_sent_and_nothing_else(check: Any, goeasy: Sandbox) -> None:
    before = goeasy.messages(PAIR)
    _status, _document, said = check("--yes")
    assert len(ours(goeasy)) == steps.MESSAGES
    assert "may still be there" not in said
    assert all(message.get("recalled") for message in ours(goeasy))
    assert [message for message in goeasy.messages(PAIR) if message not in ours(goeasy)] == before


def test_everything_that_leaves_is_in_the_audit_log_before_it_leaves(check: Any, goeasy: Sandbox) -> None:
    logged: list[tuple[str, list[str]]] = []

    def note(call: dict[str, Any]) -> None:
        if call["endpoint"] != "history":
            entries = AuditEntry.objects.filter(action="goeasy.checked").order_by("pk")
            logged.append((call["endpoint"], [entry.detail["step"] for entry in entries]))

    goeasy.on_call = note
    _status, document, _said = check("--yes")
    goeasy.on_call = None
    assert [endpoint for endpoint, _steps in logged] == ["send"] * 3 + ["recall"] * 3
    assert all(steps_[-1].endswith("about to be sent") for _endpoint, steps_ in logged)
    entries = list(AuditEntry.objects.order_by("pk"))
    assert entries[0].detail["step"] == "began"
    assert entries[-1].detail["step"] == "ended"
    assert entries[-1].detail["results"]["does not hold"] == []
    assert {entry.action for entry in entries} == {"goeasy.checked", "application.changed"}
    assert entries[1].request["appkey"] == "BC-•••"
    assert document["check"] == entries[0].detail["check"]


@pytest.mark.parametrize(
    ("behaviour", "fails"),
    [
        ({"http_200_always": True}, {"status_follows_code"}),
        ({"recall_again_code": 409}, {"repeated_recall"}),
        ({"history_drops_recalled": True}, {"marked_not_absent"}),
        ({"history_filters_after_limit": True}, {"marked_not_absent", "full_pages"}),
        ({"history_marks_recalled_as": "1"}, {"boolean_mark"}),
        ({"history_marks_recalled_as": '"true"'}, {"boolean_mark"}),
        ({"history_marks_recalled_as": "rc"}, {"boolean_mark"}),
        ({"history_marks_recalled_as": "recaller"}, {"boolean_mark"}),
        ({"recalled_stripped": True}, {"payload_kept"}),
        ({"page_cap": 20}, {"limit_kept"}),
        ({"cursor_inclusive": True}, {"exclusive_cursor", "empty_end"}),
        ({"history_oldest_first": True}, {"newest_first"}),
        ({"timestamps_as_text": True}, {"numeric_timestamps"}),
        ({"numeric_ids": True}, {"text_ids"}),
        ({"payload_as_text": True}, {"object_payloads"}),
        ({"webhook_as": "json"}, {"webhook_form"}),
        ({"webhook_as": "multipart"}, {"webhook_form"}),
        ({"webhook_wraps": "envelope"}, {"webhook_array"}),
        ({"webhook_wraps": "object"}, {"webhook_array"}),
        ({"webhook_wraps": "text"}, {"webhook_array"}),
        ({"webhook_mixed_cs": True}, {"webhook_im_alone"}),
        ({"webhook_mixed_pubsub": True}, {"webhook_im_alone"}),
        ({"webhook_packs": 100}, set()),
        ({"send_needs_data": True}, set()),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_an_assumption_that_is_not_needed_is_reported_without_failure(
    behaviour: dict[str, Any], fails: set[str], check: Any
) -> None:
    status, document, _said = check("--yes", **behaviour)
    assert failed(document) == fails
    assert status == 0


@pytest.mark.parametrize(
    ("behaviour", "fails"),
    [
        ({"recall_code": 408}, {"recall_accepted"}),
        ({"recall_code": 500, "http_200_always": True}, {"recall_accepted", "status_follows_code"}),
        ({"recall_reports_failures": True}, {"recall_accepted", "recall_effect"}),
        ({"abbreviated": True}, {"full_names"}),
        ({"webhook_signs_body": True}, {"webhook_signature"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_needed_assumption_that_fails_ends_with_1(behaviour: dict[str, Any], fails: set[str], check: Any) -> None:
    status, document, _said = check("--yes", **behaviour)
    assert status == 1
    assert fails <= failed(document)


def test_a_mark_that_shows_late_sets_the_wait(check: Any, application: Application) -> None:
    _status, document, _said = check("--yes", mark_delay=1.2)
    application.refresh_from_db()
    assert 1.1 < document["measured"]["recall_shown_s"] < 2
    assert application.verify_after_seconds in {3, 4}
    changed = AuditEntry.objects.get(action="application.changed")
    assert changed.detail["changes"]["verify_after_seconds"] == {"from": None, "to": application.verify_after_seconds}


def test_a_recall_that_never_shows_leaves_the_wait_as_it_was(check: Any, application: Application) -> None:
    status, document, _said = check("--yes", "--wait", "1", mark_delay=60.0)
    assert (status, results(document)["recall_effect"]) == (1, "does not hold")
    application.refresh_from_db()
    assert application.verify_after_seconds is None


def test_another_message_in_the_same_millisecond_is_never_taken_back_along_with_it(check: Any, goeasy: Sandbox) -> None:
    """A recall of a millisecond takes back messages of other senders, too."""

    def send_along(call: dict[str, Any]) -> None:
        mine = {message["timestamp"] for message in ours(goeasy)}
        taken = {message["timestamp"] for message in goeasy.messages(PAIR) if message["senderId"] == "10010"}
        if call["endpoint"] == "history" and mine - taken:
            goeasy.add_messages(
                PAIR,
                [
                    {"timestamp": time_, "senderId": "10010", "type": "text", "payload": {"text": "mine"}}
                    for time_ in mine - taken
                ],
            )

    goeasy.on_call = send_along
    _status, document, said = check("--yes")
    goeasy.on_call = None
    assert goeasy.calls("recall") == []
    assert results(document)["recall_effect"] == "not seen"
    # What it leaves behind is said.
    assert document["may_be_left"] == steps.MESSAGES
    assert f"{steps.MESSAGES} of the messages may still be there" in said


@pytest.mark.parametrize("typed", ["", "no\n", "y\n"])
def test_nothing_is_sent_without_a_yes(
    check: Any, goeasy: Sandbox, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    status, _document, said = check()
    assert status == 2
    assert "Type yes to go on" in said
    assert goeasy.calls() == []
    assert not AuditEntry.objects.exists()


def test_a_dry_run_shows_the_messages_and_sends_nothing(check: Any, goeasy: Sandbox) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("goeasy_check", "--user-a", "10086", "--user-b", "10010", "--dry-run", stdout=out, stderr=err)
    assert len(out.getvalue().splitlines()) == steps.MESSAGES
    assert "BC-•••" in out.getvalue()
    assert goeasy.appkey not in out.getvalue()
    assert goeasy.calls() == []


@pytest.mark.parametrize(
    "arguments",
    [("--app", "nothing"), ("--user-b", "10086"), ("--user-a", "x" * 256), ("--wait", "0"), ("--output", "/proc/x/y")],
)
def test_bad_input_ends_with_2_and_nothing_is_sent(check: Any, goeasy: Sandbox, arguments: tuple[str, str]) -> None:
    status, _document, said = check("--yes", *arguments)
    assert status == 2
    assert said
    assert goeasy.calls() == []


def test_a_goeasy_that_cannot_be_read_gets_no_message(check: Any, goeasy: Sandbox) -> None:
    goeasy.set_faults([{"on": "history", "kind": "refuse", "code": 401}])
    status, document, said = check("--yes")
    assert status == 3
    assert "nothing was sent" in said
    assert document["problem"]
    assert goeasy.calls("send") == []
    assert AuditEntry.objects.order_by("-pk")[0].detail["problem"]


def test_the_table_says_what_was_seen_of_each_assumption(check: Any, goeasy: Sandbox, tmp_path: Path) -> None:
    goeasy.behaviour = Behaviour(page_cap=20)
    out = io.StringIO()
    call_command(
        *("goeasy_check", "--user-a", "10086", "--user-b", "10010", "--yes", "--wait", "3"),
        *("--output", str(tmp_path / "a.json")),
        stdout=out,
        stderr=io.StringIO(),
    )
    table = out.getvalue()
    assert all(each.text in table for each in ASSUMPTIONS)
    assert "does not hold  A page holds as many messages as were asked for while there are more. – 20 of 30" in table
    assert "History is read 2 s after a recall" in table


@pytest.mark.parametrize("depth", [101, 900, 20_000])
def test_a_message_that_nests_too_deeply_is_read_as_far_as_that_goes(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    first, second = messages.read([f'{{"timestamp": 1700000000000, "payload": {deep}}}', deep, "{", "{}"])
    assert (first.data, second.data) == ({"timestamp": 1_700_000_000_000, "payload": deep}, {})
    delivery = WebhookDelivery(content=f'[{{"timestamp": 1}}, "{deep}"]'.encode())
    assert list(webhook.members(webhook.json_of(delivery))) == [{"timestamp": 1}]
    assert webhook.json_of(WebhookDelivery(content=b"\xff[")) is None
