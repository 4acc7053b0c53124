"""Reading GoEasy's history into the archive, over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from moderation.applications.problems import MESSAGES, problem_message
from moderation.archive.models import Conversation, Message
from moderation.ingestion import backfill
from moderation.ingestion.backfill import Reading, catch_up, look_up, read_before, read_latest

pytestmark = pytest.mark.django_db

FIRST = 1_700_000_000_000
GROUP = {"kind": "group", "group_id": "group-1"}


@pytest.fixture
def fill(sandbox: Any, connected: Any) -> Any:
    """A function that puts messages at these times (ms) into GoEasy's history of the group."""

    def put(*times: int) -> None:
        sandbox.add_messages(
            GROUP,
            [{"timestamp": time, "senderId": "u", "type": "text", "payload": {"text": str(time)}} for time in times],
        )

    return put


def archived(conversation: Conversation) -> list[int]:
    return list(
        Message.objects.filter(conversation=conversation).order_by("timestamp").values_list("timestamp", flat=True)
    )


def test_the_newest_pages_come_first_and_reading_again_adds_nothing(fill: Any, group: Conversation) -> None:
    fill(*range(FIRST, FIRST + 100))
    reading = read_latest(group, pages=2)
    # One message of the page's edge is read twice, so that none of its millisecond is missed.
    assert (reading.added, reading.reached_start, reading.problem) == (59, False, "")
    assert archived(group) == list(range(FIRST + 41, FIRST + 100))
    assert read_latest(group, pages=2).added == 0


def test_reading_on_upward_reaches_the_start_and_says_so(fill: Any, group: Conversation) -> None:
    fill(*range(FIRST, FIRST + 100))
    read_latest(group, pages=2)
    reading = read_before(group, archived(group)[0] + 1, pages=9)
    assert reading.reached_start
    assert archived(group) == list(range(FIRST, FIRST + 100))


def test_an_empty_history_has_reached_its_start(fill: Any, group: Conversation) -> None:
    reading = read_latest(group)
    assert (reading.added, reading.reached_start, reading.problem) == (0, True, "")


def test_messages_that_share_a_pages_last_millisecond_are_not_missed(fill: Any, group: Conversation) -> None:
    # The 30th newest and the 31st share a millisecond: a strictly-before cursor there would skip one.
    fill(*range(FIRST, FIRST + 10), *[FIRST + 20] * 5, *range(FIRST + 30, FIRST + 58))
    read_latest(group, pages=5)
    assert len(archived(group)) == 10 + 5 + 28


def test_more_than_a_page_in_one_millisecond_is_said_and_passed(fill: Any, group: Conversation) -> None:
    fill(*range(FIRST, FIRST + 5), *[FIRST + 10] * 40, *range(FIRST + 20, FIRST + 25))
    reading = read_latest(group, pages=9)
    assert reading.crowded_ms == FIRST + 10
    assert reading.reached_start
    assert archived(group)[:5] == list(range(FIRST, FIRST + 5))


def test_a_recall_made_elsewhere_is_learned(fill: Any, sandbox: Any, group: Conversation) -> None:
    fill(FIRST)
    read_latest(group)
    sandbox.store.recall(GROUP, [FIRST], {"id": "somebody"})
    read_latest(group)
    message = Message.objects.get()
    assert (message.recalled, message.recaller) == (True, {"id": "somebody"})


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"kind": "drop_before"}, "connection_lost"),
        ({"kind": "html"}, "unclear"),
        ({"kind": "refuse", "code": 401}, "refused"),
        ({"kind": "half"}, "broken_answer"),
    ],
)
def test_a_faulty_history_answer_is_reported_and_recorded(
    fill: Any, sandbox: Any, group: Conversation, fault: dict[str, Any], problem: str
) -> None:
    fill(FIRST)
    sandbox.set_faults([{"on": "history", **fault}])
    assert read_latest(group).problem == problem
    group.refresh_from_db()
    assert group.history_problem == problem
    sandbox.clear_faults()
    read_latest(group)
    group.refresh_from_db()
    assert group.history_problem == ""


def test_an_unreachable_goeasy_is_reported(group: Conversation) -> None:
    assert read_latest(group).problem == "connection_refused"


def test_no_request_is_made_without_a_key(group: Conversation, settings: Any) -> None:
    settings.GOEASY_APPKEY = ""
    assert read_latest(group).problem == "not_configured"


def test_looked_up_messages_are_archived_in_few_calls(fill: Any, sandbox: Any, group: Conversation) -> None:
    fill(*range(FIRST, FIRST + 200))
    look_up(group, [FIRST + 3, FIRST + 150, FIRST + 149, FIRST + 140])
    assert {FIRST + 3, FIRST + 140, FIRST + 149, FIRST + 150} <= set(archived(group))
    assert len(sandbox.calls("history")) == 2
    look_up(group, [FIRST + 3, FIRST + 150])
    assert len(sandbox.calls("history")) == 2, "what is known is not asked for again"


def test_looking_up_is_bounded(fill: Any, sandbox: Any, group: Conversation) -> None:
    fill(*range(FIRST, FIRST + 100_000, 100))
    look_up(group, range(FIRST + 50, FIRST + 100_000, 3_100), max_calls=4)
    assert len(sandbox.calls("history")) == 4


def test_a_look_up_that_goeasy_answers_slowly_stops_and_says_so(
    fill: Any, sandbox: Any, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PATIENCE", 0.0)
    fill(*range(FIRST, FIRST + 100_000, 1_000))
    assert look_up(group, [FIRST + 1, FIRST + 50_001]).problem == "slow"
    assert len(sandbox.calls("history")) == 1


def test_a_page_that_goeasy_answers_slowly_shows_what_has_come(
    fill: Any, sandbox: Any, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PATIENCE", 0.0)
    fill(*range(FIRST, FIRST + 100))
    reading = read_latest(group, pages=3)
    assert (reading.problem, reading.reached_start, len(archived(group))) == ("", False, 30)
    assert len(sandbox.calls("history")) == 1


def test_a_slow_goeasy_occupies_a_bounded_number_of_readers_and_the_next_is_refused(group: Conversation) -> None:
    group.history_problem = "refused"
    group.save()
    for _place in range(backfill.MAX_READS):
        assert backfill._places.acquire(blocking=False)
    try:
        assert read_latest(group).problem == "busy"
    finally:
        for _place in range(backfill.MAX_READS):
            backfill._places.release()
    group.refresh_from_db()
    assert group.history_problem == "refused", "nothing has been learned of this conversation"


def test_catching_up_reads_no_further_than_what_is_known(fill: Any, sandbox: Any, group: Conversation) -> None:
    fill(*range(FIRST, FIRST + 200))
    assert catch_up(group, pages=3).added == 88
    fill(FIRST + 500)
    group.refresh_from_db()
    before = len(sandbox.calls("history"))
    assert catch_up(group, pages=10).added == 1
    assert len(sandbox.calls("history")) == before + 2
    group.refresh_from_db()
    assert catch_up(group, pages=10).added == 0
    assert len(sandbox.calls("history")) == before + 3


def test_only_the_first_of_two_readers_catches_up(fill: Any, sandbox: Any, group: Conversation) -> None:
    fill(FIRST)
    other = Conversation.objects.get(pk=group.pk)
    catch_up(group, pages=1)
    assert catch_up(other, pages=1) == Reading()
    assert len(sandbox.calls("history")) == 1


@pytest.mark.parametrize("before", [6, 999_999_999_999, 170_000_000_000_000])
def test_a_timestamp_outside_history_is_not_looked_up_and_raises_no_alarm(
    fill: Any, sandbox: Any, group: Conversation, before: int
) -> None:
    assert read_before(group, before) == Reading()
    assert sandbox.calls("history") == []
    group.refresh_from_db()
    assert (group.history_problem, group.history_read_at) == ("", None)


def test_every_problem_has_a_sentence_that_says_what_to_do_next() -> None:
    assert all(str(sentence).endswith(".") for sentence in MESSAGES.values())
    assert str(problem_message("something new")).endswith(".")
