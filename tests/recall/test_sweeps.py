"""Sweeps: what goes, what is left out, one recall for each conversation, and what is done with all of them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.audit.models import AuditEntry
from moderation.goeasy.client import Group, Recaller
from moderation.outbox.sender import send_due
from moderation.reviewed import Changed, Seen
from recall import reviews, sweeps
from recall.models import Evidence, Recall, RecallBatch, RecallItem, Sweep
from recall.progress import progress_of_sweeps
from recall.services import NotPossible

FIRST = 1_700_000_000_000
HOUR = 3_600_000


@pytest.fixture
def talk(application: Any, make_message: Callable[..., Message]) -> Callable[..., Conversation]:
    """A function that makes a group in which somebody writes at `timestamps`."""

    def make(group: str, timestamps: list[int], *, sender: str = "spammer", **fields: Any) -> Conversation:
        conversation = Conversation.objects.open(application, Group(group))
        for timestamp in timestamps:
            make_message(conversation, timestamp, senderId=sender, **fields)
        return conversation

    return make


def planned(application: Application, *, sender: str = "spammer", since: int = FIRST, until: int = FIRST + HOUR) -> Any:
    return sweeps.plan_sweep(application=application, sender_id=sender, since=since, until=until)


@pytest.fixture
def request_sweep(application: Any, moderator: Any, reason: Any) -> Callable[..., Sweep]:
    """A function that asks for what is planned, as the person who saw the plan does."""

    def ask(**fields: Any) -> Sweep:
        return sweeps.request_sweep(
            **{
                "application": application,
                "sender_id": "spammer",
                "since": FIRST,
                "until": FIRST + HOUR,
                "actor": moderator,
                "reason": reason,
                "note": "",
                "recaller": Recaller("support"),
                "submission": uuid.uuid4(),
                "grace_seconds": 0,
                **fields,
            }
        )

    return ask


def reviewed_now(application: Application, actor: Any, reason: Any) -> Seen:
    """What the review of the fixture's sweep shows now."""
    span: dict[str, Any] = {"application": application, "sender_id": "spammer", "since": FIRST, "until": FIRST + HOUR}
    why: dict[str, Any] = {"reason": reason, "note": "", "recaller": Recaller("support"), "is_overridden": True}
    return Seen(timezone.now(), reviews.of_sweep(**span, **why, planned=planned(application)))


def in_plan(plan: sweeps.SweepPlan) -> dict[int, tuple[int, ...]]:
    return {part.conversation_id: part.timestamps for part in plan.parts}


# What goes


def test_it_finds_what_one_sender_wrote_between_two_times_in_every_conversation_of_the_application(
    application: Any, talk: Callable[..., Conversation], make_message: Any
) -> None:
    one = talk("one", [FIRST - 1, FIRST, FIRST + HOUR, FIRST + HOUR + 1])
    two = talk("two", [FIRST + 5, FIRST + 6, FIRST + 7])
    talk("three", [FIRST + 8], sender="somebody else")
    elsewhere = Application.objects.create(slug="second", name="Second")
    make_message(Conversation.objects.open(elsewhere, Group("two")), FIRST + 5, senderId="spammer")
    plan = planned(application)
    # Both ends are within; the conversation with the most comes first.
    assert list(in_plan(plan).items()) == [
        (two.pk, (FIRST + 5, FIRST + 6, FIRST + 7)),
        (one.pk, (FIRST, FIRST + HOUR)),
    ]
    assert (plan.timestamps, plan.calls, plan.others, plan.left_out) == (5, 2, 0, 0)


def test_a_senders_id_is_taken_as_it_is(application: Any, talk: Callable[..., Conversation]) -> None:
    talk("one", [FIRST])
    for other in ("Spammer", "spammer ", " spammer", "spam%", ""):
        assert not planned(application, sender=other).parts


def test_recalled_messages_are_left_out(application: Any, talk: Callable[..., Conversation]) -> None:
    one = talk("one", [FIRST])
    talk("one", [FIRST + 1], recalled=True)
    assert in_plan(planned(application)) == {one.pk: (FIRST,)}


@pytest.mark.parametrize(
    ("state", "settlement", "goes"),
    [
        ("pending", "", False),
        ("sending", "", False),
        ("accepted", "", False),
        ("unknown", "", False),
        ("unknown", "visible", False),
        ("accepted", "visible", False),
        ("refused", "", True),
        ("cancelled", "", True),
    ],
)
def test_messages_of_another_recall_are_left_out_unless_it_was_refused_or_called_off(
    application: Any,
    talk: Callable[..., Conversation],
    make_recall: Callable[..., Recall],
    state: str,
    settlement: str,
    goes: bool,
) -> None:
    one = talk("one", [FIRST, FIRST + 1])
    recall = make_recall([FIRST], conversation=one)
    recall.batches.update(state=state, settlement=settlement)
    plan = planned(application)
    assert in_plan(plan) == {one.pk: (FIRST, FIRST + 1) if goes else (FIRST + 1,)}
    assert plan.left_out == (0 if goes else 1)


def test_messages_of_others_at_the_same_millisecond_are_named(
    application: Any, talk: Callable[..., Conversation]
) -> None:
    one = talk("one", [FIRST, FIRST + 1])
    talk("one", [FIRST + 1, FIRST + 2], sender="neighbour")
    talk("two", [FIRST], sender="neighbour")
    (part,) = planned(application).parts
    assert [Message.objects.get(pk=pk).sender_id for pk in part.others] == ["neighbour"]
    assert part.conversation_id == one.pk


def test_two_messages_of_the_sender_at_one_millisecond_are_one_timestamp_and_both_are_evidence(
    application: Any, talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep]
) -> None:
    talk("one", [FIRST])
    talk("one", [FIRST], payload={"text": "the second"})
    assert planned(application).timestamps == 1
    request_sweep()
    assert Evidence.objects.count() == 2


def test_more_than_the_set_maximum_is_refused(
    application: Any, talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], settings: Any
) -> None:
    settings.SWEEP_MAX_MESSAGES = 3
    talk("one", [FIRST, FIRST + 1, FIRST + 2])
    assert planned(application).timestamps == 3
    talk("two", [FIRST])
    assert planned(application).too_many
    with pytest.raises(NotPossible, match="more than 3 messages"):
        request_sweep()
    assert not Sweep.objects.exists()


def test_a_sweep_without_messages_is_refused(application: Any, request_sweep: Callable[..., Sweep]) -> None:
    with pytest.raises(NotPossible, match="archive has no message of this sender"):
        request_sweep()
    assert not Sweep.objects.exists()


def test_a_reversed_time_range_matches_nothing_and_the_database_refuses_it(
    application: Any, talk: Callable[..., Conversation], moderator: Any
) -> None:
    from django.db import IntegrityError, transaction

    talk("one", [FIRST])
    assert not planned(application, since=FIRST + 1, until=FIRST - 1).parts
    with pytest.raises(IntegrityError), transaction.atomic():
        Sweep.objects.create(application=application, sender_id="s", since=2, until=1, actor=moderator)


def test_the_queries_do_not_grow_with_the_conversations(
    application: Any,
    talk: Callable[..., Conversation],
    request_sweep: Callable[..., Sweep],
    moderator: Any,
    reason: Any,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(40):
        talk(f"group-{number}", [FIRST + number, FIRST + 100 + number])
    with django_assert_max_num_queries(3):
        planned(application)
    seen = reviewed_now(application, moderator, reason)
    with django_assert_max_num_queries(30):
        request_sweep(seen=seen)
    assert Recall.objects.count() == 40


# Asking for it


def test_it_makes_an_ordinary_recall_for_each_conversation(
    application: Any, talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], moderator: Any
) -> None:
    talk("one", [FIRST + n for n in range(25)])
    talk("two", [FIRST])
    sweep = request_sweep(note="spam wave")
    recalls = {recall.conversation.group_id: recall for recall in sweep.recalls.all()}
    assert set(recalls) == {"one", "two"}
    assert [batch.size for batch in recalls["one"].batches.all()] == [20, 5]
    assert {(recall.actor, recall.note, recall.recaller_id) for recall in recalls.values()} == {
        (moderator, "spam wave", "support")
    }
    assert RecallItem.objects.count() == Evidence.objects.count() == 26
    for item in RecallItem.objects.select_related("recall__conversation"):
        message = Message.objects.get(conversation=item.recall.conversation, timestamp=item.timestamp)
        assert [evidence.sha256 for evidence in item.evidence.all()] == [message.sha256]
    entries = AuditEntry.objects.filter(action="recall.requested")
    assert sorted(entry.detail["calls"] for entry in entries) == [1, 2]
    assert {entry.detail["sweep"] for entry in entries} == {str(sweep.pk)}


def test_a_sweep_that_changed_since_the_review_is_refused(
    application: Any,
    talk: Callable[..., Conversation],
    request_sweep: Callable[..., Sweep],
    moderator: Any,
    reason: Any,
) -> None:
    talk("one", [FIRST])
    seen = reviewed_now(application, moderator, reason)
    talk("one", [FIRST + 1])
    with pytest.raises(Changed, match="^1 more message would be recalled.$"):
        request_sweep(seen=seen)
    # Somebody else's message that would go too is a change as well.
    seen = reviewed_now(application, moderator, reason)
    talk("one", [FIRST], sender="neighbour")
    with pytest.raises(Changed, match="^Other people’s messages that would be recalled too have changed.$"):
        request_sweep(seen=seen)
    assert not Recall.objects.exists()


def test_the_same_form_twice_is_one_sweep(
    talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep]
) -> None:
    talk("one", [FIRST])
    submission = uuid.uuid4()
    first = request_sweep(submission=submission)
    assert request_sweep(submission=submission) == first
    assert Recall.objects.count() == 1


@pytest.mark.parametrize(
    "changed", [{"sender_id": "other"}, {"since": FIRST - 1}, {"note": "another"}, {"recaller": None}]
)
def test_the_same_form_changed_makes_nothing_and_says_so(
    talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], changed: dict[str, Any]
) -> None:
    talk("one", [FIRST])
    talk("one", [FIRST + 1], sender="other")
    submission = uuid.uuid4()
    request_sweep(submission=submission)
    with pytest.raises(NotPossible, match="was used for another sweep already"):
        request_sweep(submission=submission, **changed)
    assert Sweep.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_form_sent_twice_at_once_is_one_sweep(
    talk: Callable[..., Conversation],
    request_sweep: Callable[..., Sweep],
    application: Any,
    moderator: Any,
    reason: Any,
) -> None:
    talk("one", [FIRST])
    submission = uuid.uuid4()
    seen = reviewed_now(application, moderator, reason)
    made: list[Sweep] = []
    start = threading.Barrier(2)

    def ask() -> None:
        start.wait()
        made.append(request_sweep(submission=submission, seen=seen))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert made[0] == made[1]
    assert Recall.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_people_sweeping_the_same_at_once_take_it_back_once(
    talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], application: Any, lead: Any, moderator: Any
) -> None:
    talk("one", [FIRST])
    results: list[object] = []
    start = threading.Barrier(2)

    def ask(who: Any) -> None:
        start.wait()
        try:
            results.append(request_sweep(actor=who))
        except NotPossible as refusal:
            results.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(who,)) for who in (lead, moderator)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["NotPossible", "Sweep"]


# What becomes of it


@pytest.mark.django_db(transaction=True)
def test_a_sweep_takes_back_everything_in_as_few_calls_as_there_can_be(
    connected: Any, sandbox: Any, talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep]
) -> None:
    for number in range(6):
        timestamps = [FIRST + n for n in range(21 if number == 0 else 3)]
        talk(f"group-{number}", timestamps)
        sandbox.add_messages(
            {"kind": "group", "group_id": f"group-{number}"},
            [{"timestamp": at, "senderId": "spammer", "type": "text", "payload": {"text": "buy"}} for at in timestamps],
        )
    sweep = request_sweep()
    send_due(sweep.application)
    progress = progress_of_sweeps([sweep])[sweep.pk]
    assert (progress.calls, progress.timestamps, progress.outcome) == (7, 36, "accepted")
    assert len(sandbox.calls("recall")) == 7
    assert set(sweep.recalls.values_list("state", flat=True)) == {"finished"}


def test_a_sweep_is_called_off_whole(
    talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], lead: Any
) -> None:
    talk("one", [FIRST + n for n in range(25)])
    talk("two", [FIRST])
    sweep = request_sweep(grace_seconds=60)
    assert sweeps.cancel_sweep(sweep, lead) == 26
    assert set(sweep.recalls.values_list("state", flat=True)) == {"cancelled"}
    assert AuditEntry.objects.filter(action="recall.cancelled", actor="lea").count() == 2
    with pytest.raises(NotPossible, match="nothing is left to cancel"):
        sweeps.cancel_sweep(sweep, lead)


def test_only_what_has_not_left_is_called_off(
    talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], lead: Any
) -> None:
    talk("one", [FIRST + n for n in range(25)])
    sweep = request_sweep()
    RecallBatch.objects.filter(index=0).update(state="accepted")
    Recall.objects.update(state="sending")
    assert sweeps.cancel_sweep(sweep, lead) == 5
    assert list(RecallBatch.objects.order_by("index").values_list("state", flat=True)) == ["accepted", "cancelled"]
    assert Recall.objects.get().state == "finished"


def test_only_refused_calls_of_a_sweep_are_sent_again(
    talk: Callable[..., Conversation], request_sweep: Callable[..., Sweep], lead: Any
) -> None:
    for group in ("one", "two", "three"):
        talk(group, [FIRST])
    sweep = request_sweep()
    for recall, state in zip(sweep.recalls.order_by("created_at"), ("refused", "unknown", "refused"), strict=True):
        recall.batches.update(state=state)
    Recall.objects.update(state="finished")
    assert sweeps.retry_sweep(sweep, lead) == 2
    assert sorted(RecallBatch.objects.values_list("state", flat=True)) == ["pending", "pending", "unknown"]
    with pytest.raises(NotPossible, match="Nothing of this sweep was refused"):
        sweeps.retry_sweep(sweep, lead)
