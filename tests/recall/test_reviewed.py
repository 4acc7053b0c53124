"""A decision is carried out only on what was shown; otherwise the page is shown again with what changed."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from moderation import reviewed
from moderation.accounts.models import Pseudonym
from moderation.applications.models import Application
from moderation.archive import retention
from moderation.archive.models import Conversation, Message, Sender
from moderation.audit.models import AuditEntry
from moderation.goeasy.client import Group
from moderation.reviewed import Changed, Seen
from recall import decisions, reviews, services
from recall.forms import RecallForm
from recall.models import Recall, RecallItem, RecallReason, Sweep

from .reviewing import confirm, hidden_fields, press, review

FIRST = 1_700_000_000_000
NEW, SWEEP = "/recalls/new/", "/sweeps/new/"


@pytest.fixture
def signed_in(client: Client, moderator: Any, private: Any, reason: Any) -> Client:
    client.force_login(moderator)
    return client


@pytest.fixture
def written(private: Conversation, make_message: Callable[..., Any]) -> list[Message]:
    """Three messages of one user, a millisecond apart."""
    return [make_message(private, FIRST + number) for number in range(3)]


def form(**fields: Any) -> dict[str, Any]:
    return {
        "app": "default",
        "kind": "private",
        "user_a": "user-a",
        "user_b": "user-b",
        "timestamps": " ".join(str(FIRST + number) for number in range(3)),
        "reason": "spam",
        "submission": str(uuid.uuid4()),
        **fields,
    }


def sweep_form(**fields: Any) -> dict[str, Any]:
    # Wide enough for every time zone.
    span = {"since": "2023-11-13T00:00:00", "until": "2023-11-16T00:00:00"}
    return {"app": "default", "sender": "user-a", **span, "reason": "spam", "submission": str(uuid.uuid4()), **fields}


def page_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


# Without a review nothing is carried out from the browser


def test_a_recall_that_nobody_reviewed_is_shown_instead_of_carried_out(
    signed_in: Client, written: list[Message]
) -> None:
    answer = signed_in.post(NEW, form(confirm="1"))
    assert answer.status_code == 200
    assert "Nothing was changed. Check the current state, then decide." in page_of(answer)
    assert not Recall.objects.exists()
    # That page is a review, and may be confirmed.
    assert (
        signed_in.post(NEW, {**hidden_fields(page_of(answer), 'class="stack confirm"'), "confirm": "1"}).status_code
        == 303
    )


def test_a_sweep_that_nobody_reviewed_is_shown_instead_of_carried_out(
    signed_in: Client, written: list[Message]
) -> None:
    answer = signed_in.post(SWEEP, sweep_form(confirm="1", typed_count="3"))
    assert answer.status_code == 200
    assert "Nothing was changed. Check the current state, then decide." in page_of(answer)
    assert not Sweep.objects.exists()


@pytest.mark.parametrize("address", [NEW, SWEEP])
@pytest.mark.parametrize("token", ["", "x", "{}:1u:x", "another person's", "another form's"])
def test_only_the_token_of_this_person_and_this_form_counts(
    signed_in: Client, written: list[Message], lead: Any, address: str, token: str
) -> None:
    data = form() if address == NEW else sweep_form()
    shown = review(signed_in, address, data)
    if token == "another person's":
        client = Client()
        client.force_login(lead)
        token = review(client, address, data)["shown"]
    elif token == "another form's":
        token = review(signed_in, address, {**data, "submission": str(uuid.uuid4())})["shown"]
    answer = signed_in.post(address, {**shown, "shown": token, "typed_count": "3"})
    assert answer.status_code == 200
    assert "Nothing was changed" in page_of(answer)
    assert not Recall.objects.exists()


REQUEST = "This is not what you reviewed."
RECALLER = "What app users are shown as the recaller has changed."
# For each field of a recall: what is posted on confirmation instead of what was reviewed, and what is said then.
POSTED_INSTEAD: dict[str, tuple[dict[str, str], str]] = {
    "app": ({"app": "other"}, REQUEST),
    "kind": ({"kind": "group", "user_a": "", "user_b": "", "group_id": "g1"}, REQUEST),
    "user_a": ({"user_a": "user-c"}, REQUEST),
    "user_b": ({"user_b": "user-c"}, REQUEST),
    "group_id": ({"kind": "group", "user_a": "", "user_b": "", "group_id": "g2"}, REQUEST),
    "timestamps": ({"timestamps": str(FIRST)}, REQUEST),
    "reason": ({"reason": "other"}, REQUEST),
    "note": ({"note": "another"}, REQUEST),
    "recaller_id": ({"recaller_id": "support-7"}, RECALLER),
    "recaller_data": ({"recaller_data": '{"name": "Support"}'}, RECALLER),
}
# These belong to the form and its confirmation, not to what is recalled.
NOT_REVIEWED = {"submission", "typed_count", "shown"}


def test_every_field_of_a_recall_is_tried_below_or_known_not_to_be_reviewed(lead: Any) -> None:
    untried = set(RecallForm(actor=lead).fields) - set(POSTED_INSTEAD) - NOT_REVIEWED
    assert not untried, f"Add {sorted(untried)} to POSTED_INSTEAD, and to the digest in recall/reviews.py (of_recall)."


@pytest.mark.parametrize("field", POSTED_INSTEAD)
def test_a_change_after_the_review_is_reviewed_first(
    client: Client, lead: Any, application: Any, reason: Any, written: list[Message], field: str
) -> None:
    client.force_login(lead)
    RecallReason.objects.get_or_create(code="other", defaults={"label_en": "Other", "label_zh": "其他"})
    Application.objects.create(slug="other", name="Other", rest_host_saved=application.rest_host_saved)
    change, sentence = POSTED_INSTEAD[field]
    answer = client.post(NEW, {**review(client, NEW, form()), **change})
    assert sentence in page_of(answer), f"The digest of a review lacks {field}: recall/reviews.py (of_recall)."
    assert not Recall.objects.exists()


def test_the_entry_of_a_recall_has_the_digest_of_the_review(signed_in: Client, written: list[Message]) -> None:
    confirm(signed_in, NEW, form())
    assert len(AuditEntry.objects.get(action="recall.requested").detail["reviewed"]) == 64


# Changes since the review


def other_recall(written: list[Message], actor: Any, reason: Any, **fields: Any) -> Recall:
    return services.request_recall(
        **{
            "conversation": written[0].conversation,
            "actor": actor,
            "reason": reason,
            "note": "",
            "timestamps": [FIRST, FIRST + 1],
            "recaller": None,
            "submission": uuid.uuid4(),
            "grace_seconds": 60,
            **fields,
        }
    )


CHANGES: dict[str, tuple[Callable[..., Any], str]] = {
    "another recall": (
        lambda written, lead, reason, **_: other_recall(written, lead, reason),
        "lea has requested a recall of 2 of these messages.",
    ),
    "recalled in the app": (
        lambda written, **_: Message.objects.filter(pk=written[0].pk).update(recalled=True),
        "1 more message is marked as recalled.",
    ),
    "one more in the millisecond": (
        lambda written, make_message, **_: make_message(written[0].conversation, FIRST, senderId="user-b"),
        "1 more message has the same millisecond as one of these: it would be recalled too.",
    ),
    "pruned": (lambda written, **_: written[0].delete(), "1 message fewer would be recalled."),
    "erased": (
        lambda written, **_: Message.objects.filter(pk=written[0].pk).update(sha256=""),
        "The text of some of these messages is not what you saw.",
    ),
    "renamed": (
        lambda written, application, **_: Sender.objects.update_or_create(
            application=application, user_id="user-a", defaults={"name": "Somebody else"}
        ),
        "A sender’s name has changed.",
    ),
    "reason reworded": (
        lambda reason, **_: RecallReason.objects.filter(pk=reason.pk).update(label_en="Praise"),
        "The reason’s wording has changed.",
    ),
    "reason withdrawn": (
        lambda reason, **_: RecallReason.objects.filter(pk=reason.pk).update(is_active=False),
        "There is no such reason, or it is no longer available.",
    ),
    "pseudonym": (
        lambda application, moderator, **_: Pseudonym.objects.create(
            application=application, user=moderator, recaller_id="care"
        ),
        "What app users are shown as the recaller has changed.",
    ),
}


@pytest.fixture
def things(
    written: list[Message],
    lead: Any,
    moderator: Any,
    reason: Any,
    make_message: Any,
    application: Any,
    monkeypatch: Any,
) -> dict[str, Any]:
    monkeypatch.setattr(services, "look_up", lambda *args, **kwargs: None)
    names = ("written", "lead", "moderator", "reason", "make_message", "application")
    return dict(zip(names, (written, lead, moderator, reason, make_message, application), strict=True))


@pytest.mark.parametrize("change", CHANGES)
def test_a_recall_that_changed_since_the_review_is_shown_again_with_what_changed(
    signed_in: Client, things: dict[str, Any], change: str
) -> None:
    act, sentence = CHANGES[change]
    shown = review(signed_in, NEW, form())
    act(**things)
    before = Recall.objects.count()
    answer = signed_in.post(NEW, shown)
    assert answer.status_code == 200
    assert sentence in page_of(answer)
    assert Recall.objects.count() == before
    if change != "reason withdrawn":
        again = hidden_fields(page_of(answer), 'class="stack confirm"')
        assert signed_in.post(NEW, {**again, "confirm": "1"}).status_code == 303


@pytest.mark.parametrize("change", ["renamed", "reason reworded", "pseudonym", "erased"])
def test_a_sweep_that_changed_since_the_review_is_shown_again_with_what_changed(
    signed_in: Client, things: dict[str, Any], change: str
) -> None:
    act, sentence = CHANGES[change]
    if change == "erased":
        sentence = "Some of the messages to recall are not those that you saw."
    shown = review(signed_in, SWEEP, sweep_form())
    act(**things)
    answer = signed_in.post(SWEEP, {**shown, "typed_count": "3"})
    assert answer.status_code == 200
    assert sentence in page_of(answer)
    assert not Sweep.objects.exists()
    again = hidden_fields(page_of(answer), 'class="stack confirm"')
    assert signed_in.post(SWEEP, {**again, "confirm": "1", "typed_count": "3"}).status_code == 303


def test_a_sweep_says_who_took_some_of_its_messages_meanwhile(signed_in: Client, things: dict[str, Any]) -> None:
    shown = review(signed_in, SWEEP, sweep_form())
    other_recall(things["written"], things["lead"], things["reason"])
    page = page_of(signed_in.post(SWEEP, {**shown, "typed_count": "3"}))
    assert "2 messages fewer would be recalled." in page
    assert "lea has requested a recall of 2 of these messages." in page
    assert not Sweep.objects.exists()


def test_a_reason_withdrawn_between_form_and_lock_is_reported(
    things: dict[str, Any], moderator: Any, reason: Any, private: Conversation
) -> None:
    fields: dict[str, Any] = {"timestamps": [FIRST], "reason": reason, "note": "", "recaller": None}
    shown = services.preview(conversation=private, timestamps=[FIRST], recaller=None)
    aspects = reviews.of_recall(
        conversation=private, known=shown.known, earlier=shown.earlier, is_overridden=False, **fields
    )
    RecallReason.objects.filter(pk=reason.pk).update(is_active=False)
    with pytest.raises(Changed, match="The reason is no longer available"):
        services.request_recall(
            conversation=private,
            actor=moderator,
            submission=uuid.uuid4(),
            grace_seconds=0,
            seen=Seen(timezone.now(), aspects),
            **fields,
        )


def test_the_review_shows_the_recalls_that_have_these_messages_already(
    signed_in: Client, things: dict[str, Any]
) -> None:
    recall = other_recall(things["written"], things["lead"], things["reason"])
    page = page_of(signed_in.post(NEW, form()))
    assert "Some of these messages are part of other recalls already." in page
    assert recall.get_absolute_url() in page
    assert "2 messages, by lea" in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", [NEW, SWEEP])
def test_of_two_who_confirm_the_same_messages_at_once_one_is_carried_out(
    things: dict[str, Any], moderator: Any, lead: Any, address: str
) -> None:
    clients, forms = [], []
    for person in (moderator, lead):
        client = Client()
        client.force_login(person)
        clients.append(client)
        forms.append({**review(client, address, form() if address == NEW else sweep_form()), "typed_count": "3"})
    start = threading.Barrier(2)
    answers: list[Any] = []

    def press_it(client: Client, data: dict[str, Any]) -> None:
        start.wait()
        try:
            answers.append(client.post(address, data))
        finally:
            connection.close()

    threads = [threading.Thread(target=press_it, args=each) for each in zip(clients, forms, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 303]
    assert RecallItem.objects.count() == 3
    (shown,) = (page_of(answer) for answer in answers if answer.status_code == 200)
    assert "of these messages." in shown or "part of other recalls already" in shown


# The other decisions


@pytest.fixture
def stopped(make_recall: Callable[..., Recall]) -> Recall:
    times = [FIRST + number for number in range(25)]
    return make_recall(times, "refused", "pending", state="stopped", stop_reason="unreachable")


def test_sending_again_is_refused_when_another_call_would_go(signed_in: Client, stopped: Recall) -> None:
    here, address = stopped.get_absolute_url(), reverse("recall-retry", args=[stopped.pk])
    old = hidden_fields(signed_in.get(here).content.decode(), f'action="{address}')
    stopped.batches.filter(index=0).update(settlement="gone", checks=1)
    answer = signed_in.post(address, old, follow=True)
    assert "This has changed since you looked. Nothing was done: look at it again." in page_of(answer)
    stopped.refresh_from_db()
    assert stopped.state == "stopped"
    assert "1 request is being sent again." in page_of(press(signed_in, here, address))


def test_cancelling_is_not_hindered_by_progress_but_by_another_sending(
    signed_in: Client, make_recall: Callable[..., Recall], lead: Any
) -> None:
    recall = make_recall([FIRST + number for number in range(25)], grace=60)
    here, address = recall.get_absolute_url(), reverse("recall-cancel", args=[recall.pk])
    old = hidden_fields(signed_in.get(here).content.decode(), f'action="{address}')
    Recall.objects.filter(pk=recall.pk).update(state="stopped", stop_reason="unreachable")
    recall.batches.filter(index=0).update(state="accepted")
    decisions.retry_recall(recall, lead)
    assert "This has changed since you looked." in page_of(signed_in.post(address, old, follow=True))
    new = hidden_fields(signed_in.get(here).content.decode(), f'action="{address}')
    recall.batches.filter(index=0).update(state="refused")
    assert "The recall of 5 messages was cancelled." in page_of(signed_in.post(address, new, follow=True))
    again = page_of(signed_in.post(address, new, follow=True))
    assert "It is cancelled already" in again


def test_a_decision_is_refused_when_history_shows_something_new(
    signed_in: Client, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST + number for number in range(25)], "unknown", "unknown", state="finished")
    recall.batches.update(checks=6)
    here, address = recall.get_absolute_url(), reverse("recall-settle", args=[recall.pk])
    old = hidden_fields(signed_in.get(here).content.decode(), f'action="{address}')
    recall.batches.filter(index=0).update(settlement="gone")
    answer = signed_in.post(address, {**old, "decision": "again", "note": "why"}, follow=True)
    assert "This has changed since you looked." in page_of(answer)
    assert not AuditEntry.objects.filter(action="recall.settled").exists()


def test_a_hold_that_somebody_else_changed_is_shown_first(client: Client, lead: Any, private: Conversation) -> None:
    client.force_login(lead)
    here, address = private.get_absolute_url(), reverse("conversation-hold", args=[private.pk])
    old = hidden_fields(client.get(here).content.decode(), f'action="{address}')
    retention.hold(private, "ada", "court order 7")
    answer = client.post(address, {**old, "note": "spam"}, follow=True)
    assert "ada has put this conversation on hold since you looked. Nothing was done." in page_of(answer)
    private.refresh_from_db()
    assert (private.held_by, private.hold_note) == ("ada", "court order 7")
    old = hidden_fields(client.get(here).content.decode(), f'action="{address}')
    retention.release(private, "ada", "closed")
    answer = client.post(address, {**old, "note": "spam"}, follow=True)
    assert "The hold has ended since you looked. Nothing was done." in page_of(answer)


def test_messages_written_meanwhile_are_not_erased_unseen(
    client: Client, administrator: Any, written: list[Message], make_message: Callable[..., Any], private: Conversation
) -> None:
    client.force_login(administrator)
    address = "/senders/default/erase/?id=user-a"
    old = hidden_fields(client.get(address).content.decode(), f'action="{address}')
    make_message(private, FIRST + 9)
    data = {"reason": "request 7", "typed": "user-a"}
    answer = client.post(address, {**old, **data}, follow=True)
    assert "Messages in the archive: 3 when you looked, 4 now." in page_of(answer)
    assert 'value="request 7"' in page_of(answer)
    assert not Message.objects.filter(sha256="").exists()
    again = hidden_fields(page_of(answer), f'action="{address}')
    assert "The text was erased." in page_of(client.post(address, {**again, **data}, follow=True))


@pytest.mark.parametrize("name", ["recall-retry", "recall-cancel", "recall-settle"])
def test_a_decision_without_its_page_does_nothing(signed_in: Client, stopped: Recall, name: str) -> None:
    stopped.batches.filter(index=0).update(state="unknown", checks=6)
    data = {"decision": "leave", "note": "why"}
    answer = signed_in.post(reverse(name, args=[stopped.pk]), data, follow=True)
    assert "Nothing was changed. Check the current state, then decide." in page_of(answer)
    stopped.refresh_from_db()
    assert stopped.state == "stopped"


def test_a_sweep_is_not_sent_again_when_another_call_would_go(
    signed_in: Client, written: list[Message], make_message: Callable[..., Any], application: Any
) -> None:
    make_message(Conversation.objects.open(application, Group("g")), FIRST)
    confirm(signed_in, SWEEP, sweep_form(), typed_count="4")
    sweep = Sweep.objects.get()
    sweep.recalls.update(state="finished")
    one, two = sweep.recalls.all()
    one.batches.update(state="refused")
    two.batches.update(state="accepted")
    here, address = sweep.get_absolute_url(), reverse("sweep-retry", args=[sweep.pk])
    old = hidden_fields(signed_in.get(here).content.decode(), f'action="{address}')
    two.batches.update(settlement="visible", checks=1)
    assert "This has changed since you looked." in page_of(signed_in.post(address, old, follow=True))
    assert "2 requests are being sent again." in page_of(press(signed_in, here, address))


def test_a_token_tells_nothing_to_whom_it_was_not_made_for(moderator: Any, lead: Any) -> None:
    made = reviewed.token(moderator, "x:1", {"a": reviewed.aspect(["secret"])})
    assert "secret" not in made
    assert reviewed.read(made, moderator, "x:1").aspects == {"a": reviewed.aspect(["secret"])}
    assert reviewed.read(made, lead, "x:1").aspects == {}
    assert reviewed.read(made, moderator, "x:2").aspects == {}
