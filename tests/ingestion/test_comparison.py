"""Comparison with history: messages that the webhook left out are filled in, within limits, and reported."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from moderation.archive.models import Conversation, Message
from moderation.ingestion import comparison, deliveries, feed
from moderation.ingestion.models import Feed, FeedCount, WebhookDelivery
from moderation.outbox import admission
from moderation.outbox.models import CallSlot, Circuit

pytestmark = pytest.mark.django_db

GROUP = {"kind": "group", "group_id": "group-1"}
NOW = time.time_ns() // 1_000_000
HOUR = 3_600_000


@pytest.fixture
def fill(sandbox: Any, connected: Any) -> Any:
    """A function that puts messages at these times (ms) into GoEasy's history of the group."""

    def put(*times: int) -> list[dict[str, Any]]:
        messages = [{"timestamp": at, "senderId": "u", "type": "text", "payload": {"text": str(at)}} for at in times]
        return list(sandbox.add_messages(GROUP, messages))

    return put


def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, JSON document and messages of `manage.py backfill`."""
    out, err, status = StringIO(), StringIO(), 0
    try:
        call_command("backfill", *arguments, "--json", stdout=out, stderr=err)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, json.loads(out.getvalue()), err.getvalue()


def test_a_conversation_is_read_to_the_start_of_its_history(fill: Any, sandbox: Any, group: Conversation) -> None:
    fill(*range(NOW - HOUR, NOW - HOUR + 100))
    status, document, _err = run("--group", "group-1")
    assert (status, document["conversations"], document["added"], document["missed"]) == (0, 1, 100, 0)
    assert document["calls"] == len(sandbox.calls("history")) == 6, "the last two show that nothing is older"
    assert run("--group", "group-1")[1]["added"] == 0
    assert CallSlot.objects.exclude(held_by="").count() == 0


def test_the_command_reads_no_further_back_than_since(fill: Any, group: Conversation) -> None:
    fill(*range(NOW - HOUR, NOW - HOUR + 100))
    _status, document, _err = run("--group", "group-1", "--since", str(NOW - HOUR + 80))
    assert (document["calls"], document["added"]) == (1, 30)


def test_a_conversation_that_is_new_here_is_opened(sandbox: Any, connected: Any) -> None:
    sandbox.add_messages(
        {"kind": "private", "user_a": "x", "user_b": "y"}, [{"timestamp": NOW, "senderId": "x", "type": "text"}]
    )
    assert run("--user-a", "y", "--user-b", "x")[1]["added"] == 1
    assert Conversation.objects.get().ids == "x ↔ y"


def test_all_conversations_are_read_and_failures_are_named(
    fill: Any, sandbox: Any, group: Conversation, private: Conversation
) -> None:
    fill(NOW)
    status, document, _err = run("--all")
    assert (status, document["conversations"], document["added"]) == (0, 2, 1)
    sandbox.set_faults([{"on": "history", "kind": "refuse", "code": 401}])
    status, document, err = run("--all")
    assert status == 1
    assert [each["problem"] for each in document["problems"]] == ["refused", "refused"]
    assert document["problems"][0]["conversation"] == group.for_audit()
    assert "refused" in err


def test_an_unreachable_goeasy_is_not_tried_for_every_conversation(application: Any) -> None:
    from moderation.goeasy.client import Group

    for number in range(9):
        Conversation.objects.open(application, Group(f"g-{number}"))
    status, document, err = run("--all")
    assert (status, document["conversations"]) == (1, 3)
    assert "the rest is not tried" in err


def test_unreadable_messages_are_reported_and_history_beyond_them_counts_as_unread(
    fill: Any, sandbox: Any, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(*range(NOW - HOUR, NOW - HOUR + 50))
    original = sandbox.history
    unreadable = range(NOW - HOUR, NOW - HOUR + 40)

    def history(query: dict[str, str]) -> tuple[int, object]:
        return 200, [
            {"ts": each["timestamp"]} if each["timestamp"] in unreadable else each for each in original(query)[1]
        ]

    monkeypatch.setattr(sandbox, "history", history)
    status, document, err = run("--group", "group-1")
    assert (status, document["added"], document["unreadable"]) == (1, 10, 30)
    assert [each["problem"] for each in document["problems"]] == ["unreadable"]
    assert "30 messages could not be read" in err
    state = Feed.objects.create(application=group.application, first_at=timezone.now() - timedelta(hours=2))
    comparison.compare(group, state)
    group.refresh_from_db()
    assert group.compared_until == 0
    unreadable = range(NOW - HOUR + 10, NOW - HOUR + 12)
    comparison.compare(group, state)
    group.refresh_from_db()
    assert (group.compared_until > 0, Message.objects.count()) == (True, 48)


def test_more_than_a_page_in_one_millisecond_is_said(fill: Any, group: Conversation) -> None:
    fill(NOW - 5, *[NOW - 3] * 40, NOW - 1)
    status, document, err = run("--group", "group-1")
    assert status == 1
    assert document["crowded"] == [{"conversation": group.for_audit(), "timestamp": NOW - 3}]
    assert str(NOW - 3) in err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "--group", "g"], ["--user-a", "a"], ["--group", "g" * 300], ["--app", "nobody", "--all"]],
)
def test_arguments_that_name_no_conversation_are_refused(application: Any, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("backfill", *arguments)
    assert refusal.value.returncode == 2


def test_the_command_waits_for_a_slot_and_gives_up_when_none_comes(
    fill: Any, sandbox: Any, group: Conversation, settings: Any
) -> None:
    settings.GOEASY_CONCURRENCY = 1
    assert admission.take_slots(group.application, "somebody else") == 1
    assert comparison.fill(group, since=0, patience=0.3).problem == "busy"
    assert sandbox.calls("history") == []


def test_the_command_keeps_the_pace(fill: Any, sandbox: Any, group: Conversation, settings: Any) -> None:
    settings.GOEASY_MAX_CALLS_PER_SECOND = 10
    fill(*range(NOW - HOUR, NOW - HOUR + 100))
    run("--group", "group-1")
    times = [call["at_ms"] for call in sandbox.calls("history")]
    assert len(times) == 6
    assert times[-1] - times[0] >= 480


def deliver(application: Any, messages: list[dict[str, Any]], *, ago: timedelta = timedelta()) -> None:
    for message in messages:
        deliveries.accept(application, json.dumps(message).encode())
    WebhookDelivery.objects.filter(application=application).update(received_at=timezone.now() - ago)
    feed.take_stock(application)


def test_messages_that_the_webhook_left_out_are_filled_in_and_counted(
    fill: Any, sandbox: Any, group: Conversation
) -> None:
    times = [NOW - HOUR + 1_000 * number for number in range(90)]
    messages = fill(*times)
    # 70 of 90 came; the gap lies further back than a page.
    deliver(
        group.application, [each for each in messages if not 10 <= messages.index(each) < 30], ago=timedelta(hours=2)
    )
    assert Message.objects.count() == 70
    assert comparison.compare_due() == 1
    assert Message.objects.count() == 90
    assert FeedCount.objects.get(what="missed").number == 20
    assert feed.take_stock(group.application).alarm == "gap"
    # The next comparison reads no further back than the last one.
    calls = len(sandbox.calls("history"))
    assert comparison.compare_due() == 0, "not so soon again"
    Conversation.objects.update(history_read_at=timezone.now() - timedelta(minutes=11))
    assert comparison.compare_due() == 1
    assert len(sandbox.calls("history")) == calls + 1
    assert FeedCount.objects.get(what="missed").number == 20


def test_nothing_is_compared_where_no_webhook_delivered_or_nothing_happened_lately(
    fill: Any, sandbox: Any, group: Conversation, make_message: Any
) -> None:
    make_message(group, NOW)
    assert comparison.compare_due() == 0
    deliver(group.application, [{**fill(NOW - 3)[0]}])
    Conversation.objects.update(last_timestamp=NOW - 25 * HOUR)
    assert comparison.compare_due() == 0
    Conversation.objects.update(last_timestamp=NOW)
    assert comparison.compare_due() == 1


def test_nothing_is_compared_while_goeasy_fails_or_is_busy(
    fill: Any, sandbox: Any, group: Conversation, settings: Any
) -> None:
    deliver(group.application, fill(NOW - 3))
    circuit = admission.circuit_of(group.application)
    admission.open_circuit(circuit, Circuit.Reason.KEY_REFUSED, "refused")
    assert comparison.compare_due() == 0
    admission.note_answer(circuit)
    settings.FEED_COMPARE_MINUTES = 0
    assert comparison.compare_due() == 0
    assert sandbox.calls("history") == []
