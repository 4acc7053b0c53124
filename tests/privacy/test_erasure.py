"""Erasure of a sender's text: it is nowhere any more, does not come back, and the log stays intact."""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from moderation.applications.models import Application
from moderation.archive import retention
from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.audit import verifier
from moderation.audit.ledger import verification
from moderation.audit.models import AuditEntry, AuditPrivate
from moderation.ingestion import deliveries
from moderation.ingestion.models import WebhookDelivery
from moderation.outbox.sender import send_due
from moderation.privacy import erasure
from moderation.search import index, query
from moderation.search.models import SearchProgress
from recall import services
from recall.models import Evidence, Recall
from recall.services import NotPossible
from tests.privacy.erased import AT, CANARY, OTHERS, content, erase, everything, is_anywhere, message_data

pytestmark = pytest.mark.django_db


def raw(*messages: dict[str, Any]) -> list[str]:
    return [json.dumps(message, ensure_ascii=False) for message in messages]


def test_the_text_is_nowhere_any_more(
    application: Application, recalled: Recall, client: Client, administrator: Any
) -> None:
    hashes = set(Message.objects.filter(sender_id="user-a").values_list("sha256", flat=True))
    hashes |= set(Evidence.objects.values_list("salt", flat=True)) | set(
        Message.objects.filter(sender_id="user-a").values_list("payload_sha256", flat=True)
    )
    client.force_login(administrator)
    client.get(reverse("sender", args=["default"]), {"id": "user-a"})
    assert is_anywhere()
    assert erase(application, with_notes=True) == {
        "messages": 2,
        "evidence": 2,
        "deliveries": 1,
        "searches": 1,
        "notes": 1,
    }
    assert not is_anywhere()
    assert not any(known in everything() for known in hashes)
    kept = Message.objects.filter(sender_id="user-a").order_by("timestamp")
    assert [(each.timestamp, each.message_id, each.type) for each in kept] == [
        (AT, "m-0", "text"),
        (AT + 1, "m-1", "text"),
    ]
    assert OTHERS in Message.objects.get(sender_id="user-b").raw
    assert [len(each.commitment) for each in Evidence.objects.all()] == [64, 64]


def test_the_log_is_whole_and_tells_when_why_and_by_whom(
    application: Application, recalled: Recall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = verification.verify_log([])
    head = before["head"]
    erase(application, with_notes=True)
    assert verification.verify_log([])["problem"] is None
    call_command("export_audit", "--output", str(tmp_path / "e"), stderr=io.StringIO())
    monkeypatch.setattr("sys.argv", ["verifier.py", str(tmp_path / "e")])
    assert verifier.main() == 0
    entries = [json.loads(line) for line in (tmp_path / "e").read_text().splitlines()]
    assert entries[before["entries"] - 1]["hash"] == head
    (entry,) = (each for each in entries if each["action"] == "text.erased")
    assert (entry["actor"], entry["app"], entry["private"]) == ("ada", "default", None)
    assert entry["detail"] == {
        "sender": "user-a",
        "reason": "GDPR 17, request 7",
        **{"messages": 2, "evidence": 2, "deliveries": 1, "searches": 0, "notes": 1},
        "entries": [each["seq"] for each in entries if each["action"] == "recall.requested"],
    }


def test_moderators_notes_stay_unless_their_erasure_is_requested(application: Application, recalled: Recall) -> None:
    erase(application)
    recalled.refresh_from_db()
    assert CANARY in recalled.note
    assert AuditEntry.objects.get(action="text.erased").detail["notes"] == 0
    assert CANARY in json.loads(AuditPrivate.objects.get(entry__recall=recalled.pk).content)["note"]
    # And may go later.
    erase(application, with_notes=True)
    recalled.refresh_from_db()
    assert (recalled.note, AuditPrivate.objects.get(entry__recall=recalled.pk).content) == ("", "")


def test_erased_text_does_not_come_back_by_history_or_webhook(
    application: Application, private: Conversation, recalled: Recall
) -> None:
    erase(application, with_notes=True)
    again = [message_data(0), message_data(1, recalled=True), message_data(3, OTHERS)]
    assert ingest(private, raw(*again)).added == 1
    deliveries.accept(application, content(message_data(0), message_data(4, OTHERS)))
    # Another form of the same, and one that the worker reads.
    WebhookDelivery.objects.create(
        application=application,
        content=content(message_data(1)),
        sha256="x",
        received_at=private.application_id and _now(),
        state="waiting",
        retry_at=_now(),
    )
    assert deliveries.process_due() == 1
    assert not is_anywhere()
    assert not WebhookDelivery.objects.exists()
    assert Message.objects.get(message_id="m-1").recalled
    assert Message.objects.filter(message_id="m-4").exists()
    SearchProgress.objects.update(done=0)
    index.add_older()
    assert not is_anywhere()


def _now() -> Any:
    from django.utils import timezone

    return timezone.now()


def test_a_message_without_an_id_does_not_come_back_either(application: Application, private: Conversation) -> None:
    texts = raw(
        message_data(0, messageId=""),
        message_data(0, "another", messageId=""),
        message_data(1, messageId="", senderId="user-b"),
    )
    ingest(private, texts)
    erase(application)
    assert Message.objects.filter(sha256="").count() == 2
    assert ingest(private, texts[:2]).added == 0
    assert "another" not in everything()
    deliveries.accept(application, content(message_data(0, messageId="")))
    assert Message.objects.count() == 3
    assert not WebhookDelivery.objects.exists()


def test_the_erasure_record_outlives_the_retention_of_messages(
    application: Application, private: Conversation, recalled: Recall
) -> None:
    erase(application, with_notes=True)
    retention.delete_older(private.pk, AT + 10)
    assert list(Message.objects.values_list("message_id", flat=True).order_by("pk")) == ["m-0", "m-1"]
    ingest(private, raw(message_data(0)))
    assert not is_anywhere()


def test_erased_text_matches_no_search(application: Application, recalled: Recall) -> None:
    assert len(query.search(query.Wanted(text="小明的秘密")).keys) == 2
    erase(application)
    for text in ("小明的秘密", "c4n4ry", "erased"):
        assert not query.search(query.Wanted(text=text)).keys


def test_only_given_messages_of_this_application_and_sender_go(
    application: Application, private: Conversation, recalled: Recall, make_message: Callable[..., Message]
) -> None:
    from moderation.goeasy.client import Group

    second = Application.objects.create(slug="second", name="Second")
    make_message(Conversation.objects.open(second, Group("g")), AT, payload={"text": "kept there"})
    assert erase(application, AT) == {"messages": 1, "evidence": 1, "deliveries": 1, "searches": 0, "notes": 0}
    assert Message.objects.filter(sha256="").count() == 1
    assert AuditEntry.objects.get(action="text.erased").timestamps == [AT]


def test_much_is_erased_in_portions_each_recorded_by_itself(
    application: Application, private: Conversation, recalled: Recall, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3, 7):
        deliveries.accept(application, content(message_data(number)))
    monkeypatch.setattr(erasure, "MAX_AT_ONCE", 2)
    whole = {"messages": 6, "evidence": 2, "deliveries": 5, "searches": 0, "notes": 1}
    assert erase(application, with_notes=True) == whole
    assert not is_anywhere()
    entries = [entry.detail for entry in AuditEntry.objects.filter(action="text.erased").order_by("pk")]
    assert [entry["messages"] for entry in entries] == [2, 2, 2]
    assert {name: sum(entry[name] for entry in entries) for name in whole} == whole


def test_searches_for_somebody_else_stay(application: Application, client: Client, administrator: Any) -> None:
    client.force_login(administrator)
    for sender in ("user-a", "user-ab"):
        client.get(reverse("conversations"), {"sender": [sender, "x"]})
        client.get("/admin/archive/message/", {"sender": sender})
    erase(application)
    kept = [
        json.loads(text)["asked"] for text in AuditPrivate.objects.exclude(salt="").values_list("content", flat=True)
    ]
    assert kept == [{"sender": "user-ab, x"}, {"sender": ["user-ab"]}]


def test_a_hold_refuses_and_nothing_is_erased(
    application: Application, private: Conversation, recalled: Recall
) -> None:
    retention.hold(private, "lea", "court order 7")
    with pytest.raises(NotPossible, match="user-a ↔ user-b"):
        erase(application)
    assert is_anywhere()
    # The evidence is of the conversation on hold, even where the archive has the message no more.
    Message.objects.all().delete()
    with pytest.raises(NotPossible, match="On hold"):
        erase(application)
    retention.release(private, "lea", "case closed")
    assert erase(application)["evidence"] == 2


def test_deliveries_that_wait_for_the_worker_are_waited_for(application: Application, private: Conversation) -> None:
    WebhookDelivery.objects.create(
        application=application,
        content=content(message_data()),
        sha256="x",
        received_at=_now(),
        state="waiting",
        retry_at=_now(),
    )
    with pytest.raises(NotPossible, match="wait for the worker"):
        erase(application)
    deliveries.process_due()
    erase(application)
    assert not is_anywhere()


def test_erased_messages_are_not_erased_again(application: Application, recalled: Recall) -> None:
    erase(application)
    with pytest.raises(NotPossible, match="nothing to erase"):
        erase(application)
    assert AuditEntry.objects.filter(action="text.erased").count() == 1


def test_nothing_is_erased_when_it_cannot_be_recorded(
    application: Application, recalled: Recall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "record", lambda _event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        erase(application)
    assert Message.objects.exclude(sha256="").count() == 3


@pytest.mark.django_db(transaction=True)
def test_only_one_of_two_concurrent_erasures_erases(application: Application, recalled: Recall) -> None:
    came: list[str] = []
    both = threading.Barrier(2)

    def run() -> None:
        both.wait()
        try:
            came.append(str(erase(application)["messages"]))
        except NotPossible as refusal:
            came.append(str(refusal))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["2", "There is nothing to erase."]
    assert AuditEntry.objects.filter(action="text.erased").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_recall_that_is_learned_meanwhile_brings_no_text_back(
    application: Application, private: Conversation, recalled: Recall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is erased between the read and the write of an ingestion."""
    from moderation.archive import ingest as module

    save = module._save

    def late(row: Message, names: tuple[str, ...]) -> bool:
        Message.objects.filter(pk=row.pk).update(raw="", recalled_raw="", sha256="")
        return save(row, names)

    monkeypatch.setattr(module, "_save", late)
    assert ingest(private, raw(message_data(0, recalled=True))).recalled == 0
    assert Message.objects.get(message_id="m-0").recalled_raw == ""


@pytest.mark.django_db(transaction=True)
def test_a_recall_of_erased_text_is_sent_and_says_that_there_is_no_evidence(
    connected: Application, private: Conversation, recalled: Recall, moderator: Any, reason: Any
) -> None:
    erase(connected)
    send_due(recalled.application)
    later = services.request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note="",
        timestamps=[AT],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )
    send_due(later.application)
    first, second = AuditEntry.objects.filter(action="recall.sending").order_by("pk")
    assert [set(each) for each in first.detail["evidence"]] == [{"timestamp", "message_id", "commitment"}] * 2
    assert second.detail["evidence"] == []
