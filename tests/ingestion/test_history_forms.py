"""History in the forms of real hosts: other fields, other page sizes, and unreadable messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from moderation.archive.ingest import ingest
from moderation.archive.messages import read
from moderation.archive.messages.attachment import Attachment
from moderation.archive.messages.shown import Words
from moderation.archive.models import Conversation, Message, Sender
from moderation.ingestion import unreadable
from moderation.ingestion.backfill import fill, look_up, read_before, read_latest, survey
from moderation.ingestion.deliveries import accept
from moderation.ingestion.models import UnreadableMessage, WebhookDelivery

pytestmark = pytest.mark.django_db

CASES = Path(__file__).parent.parent / "cases"
FIRST = 1_700_000_000_000
GROUP = {"kind": "group", "group_id": "group-1"}
Change = Callable[[list[dict[str, Any]]], list[Any]]


def case(name: str) -> Any:
    return json.loads((CASES / f"{name}.json").read_text())


def elements(name: str) -> list[str]:
    """The messages of the case, as JSON texts."""
    return [json.dumps(each, ensure_ascii=False) for each in case(name)["content"]]


@pytest.fixture
def goeasy(sandbox: Any, connected: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that puts messages at these times (ms) into the group's history, in the form that `change` returns."""

    def put(*times: int, change: Change) -> None:
        sandbox.add_messages(
            GROUP,
            [{"timestamp": time, "senderId": "u", "type": "text", "payload": {"text": str(time)}} for time in times],
        )
        original = sandbox.history

        def changed(query: dict[str, str]) -> tuple[int, object]:
            code, content = original(query)
            return code, change(content)

        monkeypatch.setattr(sandbox, "history", changed)

    return put


def abbreviated(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the SDK has it on the wire."""
    names = {"senderId": "s", "messageId": "i", "timestamp": "ts", "type": "mt", "payload": "p"}
    return {names[name]: value for name, value in message.items() if name in names}


def archived(conversation: Conversation) -> list[int]:
    return list(
        Message.objects.filter(conversation=conversation).order_by("timestamp").values_list("timestamp", flat=True)
    )


# Fields in other forms, from history and from the webhook


def test_a_timestamp_of_digits_is_read(group: Conversation) -> None:
    assert ingest(group, elements("h_string_timestamp")).unreadable == ()
    assert archived(group) == [1795718732695]


def test_a_sender_that_is_a_whole_number_is_known_by_its_digits(group: Conversation) -> None:
    ingest(group, elements("h_numeric_sender"))
    assert Message.objects.get().sender_id == "10086"


def test_a_delivery_with_whole_numbers_for_ids_finds_its_conversation(application: Any) -> None:
    accept(application, json.dumps(case("w_numeric_ids")).encode())
    assert WebhookDelivery.objects.get().state == "done"
    message = Message.objects.select_related("conversation").get()
    assert (message.sender_id, message.conversation.ids) == ("10086", "10010 ↔ 10086")


def test_a_group_and_a_message_may_have_whole_numbers_for_ids(application: Any) -> None:
    accept(application, b'{"timestamp":1795718732695,"messageId":77,"senderId":10086,"groupId":7654321}')
    message = Message.objects.select_related("conversation").get()
    assert (message.message_id, message.conversation.group_id) == ("77", "7654321")


def test_webhook_and_history_read_the_same_message_as_one(application: Any) -> None:
    message = {"type": "text", "messageId": "m", "senderId": 10086, "groupId": 7654321, "payload": {"text": "x"}}
    accept(application, json.dumps({**message, "timestamp": "1795718732695"}).encode())
    conversation = Conversation.objects.get()
    assert ingest(conversation, [json.dumps({**message, "timestamp": 1795718732695})]).added == 0
    assert Message.objects.count() == 1


@pytest.mark.parametrize("form", case("h_recalled_forms"), ids=str)
def test_a_recall_is_learned_in_whatever_form_it_is_marked(group: Conversation, form: dict[str, Any]) -> None:
    said = {"type": "text", "messageId": "m", "timestamp": FIRST, "senderId": "u-a", "payload": {"text": "x"}}
    ingest(group, [json.dumps(said)])
    assert ingest(group, [json.dumps({**said, **form})]).recalled == 1
    message = Message.objects.get()
    assert (message.recalled, message.recaller) == (True, {"id": "u-a"})


def test_names_are_learned_from_json_text(application: Any) -> None:
    message = {
        "timestamp": FIRST,
        "senderId": "u-a",
        "senderData": '{"name": "小雨", "avatar": "/a.png"}',
        "to": json.dumps({"type": "group", "id": "g", "data": '{"name": "读书会"}'}),
    }
    accept(application, json.dumps(message).encode())
    assert (Sender.objects.get().name, Sender.objects.get().avatar) == ("小雨", "/a.png")
    assert (Conversation.objects.get().group_id, Conversation.objects.get().name) == ("g", "读书会")


def test_a_message_recalled_before_it_was_read_shows_unknown_text(group: Conversation) -> None:
    ingest(group, elements("h_recalled_stripped"))
    message = Message.objects.get()
    shown = read(message.raw)
    assert isinstance(shown, Words)
    assert (shown.form, message.recaller["data"]) == ("unknown", {"name": "小雨"})
    assert shown.text.startswith("Text not known")
    assert shown.searchable == "", "nobody finds it by words of ours"


@pytest.mark.parametrize("is_recalled", [True, False])
def test_a_message_text_is_learned_after_a_mark_without_it(group: Conversation, is_recalled: bool) -> None:
    (mark,) = elements("h_recalled_stripped")
    said = json.dumps({**json.loads(mark), "payload": {"text": "原文"}, "recalled": is_recalled, "recaller": None})
    ingest(group, [mark])
    ingest(group, [said])
    ingest(group, [mark])
    message = Message.objects.get()
    assert (message.recalled, message.raw, message.recalled_raw) == (True, said, mark)


def test_every_type_of_a_group_is_shown_for_people(group: Conversation) -> None:
    ingest(group, elements("c01_group_all_types"))
    shown = [read(message.raw) for message in Message.objects.order_by("timestamp")]
    image, audio, video, file = (each for each in shown[1:5] if isinstance(each, Attachment))
    assert (audio.size, audio.duration) == (15220, 2.46)
    assert (video.size, video.duration) == (1048576, 9.98)
    assert file.href == "https://h3-media.oss-cn-hangzhou.aliyuncs.com/goeasy-im/报价单%202026.xlsx"
    assert file.host == image.host
    order, quote, packet = (each for each in shown[5:8] if isinstance(each, Words))
    assert [each.text for each in (order, quote, packet)] == ["夏季 T 恤", "同意楼上", "恭喜发财"]
    assert order.whole
    assert "D-9917" in order.whole.text


# The end of history


@pytest.mark.parametrize("cap", [29, 20, 10, 1])
def test_a_host_that_caps_its_pages_is_read_to_the_end(
    goeasy: Callable[..., None], group: Conversation, cap: int
) -> None:
    goeasy(*range(FIRST, FIRST + 75), change=lambda messages: messages[:cap])
    filled = fill(group, since=0, max_calls=500)
    assert (filled.whole, filled.reached_start, len(archived(group))) == (True, True, 75)


def test_a_host_that_leaves_out_recalled_messages_is_read_to_the_end(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    # h_short_page.json: 75 messages; of the newest 30 one is recalled, so that 29 come.
    goeasy(
        *range(FIRST, FIRST + 75),
        change=lambda messages: [each for each in messages if each["timestamp"] != FIRST + 60],
    )
    reading = read_latest(group, pages=1)
    assert (len(archived(group)) > 29, reading.reached_start) == (True, False)
    read_before(group, archived(group)[0] + 1, pages=5)
    assert len(archived(group)) == 74


@pytest.mark.parametrize("cap", [30, 20])
def test_reading_stops_when_a_host_repeats_its_newest_page_for_ever(
    goeasy: Callable[..., None], sandbox: Any, group: Conversation, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    goeasy(*range(FIRST, FIRST + 75), change=lambda messages: messages)
    newest = sandbox.messages(GROUP)[:cap]
    monkeypatch.setattr(sandbox, "history", lambda _query: (200, newest))
    filled = fill(group, since=0, max_calls=500)
    assert (filled.calls <= 3, filled.crowded, len(archived(group))) == (True, [], cap)


# Unreadable messages


def test_unreadable_messages_are_kept_once_as_they_came_and_counted(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(*range(FIRST, FIRST + 12), change=lambda messages: [abbreviated(each) for each in messages])
    reading = read_latest(group)
    assert (reading.reached_start, reading.is_blocked, len(reading.unreadable)) == (False, True, 12)
    read_latest(group)
    assert (unreadable.count(group), Message.objects.count()) == (12, 0)
    kept = UnreadableMessage.objects.order_by("pk").first()
    assert kept
    assert json.loads(kept.raw)["ts"] == FIRST + 11


def test_readable_messages_between_unreadable_ones_are_read_and_lead_on(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(
        *range(FIRST, FIRST + 100),
        change=lambda messages: [abbreviated(each) if each["timestamp"] % 3 == 0 else each for each in messages],
    )
    filled = fill(group, since=0, max_calls=50)
    assert (filled.whole, len(archived(group)), len(filled.unreadable)) == (True, 67, 33)
    assert unreadable.count(group) == 33


def test_messages_that_a_later_version_reads_are_no_longer_counted(
    goeasy: Callable[..., None], group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    goeasy(*range(FIRST, FIRST + 5), change=lambda messages: messages)
    with monkeypatch.context() as earlier:
        earlier.setattr("moderation.ingestion.history_pages.read_message", lambda *_element: None)
        read_latest(group)
    assert unreadable.count(group) == 5
    read_latest(group)
    assert (unreadable.count(group), len(archived(group))) == (0, 5)


def test_kept_unreadable_messages_are_bounded(group: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreadable, "MAX_KEPT", 3)
    unreadable.keep(group, ["x" * 100_000, "\x00", "a"])
    unreadable.keep(group, ["b"])
    assert unreadable.count(group) == 3
    longest = UnreadableMessage.objects.order_by("-length")[0]
    assert (len(longest.raw), longest.length) == (16_384, 100_000)
    with pytest.raises(IntegrityError), transaction.atomic():
        UnreadableMessage.objects.create(conversation=group, raw="x" * 16_385, sha256="s", length=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        UnreadableMessage.objects.create(conversation=group, raw="x", sha256=longest.sha256, length=1)


def test_absence_is_not_claimed_where_something_could_not_be_read(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(
        *range(FIRST, FIRST + 100),
        change=lambda messages: [abbreviated(each) if each["timestamp"] == FIRST + 60 else each for each in messages],
    )
    wanted = [FIRST + 60, FIRST + 62, FIRST + 200, FIRST + 5]
    visibility = survey(group, wanted, pages=20).visibility
    assert {at - FIRST: sight.value for at, sight in visibility.items()} == {
        60: "beyond",
        62: "present",
        200: "absent",
        5: "present",
    }


def test_older_messages_are_still_looked_for_beyond_a_page_that_cannot_be_read(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(
        *range(FIRST, FIRST + 100),
        change=lambda messages: [abbreviated(each) if each["timestamp"] >= FIRST + 50 else each for each in messages],
    )
    visibility = survey(group, [FIRST + 80, FIRST + 90, FIRST + 10], pages=20).visibility
    assert [visibility[FIRST + each].value for each in (90, 80, 10)] == ["beyond", "beyond", "present"]


def test_a_mark_that_nobody_knows_proves_neither_gone_nor_visible(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(
        *range(FIRST, FIRST + 10),
        change=lambda messages: [
            {**each, "recalled": "perhaps"} if each["timestamp"] == FIRST + 5 else each for each in messages
        ],
    )
    assert survey(group, [FIRST + 5], pages=20).visibility[FIRST + 5].value == "beyond"


@pytest.mark.parametrize("cap", [30, 20, 2])
@pytest.mark.parametrize("offset", [0, 1, 30, 74])
def test_a_recall_is_seen_wherever_it_lies_and_whatever_the_host_makes_of_the_limit(
    goeasy: Callable[..., None], sandbox: Any, group: Conversation, cap: int, offset: int
) -> None:
    goeasy(*range(FIRST, FIRST + 75), change=lambda messages: messages[:cap])
    sandbox.store.recall(GROUP, [FIRST + offset], {"id": "s"})
    assert survey(group, [FIRST + offset], pages=5).visibility[FIRST + offset].value == "recalled"


def test_the_oldest_message_is_not_called_absent(goeasy: Callable[..., None], group: Conversation) -> None:
    goeasy(FIRST, FIRST + 1, change=lambda messages: [each for each in messages if each["timestamp"] != FIRST])
    assert survey(group, [FIRST], pages=9).visibility[FIRST].value == "beyond"


def test_a_recall_is_not_claimed_of_a_millisecond_that_a_page_may_have_cut(
    goeasy: Callable[..., None], sandbox: Any, group: Conversation
) -> None:
    goeasy(FIRST, *[FIRST + 5] * 25, FIRST + 9, change=lambda messages: messages[:20])
    sandbox.store.recall(GROUP, [FIRST + 5], {"id": "s"})
    assert survey(group, [FIRST + 5], pages=9).visibility[FIRST + 5].value == "beyond"


# Looking up evidence


def test_a_timestamp_that_may_be_among_the_unreadable_is_not_called_missing(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(*range(FIRST, FIRST + 5), change=lambda messages: [abbreviated(each) for each in messages])
    assert look_up(group, [FIRST + 2]).problem == "unreadable"


def test_a_timestamp_that_was_not_looked_up_is_not_called_missing(
    goeasy: Callable[..., None], group: Conversation
) -> None:
    goeasy(*range(FIRST, FIRST + 100_000, 1_000), change=lambda messages: messages)
    wanted = range(FIRST + 500, FIRST + 100_000, 33_000)
    assert look_up(group, wanted, max_calls=1).problem == "too_many"
    assert look_up(group, wanted, max_calls=10).problem == ""
