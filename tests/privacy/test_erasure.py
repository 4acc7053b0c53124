"""Erasing what somebody wrote: the text is nowhere any more, does not come back, and the log is as whole as before."""

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
from moderation.audit.ledger.chain import Sealer
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
from tests.recall.reviewing import press

pytestmark = pytest.mark.django_db

AT = 1_700_000_000_000
CANARY, OTHERS = "小明的秘密 c4n4ry-7d21", "somebody-else-5e77"


def told(number: int = 0, text: str = CANARY, **fields: Any) -> dict[str, Any]:
    return {
        "type": "text",
        "messageId": f"m-{number}",
        "timestamp": AT + number,
        "senderId": "user-a",
        "receiverId": "user-b",
        "payload": {"text": f"{text} {number}"},
        **fields,
    }


def raw(*messages: dict[str, Any]) -> list[str]:
    return [json.dumps(message, ensure_ascii=False) for message in messages]


def content(*messages: dict[str, Any]) -> bytes:
    return json.dumps(messages, ensure_ascii=False).encode()


def everything() -> str:
    """Every row of every table, as text."""
    found = []
    with connection.cursor() as cursor:
        # What SQLite's index keeps lies in tables of its own.
        for table in set(connection.introspection.table_names(cursor)) - {"search_searchgrams", "search_sendergrams"}:
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                found += [
                    bytes(v).decode("utf-8", "replace") if isinstance(v, bytes | memoryview) else str(v) for v in row
                ]
    return "\n".join(found)


def is_anywhere() -> bool:
    """Whether the text, or a hash that could be guessed from, is in the database."""
    dump = everything()
    escaped = json.dumps(CANARY)[1:-1]
    return CANARY in dump or escaped in dump or CANARY.split()[1] in dump


@pytest.fixture
def recalled(private: Conversation, moderator: Any, reason: Any) -> Recall:
    """A recall of two messages that the webhook had brought, with what somebody else wrote, asked for with a note."""
    deliveries.accept(
        private.application, content(told(0), told(1), told(2, OTHERS, senderId="user-b", receiverId="user-a"))
    )
    return services.request_recall(
        conversation=private,
        actor=moderator,
        reason=reason,
        note=f"he wrote {CANARY}",
        timestamps=[AT, AT + 1],
        recaller=None,
        submission=uuid.uuid4(),
        grace_seconds=0,
    )


def erase(application: Application, *timestamps: int, with_notes: bool = False) -> dict[str, int]:
    asked = erasure.ErasureRequest(application, "user-a", timestamps)
    return erasure.erase(asked, actor="ada", reason="GDPR 17, request 7", with_notes=with_notes)


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


def test_what_moderators_noted_stays_unless_it_is_asked_for(application: Application, recalled: Recall) -> None:
    erase(application)
    recalled.refresh_from_db()
    assert CANARY in recalled.note
    assert AuditEntry.objects.get(action="text.erased").detail["notes"] == 0
    assert CANARY in json.loads(AuditPrivate.objects.get(entry__recall=recalled.pk).content)["note"]
    # And may go later.
    erase(application, with_notes=True)
    recalled.refresh_from_db()
    assert (recalled.note, AuditPrivate.objects.get(entry__recall=recalled.pk).content) == ("", "")


def test_it_does_not_come_back_by_history_or_webhook(
    application: Application, private: Conversation, recalled: Recall
) -> None:
    erase(application, with_notes=True)
    again = [told(0), told(1, recalled=True), told(3, OTHERS)]
    assert ingest(private, raw(*again)).added == 1
    deliveries.accept(application, content(told(0), told(4, OTHERS)))
    # Another form of the same, and one that the worker reads.
    WebhookDelivery.objects.create(
        application=application, content=content(told(1)), sha256="x", received_at=private.application_id and _now(),
        state="waiting", retry_at=_now(),
    )  # fmt: skip
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
    texts = raw(told(0, messageId=""), told(0, "another", messageId=""), told(1, messageId="", senderId="user-b"))
    ingest(private, texts)
    erase(application)
    assert Message.objects.filter(sha256="").count() == 2
    assert ingest(private, texts[:2]).added == 0
    assert "another" not in everything()
    deliveries.accept(application, content(told(0, messageId="")))
    assert Message.objects.count() == 3
    assert not WebhookDelivery.objects.exists()


def test_what_is_left_of_it_outlives_the_days_that_messages_are_kept(
    application: Application, private: Conversation, recalled: Recall
) -> None:
    erase(application, with_notes=True)
    retention.delete_older(private.pk, AT + 10)
    assert list(Message.objects.values_list("message_id", flat=True).order_by("pk")) == ["m-0", "m-1"]
    ingest(private, raw(told(0)))
    assert not is_anywhere()


def test_it_is_found_by_no_search(application: Application, recalled: Recall) -> None:
    assert len(query.find(query.Wanted(text="小明的秘密")).keys) == 2
    erase(application)
    for text in ("小明的秘密", "c4n4ry", "erased"):
        assert not query.find(query.Wanted(text=text)).keys


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
        deliveries.accept(application, content(told(number)))
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
        content=content(told()),
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


def test_what_is_erased_already_is_not_erased_again(application: Application, recalled: Recall) -> None:
    erase(application)
    with pytest.raises(NotPossible, match="nothing to erase"):
        erase(application)
    assert AuditEntry.objects.filter(action="text.erased").count() == 1


def test_what_cannot_be_recorded_is_not_erased(
    application: Application, recalled: Recall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "record", lambda _event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        erase(application)
    assert Message.objects.exclude(sha256="").count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_erases(application: Application, recalled: Recall) -> None:
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
    """Ingesting has read the row, the text is erased, and then ingesting writes."""
    from moderation.archive import ingest as module

    save = module._save

    def late(row: Message, names: tuple[str, ...]) -> bool:
        Message.objects.filter(pk=row.pk).update(raw="", recalled_raw="", sha256="")
        return save(row, names)

    monkeypatch.setattr(module, "_save", late)
    assert ingest(private, raw(told(0, recalled=True))).recalled == 0
    assert Message.objects.get(message_id="m-0").recalled_raw == ""


@pytest.mark.django_db(transaction=True)
def test_a_recall_of_erased_text_is_sent_and_says_that_there_is_no_evidence(
    connected: Application, private: Conversation, recalled: Recall, moderator: Any, reason: Any
) -> None:
    erase(connected)
    send_due(recalled.application)
    later = services.request_recall(
        conversation=private, actor=moderator, reason=reason, note="", timestamps=[AT], recaller=None,
        submission=uuid.uuid4(), grace_seconds=0,
    )  # fmt: skip
    send_due(later.application)
    first, second = AuditEntry.objects.filter(action="recall.sending").order_by("pk")
    assert [set(each) for each in first.detail["evidence"]] == [{"timestamp", "message_id", "commitment"}] * 2
    assert second.detail["evidence"] == []


# The page and the command


@pytest.fixture
def admin(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


ADDRESS = "/senders/default/erase/?id=user-a"
ANSWER = {"reason": "request 7", "typed": "user-a"}


def test_the_page_counts_and_erases_once_the_id_is_typed(admin: Client, recalled: Recall) -> None:
    assert ADDRESS in admin.get("/senders/default/?id=user-a").content.decode()
    page = admin.get(ADDRESS).content.decode()
    assert page.count("<dd>2") == 2
    for wrong in ({"typed": "user-b"}, {"typed": ""}, {"reason": " "}, {"reason": "x" * 201}):
        assert "Nothing was erased." in admin.post(ADDRESS, {**ANSWER, **wrong}).content.decode()
    assert Message.objects.filter(sha256="").count() == 0
    answer = press(admin, ADDRESS, ADDRESS, **ANSWER)
    assert "The text was erased." in answer.content.decode()
    assert Message.objects.filter(sha256="").count() == 2
    assert AuditEntry.objects.get(action="text.erased").detail["reason"] == "request 7"
    # The sender's page, which follows, is a search for the sender.
    assert "There is nothing to erase." not in admin.get(ADDRESS).content.decode()


def test_every_page_says_that_the_text_was_erased(admin: Client, private: Conversation, recalled: Recall) -> None:
    erase(private.application, with_notes=True)
    message = Message.objects.get(message_id="m-0")
    for address in (
        private.get_absolute_url(),
        recalled.get_absolute_url(),
        "/senders/default/?id=user-a",
        reverse("admin:archive_message_change", args=[message.pk]),
        f"/open/?q={AT}",
    ):
        page = admin.get(address, follow=True).content.decode()
        assert "Text erased on request" in page, address
        assert CANARY not in page


def test_the_page_says_that_a_hold_stands_against_it(admin: Client, private: Conversation, recalled: Recall) -> None:
    retention.hold(private, "lea", "court order 7")
    page = admin.get(ADDRESS).content.decode()
    assert "On hold, so that nothing is erased: user-a ↔ user-b." in page
    assert "Erase for good" not in page
    assert "On hold" in admin.post(ADDRESS, ANSWER).content.decode()
    assert Message.objects.filter(sha256="").count() == 0


@pytest.mark.parametrize("role", ["moderator", "lead", "auditor"])
def test_only_an_administrator_may(
    client: Client, make_user: Callable[..., Any], recalled: Recall, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.force_login(make_user("somebody", role))
    assert client.post(ADDRESS, ANSWER).status_code == 403
    assert "erase/" not in client.get("/senders/default/?id=user-a").content.decode()
    with pytest.raises(SystemExit) as end:
        call_command("erase_text", "--sender", "user-a", "--actor", "somebody", "--reason", "x")
    assert end.value.code == 2
    assert Message.objects.filter(sha256="").count() == 0


def test_the_command_counts_and_then_erases(
    administrator: Any, private: Conversation, recalled: Recall, capsys: pytest.CaptureFixture[str]
) -> None:
    Sealer().seal()
    options = ["--sender", "user-a", "--actor", "ada", "--reason", "request 7", "--json"]

    def run(*more: str) -> dict[str, Any]:
        call_command("erase_text", *options, *more, stdout=(out := io.StringIO()))
        document: dict[str, Any] = json.loads(out.getvalue())
        return document

    counts = {"messages": 2, "evidence": 2, "deliveries": 1, "searches": 0}
    assert run("--dry-run") == {"erased": False, **counts, "notes": 0}
    assert is_anywhere()
    assert run("--with-notes") == {"erased": True, **counts, "notes": 1}
    assert not is_anywhere()
    for wrong, status in (
        ([], 1),
        (["--app", "none"], 2),
        (["--actor", "mo"], 2),
        (["--reason", " "], 2),
        (["1795000000000", "9" * 23], 2),
        (["--", "-1"], 2),
    ):
        with pytest.raises(SystemExit) as end:
            run(*wrong)
        assert end.value.code == status
        if "9" * 23 in wrong:
            assert f"“{'9' * 23}” is no timestamp" in capsys.readouterr().err
