"""The feed: deliveries are counted by the hour, and silence or a gap raises one alarm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.utils import timezone

from moderation.archive.moments import in_ms
from moderation.ingestion import deliveries, feed
from moderation.ingestion.models import Feed, FeedCount, WebhookDelivery
from moderation.operations import alarms
from moderation.operations.models import Heartbeat

pytestmark = pytest.mark.django_db

NOW = timezone.now().astimezone(UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set NOW to the start of the test instead of the import."""
    monkeypatch.setitem(globals(), "NOW", timezone.now().astimezone(UTC))


def delivered(application: Any, *times: datetime) -> None:
    """Store deliveries at these times."""
    for number, at in enumerate(times):
        deliveries.accept(application, f"[{number}, {at.timestamp()}]".encode())
        newest = WebhookDelivery.objects.latest("pk")
        WebhookDelivery.objects.filter(pk=newest.pk).update(received_at=at, state="done", problem="")
    FeedCount.objects.all().delete()


def usually(application: Any, an_hour: int, *, days: int = 5) -> None:
    """Counts of `an_hour` deliveries for every hour of the last `days`."""
    hour = feed.hour_of(NOW)
    Feed.objects.update_or_create(
        application=application, defaults={"first_at": hour - days * DAY - MINUTE, "counted_until": hour}
    )
    FeedCount.objects.bulk_create(
        FeedCount(application=application, hour=hour - number * feed.HOUR, what="delivered", number=an_hour)
        for number in range(1, days * 24 + 1)
    )


def counts(application: Any) -> dict[datetime, int]:
    rows = FeedCount.objects.filter(application=application, what="delivered")
    return dict(rows.values_list("hour", "number"))


def test_deliveries_are_counted_once_in_their_hour(application: Any) -> None:
    # Two hours ago: what came in the last minutes is counted later.
    hour = feed.hour_of(NOW) - 2 * feed.HOUR
    delivered(application, hour - MINUTE, hour, hour + 30 * MINUTE, hour + 59 * MINUTE)
    for _time in range(2):
        state = feed.take_stock(application)
    assert counts(application) == {hour - feed.HOUR: 1, hour: 3}
    assert (state.first_at, state.last_at) == (hour - MINUTE, hour + 59 * MINUTE)


def test_deliveries_of_the_last_minute_are_counted_later(application: Any) -> None:
    delivered(application, NOW - 10 * MINUTE, NOW)
    feed.take_stock(application)
    assert sum(counts(application).values()) == 1
    feed.take_stock(application)
    assert sum(counts(application).values()) == 1
    WebhookDelivery.objects.filter(received_at=NOW).update(received_at=NOW - 5 * MINUTE)
    Feed.objects.update(counted_until=NOW - 6 * MINUTE)
    feed.take_stock(application)
    assert sum(counts(application).values()) == 2


def test_silence_that_is_usual_is_no_alarm_and_silence_that_is_not_is_one(application: Any) -> None:
    usually(application, 60)
    for silent_for, alarm in ((4, ""), (15, ""), (25, "silent")):
        WebhookDelivery.objects.all().delete()
        delivered(application, NOW - silent_for * MINUTE)
        usually(application, 60)
        assert feed.take_stock(application).alarm == alarm, silent_for
    # The next delivery ends the alarm.
    delivered(application, timezone.now())
    assert feed.take_stock(application).alarm == ""


@pytest.mark.parametrize(("an_hour", "days"), [(0, 5), (1, 5), (1, 2), (0, 1)])
def test_a_quiet_feed_is_not_called_silent(application: Any, an_hour: int, days: int) -> None:
    delivered(application, NOW - 2 * feed.HOUR)
    usually(application, an_hour, days=days)
    assert feed.take_stock(application).alarm == ""


def test_a_new_feed_is_called_silent_by_what_came_lately(application: Any) -> None:
    delivered(application, NOW - 10 * MINUTE)
    usually(application, 600, days=2)
    assert feed.take_stock(application).alarm == "silent"
    # Before the first whole hour there is nothing to compare with.
    Feed.objects.update(first_at=NOW - 20 * MINUTE)
    assert feed.take_stock(application).alarm == ""


def test_one_wild_day_does_not_make_a_quiet_hour_an_alarm(application: Any) -> None:
    delivered(application, NOW - feed.HOUR)
    usually(application, 1)
    FeedCount.objects.filter(hour__gte=feed.hour_of(NOW) - DAY - feed.HOUR).update(number=100_000)
    assert feed.take_stock(application).alarm == ""


def test_a_webhook_that_never_delivered_is_no_alarm(application: Any) -> None:
    assert feed.take_stock(application).alarm == ""


def test_a_message_that_only_history_had_raises_an_alarm_for_an_hour(application: Any) -> None:
    delivered(application, NOW - 2 * feed.HOUR, NOW)
    feed.take_stock(application)
    before, meanwhile, just_now = (in_ms(NOW - age) for age in (3 * feed.HOUR, feed.HOUR, timedelta(seconds=5)))
    assert feed.note_missed(application, [before, just_now]) == 0
    assert feed.take_stock(application).alarm == ""
    assert feed.note_missed(application, [before, meanwhile, just_now]) == 1
    assert feed.take_stock(application).alarm == "gap"
    assert FeedCount.objects.get(what="missed").number == 1
    Feed.objects.update(gap_at=NOW - 61 * MINUTE)
    assert feed.take_stock(application).alarm == ""


def test_a_delivery_that_waits_is_no_gap(application: Any) -> None:
    delivered(application, NOW - 2 * feed.HOUR)
    feed.take_stock(application)
    deliveries.accept(application, b" " * (deliveries.CHEAP_BYTES + 1))
    assert feed.note_missed(application, [in_ms(NOW - feed.HOUR)]) == 0


@pytest.fixture
def alarmed(application: Any) -> Any:
    """An application whose feed has fallen silent."""
    delivered(application, NOW - feed.HOUR)
    usually(application, 60)
    return application


def test_admins_with_an_address_get_one_email_in_their_language(alarmed: Any, make_user: Any) -> None:
    make_user("ada", "admin", email="ada@example.com")
    make_user("zhao", "admin", email="zhao@example.com", language="zh-hans")
    make_user("none", "admin")
    make_user("mo", "moderator", email="mo@example.com")
    make_user("gone", "admin", email="gone@example.com", is_active=False)
    for _minute in range(3):
        alarms.watch()
    assert sorted(message.to[0] for message in mail.outbox) == ["ada@example.com", "zhao@example.com"]
    text = mail.outbox[0].body
    assert "No messages arrive any more." in text
    assert "switch" in text
    # A new silence after the end is another alarm.
    delivered(alarmed, timezone.now())
    alarms.watch()
    assert len(mail.outbox) == 2
    Feed.objects.update(gap_at=timezone.now())
    alarms.watch()
    assert len(mail.outbox) == 4


def test_an_e_mail_that_cannot_be_sent_is_tried_again(
    alarmed: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    make_user("ada", "admin", email="ada@example.com")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    # A port on which nothing listens.
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    alarms.watch()
    assert Feed.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = f"{EmailBackend.__module__}.EmailBackend"
    alarms.watch()
    alarms.watch()
    assert len(mail.outbox) == 1


def test_an_alarm_is_on_the_home_page_and_makes_the_console_not_ready(
    alarmed: Any, client: Client, moderator: Any, auditor: Any
) -> None:
    Heartbeat.objects.create(worker="w", at=timezone.now())
    client.force_login(moderator)
    assert "needs attention" not in client.get("/").content.decode()
    assert client.get("/readyz").json()["feed"] == "ok"
    alarms.watch()
    assert "needs attention" in client.get("/").content.decode()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["feed"]) == (503, "default: silent")
    for somebody in (moderator, auditor):
        client.force_login(somebody)
        assert 'class="button" href="/feed/"' in client.get("/").content.decode()


def test_the_page_tells_how_the_feed_does_and_what_to_do(
    application: Any, client: Client, administrator: Any, settings: Any
) -> None:
    client.force_login(administrator)
    page = client.get("/feed/").content.decode()
    assert "has no SecretKey" in page
    settings.GOEASY_SECRET_KEYS = ["s"]
    page = client.get("/feed/").content.decode()
    assert "Nothing has been delivered yet" in page
    assert "http://testserver/webhooks/goeasy/default/" in page
    delivered(application, NOW - feed.HOUR)
    usually(application, 120)
    alarms.watch()
    deliveries.accept(application, b"no JSON")
    client.post("/webhooks/goeasy/default/", {"content": "x"}, headers={"x-goeasy-signature": "no"})
    page = client.get("/feed/").content.decode()
    assert "No messages arrive any more." in page
    assert "usual at this hour: 2.0" in page
    assert "switches the webhook on again" in page
    assert "?state=unread&amp;app=default" in page
    rows = {row[0]: row[1] for row in client.get("/feed/").context["feeds"][0][0].counts}
    assert (rows["with a wrong signature"], rows["signed, but not to be read"]) == (1, 1)
