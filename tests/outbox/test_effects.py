"""Guarantees for effects, tested with a repeatable one against a real server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from moderation.audit.models import Action, AuditEntry
from moderation.goeasy.client import Answer, PreparedCall
from moderation.outbox import admission, effects, recovery, results, retries
from moderation.outbox.claims import Claimer
from moderation.outbox.effects import Claim, Result
from moderation.outbox.models import Attempt, Call, CallSlot
from moderation.outbox.sender import send_due
from moderation.outbox.tasks import tidy
from recall.models import Recall
from tests.goeasy.raw_server import OK, Server, http
from tests.outbox.calls import lease_ran_out
from tests.outbox.ping import Ping

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "BC-0123456789abcdef"
FIRST = 1_700_000_000_000


@pytest.fixture
def ping() -> Iterator[Ping]:
    effect = Ping()
    effects.register(effect)
    yield effect
    effects.unregister(effect)


@pytest.fixture
def server(application: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in GoEasy's place."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    running = Server()
    settings.GOEASY_REST_HOST = running.url
    settings.GOEASY_APPKEY = KEY
    yield running
    running.listener.close()


@pytest.fixture
def make_calls(application: Any, ping: Ping) -> Callable[..., list[Call]]:
    """A function that puts `count` calls of the tests' effect into the outbox."""

    def make(count: int = 1, **fields: Any) -> list[Call]:
        return Call.objects.bulk_create(
            Call.of(
                PreparedCall.post("/ping", {"number": number, "text": "乒乓 \u2028 ok", "of": {"b": 1.0, "a": None}}),
                **{
                    "application": application,
                    "effect": "ping",
                    "position": number,
                    "not_before": timezone.now(),
                    **fields,
                },
            )
            for number in range(count)
        )

    return make


def outcomes(call: Call) -> list[str]:
    return list(call.attempts.order_by("number").values_list("outcome", flat=True))


def answering(*answers: bytes | None) -> Callable[[socket.socket, bytes], bytes | None]:
    """A handler that gives these answers in turn, None for hanging up, and then OK for ever."""
    left = list(answers)
    return lambda _connection, _request: left.pop(0) if left else http(OK)


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def test_the_committed_intent_holds_the_very_body_that_arrives(
    make_calls: Callable[..., list[Call]], server: Server, application: Any
) -> None:
    calls = make_calls(3)
    seen: list[tuple[bool, bool]] = []

    def look(_connection: socket.socket, request: bytes) -> bytes:
        sent = json.loads(body_of(request))
        try:
            # The server's own connection: it sees only what is committed.
            is_open = Attempt.objects.filter(call=calls[sent["number"]], outcome="open").exists()
            requests = [each.request for each in AuditEntry.objects.filter(action=Action.SENDING)]
            seen.append((is_open, {**sent, "appkey": "BC-•••"} in requests))
        finally:
            connection.close()
        return http(OK)

    server.handler = look
    send_due(application)
    assert seen == [(True, True)] * 3
    arrived = sorted(body_of(request) for request in server.requests)
    assert arrived == sorted(call.body.replace("•••", KEY, 1).encode() for call in calls)
    assert {call.state for call in Call.objects.all()} == {"accepted"}
    assert not any(KEY in call.body for call in Call.objects.all())


def test_the_rows_keep_what_was_prepared_though_the_key_is_another_by_now(
    make_calls: Callable[..., list[Call]], server: Server, application: Any, settings: Any
) -> None:
    make_calls(1)
    settings.GOEASY_APPKEY = "PR-another-key-0123"
    send_due(application)
    assert json.loads(server.body)["appkey"] == "PR-another-key-0123"
    assert AuditEntry.objects.get(action=Action.SENDING).request["appkey"] == "PR-•••"


def test_an_unknown_outcome_is_sent_again_by_itself_where_the_effect_allows_it(
    make_calls: Callable[..., list[Call]], server: Server, application: Any, ping: Ping
) -> None:
    (call,) = make_calls(1)
    server.handler = answering(None, http(b"<html>", "502 Bad Gateway"))
    send_due(application)
    call.refresh_from_db()
    assert (call.state, call.attempt_count, outcomes(call)) == ("accepted", 3, ["unknown", "unknown", "accepted"])
    assert len({body_of(request) for request in server.requests}) == 1
    assert ping.written == [(0, "waiting"), (0, "waiting"), (0, "accepted")]
    entries = AuditEntry.objects.filter(action=Action.ANSWERED).order_by("pk")
    assert [each.detail["again"] for each in entries] == [True, True, False]


def test_a_recall_of_unknown_outcome_waits_for_a_person_while_the_other_effect_goes_on(
    make_calls: Callable[..., list[Call]], server: Server, application: Any, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST])
    make_calls(1)
    server.handler = answering(None, None)
    send_due(application)
    assert recall.batches.get().state == "unknown"
    assert outcomes(recall.batches.get().call) == ["unknown"]
    assert outcomes(Call.objects.get(effect="ping")) == ["unknown", "accepted"]
    assert sum(b"/v2/im/history/recall" in request for request in server.requests) == 1


def test_sending_again_ends_and_the_outcome_stays_unknown(
    make_calls: Callable[..., list[Call]], server: Server, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MAX_ATTEMPTS", 3)
    (call,) = make_calls(1)
    server.handler = lambda _connection, _request: None
    send_due(application)
    call.refresh_from_db()
    assert (call.state, outcomes(call), len(server.requests)) == ("unknown", ["unknown"] * 3, 3)


def test_a_call_of_a_dead_worker_is_sent_again_unless_a_late_answer_arrives(
    make_calls: Callable[..., list[Call]], server: Server, application: Any, ping: Ping
) -> None:
    make_calls(2)
    dead = Claimer(application, "dead")
    dead.has_accepted = True
    first, second = dead.claim(2, is_idle=True)
    lease_ran_out()
    assert recovery.recover_orphans() == 2
    assert set(Call.objects.values_list("state", flat=True)) == {"waiting"}
    # The first one's answer comes before anybody has sent it again.
    results.record_results(dead.circuit, [(first, Answer(200, 200, "OK", 5, is_malformed=False))])
    Call.objects.update(not_before=timezone.now())
    send_due(application)
    assert [json.loads(body_of(request))["number"] for request in server.requests] == [1]
    assert [outcomes(each.call) for each in (first, second)] == [["accepted"], ["unknown", "accepted"]]
    # The second one's comes when it was sent again: it is kept with its attempt, and changes nothing.
    refusal = results.record_results(dead.circuit, [(second, Answer(200, 200, "OK", 5, is_malformed=False))])
    assert refusal is None
    assert outcomes(second.call) == ["accepted", "accepted"]
    assert set(Call.objects.values_list("state", flat=True)) == {"accepted"}
    assert ping.written[-1] == (1, None)


def test_slots_are_shared_by_all_effects_of_an_application(
    make_calls: Callable[..., list[Call]],
    server: Server,
    application: Any,
    settings: Any,
    make_recall: Callable[..., Recall],
) -> None:
    settings.GOEASY_CONCURRENCY = 3
    recall = make_recall([FIRST + number for number in range(200)])
    make_calls(10)
    lock, now, most = threading.Lock(), [0], [0]

    def slow(_connection: socket.socket, _request: bytes) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return http(OK)

    server.handler = slow
    send_due(application)
    assert (len(server.requests), most[0]) == (20, 3)
    assert set(recall.batches.values_list("state", flat=True)) == {"accepted"}
    # In turn: neither waits for the other to end.
    kinds = [b"/ping" in request for request in server.requests]
    assert {True, False} == set(kinds[:8]) == set(kinds[-8:])
    assert not CallSlot.objects.exclude(held_by="").exists()


def test_the_pace_is_shared_by_all_effects_of_an_application(
    make_calls: Callable[..., list[Call]],
    server: Server,
    application: Any,
    settings: Any,
    make_recall: Callable[..., Recall],
) -> None:
    settings.GOEASY_MAX_CALLS_PER_SECOND = 25.0
    make_recall([FIRST + number for number in range(100)])
    make_calls(5)
    times: list[float] = []

    def note(_connection: socket.socket, _request: bytes) -> bytes:
        times.append(time.monotonic())
        return http(OK)

    server.handler = note
    began = time.monotonic()
    send_due(application)
    assert len(times) == 10
    assert max(times) - began >= 9 * 0.04


def test_a_refused_key_holds_every_effects_calls_and_released_they_leave(
    make_calls: Callable[..., list[Call]], server: Server, application: Any, make_recall: Callable[..., Recall]
) -> None:
    recall = make_recall([FIRST])
    make_calls(3)
    make_calls(1, not_before=timezone.now() + timedelta(minutes=5))
    server.answers_with(http(b'{"code":401,"content":"Unauthorized"}', "401 Unauthorized"))
    send_due(application)
    assert len(server.requests) == 1
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason) == ("stopped", "key_refused")
    states = sorted(Call.objects.values_list("effect", "state"))
    assert states in (
        [("ping", "held"), ("ping", "held"), ("ping", "held"), ("ping", "waiting"), ("recall", "refused")],
        [("ping", "held"), ("ping", "held"), ("ping", "refused"), ("ping", "waiting"), ("recall", "held")],
    )
    server.answers_with(http(OK))
    admission.note_answer(admission.circuit_of(application))
    assert Call.objects.filter(effect="ping").exclude(state="waiting").release() == 3
    send_due(application)
    assert Call.objects.filter(effect="ping", state="accepted").count() == 3
    assert Call.objects.filter(effect="ping", state="waiting").count() == 1, "its time has not come"


def test_a_call_waits_for_its_time_and_is_sent_although_its_task_was_lost(
    make_calls: Callable[..., list[Call]], server: Server, application: Any
) -> None:
    (call,) = make_calls(1, not_before=timezone.now() + timedelta(minutes=1))
    send_due(application)
    assert (server.requests, tidy()) == ([], 0)
    Call.objects.update(not_before=timezone.now() - timedelta(minutes=1))
    assert tidy() == 1
    assert tidy() == 0, "a task waits for a worker now"


def test_calls_of_an_effect_that_nobody_knows_stay_where_they_are(
    make_calls: Callable[..., list[Call]], server: Server, application: Any
) -> None:
    make_calls(2, effect="of another version", not_before=timezone.now() - timedelta(minutes=1))
    make_calls(1)
    send_due(application)
    assert len(server.requests) == 1
    assert Call.objects.filter(effect="of another version", state="waiting").count() == 2
    assert tidy() == 0


def test_after_a_restore_what_may_be_repeated_leaves_and_a_recall_does_not(
    make_calls: Callable[..., list[Call]],
    server: Server,
    application: Any,
    ping: Ping,
    make_recall: Callable[..., Recall],
) -> None:
    make_calls(2)
    sending = Claimer(application, "w")
    sending.has_accepted = True
    assert len(sending.claim(1, is_idle=True)) == 1
    recall = make_recall([FIRST])
    assert recovery.lose_unfinished() == {"recalls_stopped": 1, "pings": 2}
    assert ping.unknown_since_restore == [0]
    assert Attempt.objects.get().problem == "restored"
    send_due(application)
    assert Call.objects.filter(effect="ping", state="accepted").count() == 2
    assert recall.batches.get().state == "unknown"
    assert not any(b"/v2/im/history/recall" in request for request in server.requests)


def test_an_error_in_an_effect_leaves_nothing_half_recorded(
    make_calls: Callable[..., list[Call]],
    server: Server,
    application: Any,
    ping: Ping,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (call,) = make_calls(1)

    def broken(_claims: Sequence[Claim], _requests: Sequence[dict[str, Any]]) -> list[AuditEntry]:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(ping, "intents", broken)
        with pytest.raises(RuntimeError):
            send_due(application)
    call.refresh_from_db()
    assert (call.state, call.attempts.count(), server.requests) == ("waiting", 0, [])
    assert not CallSlot.objects.exclude(held_by="").exists()
    with monkeypatch.context() as patch:
        patch.setattr(ping, "outcomes", broken_outcomes)
        with pytest.raises(RuntimeError):
            send_due(application)
    call.refresh_from_db()
    assert (call.state, outcomes(call)) == ("sending", ["open"]), "the lease runs out, and then it is unknown"


def broken_outcomes(_results: Sequence[Result]) -> list[AuditEntry]:
    raise RuntimeError("broken")


def test_two_effects_of_one_name_are_refused(ping: Ping) -> None:
    class Impostor(Ping):
        pass

    with pytest.raises(ValueError, match="ping"):
        effects.register(Impostor())
    # An app whose `ready()` runs twice does no harm.
    effects.register(Ping())


def test_the_database_refuses_a_call_that_is_claimed_and_not_sent_or_sent_and_not_claimed(
    make_calls: Callable[..., list[Call]],
) -> None:
    (call,) = make_calls(1)
    for wrong in (
        {"state": "sending"},
        {"claimed_by": "w"},
        {"lease_until": timezone.now()},
        {"state": "sending", "claimed_by": "w"},
        {"state": "gone"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Call.objects.filter(pk=call.pk).update(**wrong)
    Attempt.objects.create(call=call, number=1, started_at=timezone.now())
    # The number is taken; and while one is open there is no other.
    for number in (1, 2):
        with pytest.raises(IntegrityError), transaction.atomic():
            Attempt.objects.create(call=call, number=number, started_at=timezone.now())
    Attempt.objects.all().delete()


def test_the_claim_reads_one_index_in_order_and_sorts_nothing(
    make_calls: Callable[..., list[Call]], application: Any
) -> None:
    make_calls(300)
    Call.objects.filter(position__gte=20).update(state="accepted")
    waiting = Claimer(application, "w").calls.in_turn(timezone.now())[:16]
    plan = waiting.explain()
    assert "call_waiting" in plan
    assert "SORT" not in plan.upper().replace("SORT KEY", ""), plan
    assert "B-TREE" not in plan
