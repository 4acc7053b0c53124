"""Home: my recalls, outcomes of the week, feeds, the system's line, and an admin's first steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.models import Action
from moderation.desk import outcomes as figures
from moderation.ingestion.feed import Metric, hour_of
from moderation.ingestion.models import Feed, FeedCount
from recall.models import Recall, RecallItem
from tests.audit.entries import record
from tests.desk.test_row_queries import explain

FIRST = 1_700_000_000_000
MakeRecall = Callable[..., Recall]


@pytest.fixture
def signed_in(client: Client, moderator: Any) -> Client:
    moderator.timezone = "Asia/Shanghai"
    moderator.save()
    client.force_login(moderator)
    return client


@pytest.fixture
def admin(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


def home(client: Client) -> str:
    return client.get("/").content.decode()


def days_of(client: Client) -> list[tuple[int, ...]]:
    return [day.numbers for day in client.get("/").context["outcomes"].days]


def made_at(recall: Recall, at: datetime) -> Recall:
    Recall.objects.filter(pk=recall.pk).update(created_at=at)
    return recall


def test_messages_are_counted_by_outcome_and_day(signed_in: Client, make_recall: MakeRecall) -> None:
    now = timezone.now()
    accepted = make_recall([FIRST, FIRST + 1, FIRST + 2], "accepted", state="finished")
    accepted.items.filter(timestamp=FIRST).update(verification="gone")
    accepted.items.filter(timestamp=FIRST + 1).update(verification="still visible")
    made_at(make_recall([FIRST + 10], "unknown", state="finished"), now - timedelta(days=3))
    made_at(make_recall([FIRST + 20], "refused", state="finished"), now - timedelta(days=8))
    numbers = days_of(signed_in)
    assert numbers[-1] == (1, 1, 0, 0, 1, 0)
    assert numbers[-4] == (0, 0, 0, 1, 0, 0)
    assert sum(map(sum, numbers)) == 4
    page = home(signed_in)
    assert '<rect class="gone"' in page
    assert "<caption>Messages of the last 7 days, by outcome</caption>" in page
    assert " style=" not in page


def test_a_day_is_one_of_the_readers_zone(signed_in: Client, make_recall: MakeRecall) -> None:
    with time_machine.travel(datetime.fromisoformat("2026-03-02T17:30:00+00:00"), tick=False):
        made_at(make_recall([FIRST], "accepted"), datetime.fromisoformat("2026-03-02T15:59:00+00:00"))
        made_at(make_recall([FIRST + 1], "accepted"), datetime.fromisoformat("2026-03-02T16:01:00+00:00"))
        days = signed_in.get("/").context["outcomes"].days
    assert [str(day.day) for day in days[-2:]] == ["2026-03-02", "2026-03-03"]
    assert [day.total for day in days[-2:]] == [1, 1]


def test_nothing_is_drawn_of_nothing(signed_in: Client, application: Any) -> None:
    page = home(signed_in)
    assert "No recall in the last 7 days." in page
    assert "<svg" not in page
    assert "You have requested no recall today." in page


def test_more_recalls_than_are_counted_are_said(
    signed_in: Client, make_recall: MakeRecall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MAX_RECALLS", 2)
    for number in range(3):
        make_recall([FIRST + number], "accepted", state="finished")
    assert sum(map(sum, days_of(signed_in))) == 2
    assert "recalls are counted" in home(signed_in)


def test_my_recalls_today_are_mine_and_of_today(signed_in: Client, lead: Any, make_recall: MakeRecall) -> None:
    mine = make_recall([FIRST], "accepted", state="finished")
    made_at(make_recall([FIRST + 1], "accepted", state="finished"), timezone.now() - timedelta(days=1, hours=1))
    Recall.objects.filter(pk=make_recall([FIRST + 2], "accepted").pk).update(actor=lead)
    assert [each.pk for each in signed_in.get("/").context["mine"]] == [mine.pk]


def test_an_index_answers_what_grows(signed_in: Client, moderator: Any, make_recall: MakeRecall) -> None:
    recall = make_recall([FIRST], "accepted", state="finished")
    old = timezone.now() - timedelta(days=100)
    fields = {name: getattr(recall, name) for name in ("application", "conversation", "actor", "reason")}
    Recall.objects.bulk_create(Recall(**fields, created_at=old, state="finished") for _number in range(1_000))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE recall_recall, recall_recallitem")
            # So few rows are read sooner than any index.
            cursor.execute("SET LOCAL enable_seqscan = off")
    with CaptureQueriesContext(connection) as queries:
        figures.outcomes()
        list(figures_of_home(moderator))
    recalls, items, mine = explain(queries)
    assert "recall_newest_first" in recalls
    assert "recall_by_actor" in mine
    assert not re.search(r"SCAN recall_recall(item)?\b|Seq Scan on recall_recall", recalls + items + mine)


def figures_of_home(user: Any) -> Any:
    from moderation.desk.views.home import mine_today

    return mine_today(user)


def test_a_feeds_last_hour_is_compared_with_the_same_hour_of_other_days(signed_in: Client, application: Any) -> None:
    now = timezone.now()
    hour = hour_of(now) - timedelta(hours=1)
    state = {"first_at": now - timedelta(days=10), "last_at": now, "counted_until": hour_of(now)}
    Feed.objects.update_or_create(application=application, defaults=state)
    for days, number in ((0, 7), (1, 40), (2, 42), (3, 41), (4, 0)):
        FeedCount.objects.create(
            application=application, hour=hour - timedelta(days=days), what=Metric.DELIVERED, number=number
        )
    (shown,) = signed_in.get("/").context["feeds"]
    assert (shown.number, shown.begins) == (7, hour)
    # Nine days of the same hour, of which five brought nothing.
    assert shown.usual == 0
    Feed.objects.filter(application=application).update(first_at=now - timedelta(days=4, minutes=1))
    assert signed_in.get("/").context["feeds"][0].usual == 41
    Feed.objects.filter(application=application).update(first_at=now - timedelta(days=2))
    assert "Baseline available in a few days" in home(signed_in)


def test_a_feed_that_never_brought_anything_claims_nothing(signed_in: Client, application: Any) -> None:
    (shown,) = signed_in.get("/").context["feeds"]
    assert (shown.number, shown.usual, shown.begins) == (None, None, None)
    assert "nothing delivered yet" in home(signed_in)


def test_the_systems_line_is_for_admins(client: Client, moderator: Any, administrator: Any, application: Any) -> None:
    client.force_login(moderator)
    assert "no backup recorded" not in home(client)
    client.force_login(administrator)
    assert "no backup recorded" in home(client)
    record(actor="(command line)", action=Action.BACKED_UP, detail={"file": "x", "encrypted": True})
    assert "Last backup:" in home(client)


def steps_of(client: Client) -> list[bool]:
    return [step.is_done for step in client.get("/").context["first_steps"]]


def test_the_first_steps_are_ticked_by_the_facts_and_go_when_all_are_done(
    admin: Client, application: Application, make_user: Callable[..., Any], settings: Any
) -> None:
    settings.GOEASY_APPKEY = ""
    assert steps_of(admin) == [True, False, False, False, False]
    settings.GOEASY_APPKEY = "BC-0123456789abcdef"
    record(actor="ada", action=Action.CONNECTION_TESTED, response_code=401, detail={"problem": "refused"})
    assert steps_of(admin)[1] is False
    record(actor="ada", action=Action.CONNECTION_TESTED, response_code=200, detail={"problem": None})
    Feed.objects.update_or_create(application=application, defaults={"first_at": timezone.now()})
    make_user("gone", "moderator", is_active=False)
    record(actor="(command line)", action=Action.GOEASY_CHECKED, detail={"step": "began"})
    assert steps_of(admin) == [True, True, True, False, False]
    assert "First steps" in home(admin)
    record(actor="(command line)", action=Action.GOEASY_CHECKED, detail={"step": "ended", "problem": ""})
    make_user("mo", "moderator")
    assert steps_of(admin) == []
    assert "First steps" not in home(admin)


def test_the_first_steps_are_not_shown_to_moderators(signed_in: Client, application: Any) -> None:
    assert signed_in.get("/").context["first_steps"] == []


def test_the_number_of_queries_does_not_grow_for_an_admin(
    admin: Client, make_recall: MakeRecall, administrator: Any
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            home(admin)
        return len(captured)

    make_recall([FIRST], "accepted", state="finished", actor=administrator)
    before = queries()
    for number in range(1, 9):
        made = make_recall([FIRST + number], "accepted", state="finished", actor=administrator)
        RecallItem.objects.filter(recall=made).update(verification="gone")
        Application.objects.create(slug=f"app-{number}", name="App")
    # Each application asks where history could not be read.
    assert queries() <= before + 8
    assert queries() < 60
