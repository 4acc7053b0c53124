"""Health of each application's webhook feed: counts of deliveries and failures, and alarms."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from django.db import Error, models, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.archive.moments import in_ms
from moderation.ingestion.models import Feed, FeedCount, WebhookDelivery

log = logging.getLogger(__name__)

HOUR = timedelta(hours=1)
# The usual rate of an hour is the median of the same hour on these last days, of LEAST_DAYS at least.
USUAL_DAYS = 14
LEAST_DAYS = 3
# For a newer feed, it is the median of these last hours.
LATELY_HOURS = 24
# Silence raises an alarm once this many deliveries would usually have come, but not before LEAST_SILENCE: within five
# minutes, because feeds are checked twice a minute.
SILENCE_EXPECTS = 20
LEAST_SILENCE = timedelta(minutes=4)
# A message in history that the archive lacks for longer than this is a gap.
ON_ITS_WAY = timedelta(minutes=1)
# An alarm for a gap ends after this long without another gap.
GAP_LASTS = HOUR
# An unreadable delivery is an alarm until it is read, or for this long. They are counted up to MAX_UNREAD.
UNREAD_LASTS = timedelta(days=1)
MAX_UNREAD = 1_000
# How long counts are kept.
COUNTS_KEPT = timedelta(days=90)


class Alarm(models.TextChoices):
    """Alarms of a feed."""

    SILENT = "silent", _("No messages arrive any more.")
    UNREAD = "unread", _("GoEasy delivers what cannot be read: its messages are kept, but not in the archive.")
    GAP = "gap", _("GoEasy’s history had messages that the webhook did not bring.")


class Metric(models.TextChoices):
    """Events that are counted by the hour."""

    DELIVERED = "delivered", _("deliveries stored")
    REPEATED = "repeated", _("deliveries that had come before")
    UNREAD = "unread", _("signed, but not to be read")
    CUSTOMER_SERVICE = "customer_service", _("customer service, not archived")
    PUBSUB = "pubsub", _("PubSub, not archived")
    UNSIGNED = "unsigned", _("without a signature")
    WRONG_SIGNATURE = "wrong_signature", _("with a wrong signature")
    NO_SECRET = "no_secret", _("refused because the application has no SecretKey")
    SECRET_UNREADABLE = "secret_unreadable", _("refused because the stored SecretKey cannot be opened")
    TOO_LARGE = "too_large", _("larger than WEBHOOK_MAX_MB allows")
    NOT_STORED = "not_stored", _("not stored, because the database did not take them")
    MISSED = "missed", _("messages that only history had")


INSTRUCTIONS = _(
    "After three failures GoEasy sends nothing more until somebody switches the webhook on again: in GoEasy’s console, "
    "open the application and its webhook, check the address, and switch it on. What was missed meanwhile is read from "
    "history for conversations that are known; for others run: manage.py backfill."
)


INSTRUCTIONS_UNREAD = _(
    "The deliveries are kept as they came. An admin finds them in Django admin, Webhook deliveries, with what is wrong "
    "with each, and can have them read again after an upgrade. Until then, what is in them is read from history for "
    "conversations that are known."
)


def instructions(alarm: str) -> str | Promise:
    """Instructions for an admin on the alarm."""
    return INSTRUCTIONS_UNREAD if alarm == Alarm.UNREAD else INSTRUCTIONS


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour of `at`."""
    return at.replace(minute=0, second=0, microsecond=0)


def count(application: Application, metric: Metric, number: int = 1, *, at: datetime | None = None) -> None:
    """Add `number` to the metric in the hour of `at` (default: now). A database error is logged, not raised."""
    key = {"application": application, "hour": hour_of(at or timezone.now()), "what": metric}
    try:
        counts = FeedCount.objects.filter(**key)
        if not counts.update(number=F("number") + number):
            FeedCount.objects.bulk_create([FeedCount(**key)], ignore_conflicts=True)
            counts.update(number=F("number") + number)
    except Error as error:
        log.warning("feed of %s: %s not counted: %s", application.slug, metric, error)


def note_missed(application: Application, times: Iterable[int]) -> int:
    """Count messages sent at `times` (ms) that history had and the archive lacked; return how many are a gap.

    Excludes messages from before the feed and from the last minute, and any that a waiting or unreadable delivery may
    contain: GoEasy delivers a message after it was sent, so only messages newer than all of these are certainly missed.
    """
    if not (times := list(times)) or not (feed := Feed.objects.filter(application=application).first()):
        return 0
    if feed.first_at is None or application.webhookdelivery_set.filter(state=WebhookDelivery.State.WAITING).exists():
        return 0
    since, until = in_ms(feed.first_at), in_ms(timezone.now() - ON_ITS_WAY)
    if unread := unread_deliveries(application).first():
        # The clocks may differ a little.
        since = max(since, in_ms(unread.received_at + ON_ITS_WAY))
    if missed := sum(since <= time <= until for time in times):
        count(application, Metric.MISSED, missed)
        Feed.objects.filter(pk=feed.pk).update(gap_at=timezone.now())
        log.warning("feed of %s: history had %d messages that the webhook did not bring", application.slug, missed)
    return missed


def unread_deliveries(application: Application) -> models.QuerySet[WebhookDelivery]:
    """Unreadable deliveries, the newest first, without their content."""
    unread = application.webhookdelivery_set.filter(state=WebhookDelivery.State.UNREAD)
    return unread.order_by("-id").defer("content")


@dataclass(frozen=True)
class Unread:
    """Unreadable deliveries of the last day: their number (MAX_UNREAD: that many or more), and the newest."""

    number: int
    newest: WebhookDelivery

    def __str__(self) -> str:
        return f"{self.number}+" if self.number >= MAX_UNREAD else str(self.number)


def unread_lately(application: Application, now: datetime) -> Unread | None:
    """Unreadable deliveries of the last day; None when there are none."""
    newest = unread_deliveries(application).first()
    if newest is None or newest.received_at < now - UNREAD_LASTS:
        return None
    times = unread_deliveries(application).values_list("received_at", flat=True)[:MAX_UNREAD]
    return Unread(sum(at >= now - UNREAD_LASTS for at in times), newest)


def take_stock(application: Application) -> Feed:
    """Count the deliveries since the last count, by whole minutes, and raise or end the alarm."""
    feed = Feed.objects.get_or_create(application=application)[0]
    now = timezone.now()
    deliveries = WebhookDelivery.objects.filter(application=application)
    times = deliveries.values_list("received_at", flat=True)
    feed.last_at = times.order_by("-received_at").first() or feed.last_at
    feed.first_at = feed.first_at or times.order_by("received_at").first()
    if feed.first_at is None:
        return feed
    # Deliveries received in a minute are committed before the next minute has passed.
    counted, until = feed.counted_until, now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    start = counted or feed.first_at
    with transaction.atomic():
        mine = Feed.objects.filter(pk=feed.pk, counted_until=counted)
        if until > start and mine.update(counted_until=until):
            while start < until:
                end = min(hour_of(start) + HOUR, until)
                if number := deliveries.filter(received_at__gte=start, received_at__lt=end).count():
                    count(application, Metric.DELIVERED, number, at=start)
                start = end
            feed.counted_until = until
        Feed.objects.filter(pk=feed.pk).update(first_at=feed.first_at, last_at=feed.last_at)
    FeedCount.objects.filter(application=application, hour__lt=now - COUNTS_KEPT).delete()
    _update_alarm(feed, now)
    return feed


def _update_alarm(feed: Feed, now: datetime) -> None:
    """Raise, change or end the alarm."""
    alarm = alarm_of(feed, now)
    if alarm == feed.alarm:
        return
    mine = Feed.objects.filter(pk=feed.pk, alarm=feed.alarm)
    if not alarm:
        mine.update(alarm="", alarm_at=None, mailed_at=None)
    elif {feed.alarm, alarm} == {Alarm.SILENT, Alarm.GAP}:
        # Both have one cause, so a second e-mail is not sent.
        mine.update(alarm=alarm)
    else:
        mine.update(alarm=alarm, alarm_at=now, mailed_at=None)
    feed.refresh_from_db()


def alarm_of(feed: Feed, now: datetime) -> str:
    """The alarm at `now`; empty when nothing is wrong, or when there has never been a delivery."""
    if feed.last_at is None:
        return ""
    if now - feed.last_at >= LEAST_SILENCE and expected(feed, feed.last_at, now) >= SILENCE_EXPECTS:
        return Alarm.SILENT
    if unread_lately(feed.application, now):
        return Alarm.UNREAD
    return Alarm.GAP if feed.gap_at and now - feed.gap_at < GAP_LASTS else ""


def usual(feed: Feed, hour: datetime) -> float | None:
    """Usual number of deliveries in the hour that begins at `hour`; None without enough data."""
    return _middle(feed, [hour - timedelta(days=days) for days in range(1, USUAL_DAYS + 1)], LEAST_DAYS)


def lately(feed: Feed, hour: datetime) -> float | None:
    """Median number of deliveries in the hours before `hour`; None when there was no whole one."""
    return _middle(feed, [hour - number * HOUR for number in range(1, LATELY_HOURS + 1)], 1)


def _middle(feed: Feed, hours: list[datetime], least: int) -> float | None:
    """Median of the deliveries in those `hours` that the feed existed; None when these are fewer than `least`."""
    whole_hours = [each for each in hours if feed.first_at and each > feed.first_at]
    if len(whole_hours) < least:
        return None
    counts = dict(
        FeedCount.objects.filter(
            application=feed.application_id, what=Metric.DELIVERED, hour__in=whole_hours
        ).values_list("hour", "number")
    )
    return median(counts.get(each, 0) for each in whole_hours)


def expected(feed: Feed, since: datetime, until: datetime) -> float:
    """Usual number of deliveries between two times, counted up to SILENCE_EXPECTS.

    A feed that is too new for a usual rate by hour is expected to continue at its recent rate.
    """
    number, start = 0.0, since
    while start < until and number < SILENCE_EXPECTS and start - since < timedelta(days=USUAL_DAYS):
        end = min(hour_of(start) + HOUR, until)
        an_hour = usual(feed, hour_of(start))
        an_hour = lately(feed, hour_of(start)) if an_hour is None else an_hour
        number += (an_hour or 0) * ((end - start) / HOUR)
        start = end
    return number


@dataclass(frozen=True)
class LastHour:
    """Deliveries of an application in the last hour that is counted in full. None: not known (yet)."""

    application: Application
    last_at: datetime | None
    alarm: str
    begins: datetime | None
    number: int | None
    usual: float | None

    @property
    def ends(self) -> datetime | None:
        return self.begins + HOUR if self.begins else None


def last_hours(applications: Sequence[Application]) -> list[LastHour]:
    """The last hour of each application's feed, and what is usual then; two queries for all of them."""
    feeds = {feed.application_id: feed for feed in Feed.objects.filter(application__in=applications)}
    hours = {
        pk: hour_of(feed.counted_until) - HOUR
        for pk, feed in feeds.items()
        if feed.counted_until and feed.first_at and feed.first_at <= hour_of(feed.counted_until) - HOUR
    }
    days = [timedelta(days=number) for number in range(USUAL_DAYS + 1)]
    counted = FeedCount.objects.filter(
        what=Metric.DELIVERED, application__in=hours, hour__in={hour - ago for hour in hours.values() for ago in days}
    )
    numbers = {(pk, hour): number for pk, hour, number in counted.values_list("application_id", "hour", "number")}
    last: list[LastHour] = []
    for application in applications:
        feed, hour = feeds.get(application.pk), hours.get(application.pk)
        number = usual_number = None
        if feed and feed.first_at and hour:
            number = numbers.get((application.pk, hour), 0)
            before = [hour - ago for ago in days[1:] if hour - ago > feed.first_at]
            if len(before) >= LEAST_DAYS:
                usual_number = float(median(numbers.get((application.pk, each), 0) for each in before))
        last.append(
            LastHour(
                application=application,
                last_at=feed.last_at if feed else None,
                alarm=feed.alarm if feed else "",
                begins=hour,
                number=number,
                usual=usual_number,
            )
        )
    return last


def alarms() -> list[Feed]:
    """The feeds with an alarm."""
    return list(Feed.objects.exclude(alarm="").select_related("application").order_by("application__slug"))


@dataclass(frozen=True)
class Health:
    """A feed as shown on its page. Rates are deliveries a minute; None: not known yet."""

    application: Application
    last_at: datetime | None
    rate: float | None
    usual_rate: float | None
    counts: list[
        tuple[str, int, int]
    ]  # label, and number in the last hour and the last day (whole hours and the current one)
    # Why signatures cannot be verified (`Application.secret_problem`).
    secret_problem: str
    alarm: str
    alarm_at: datetime | None
    unread: Unread | None
    has_unread: bool
    has_apart: bool
    waiting: bool

    @property
    def alarm_message(self) -> str:
        return str(Alarm(self.alarm).label) if self.alarm else ""

    @property
    def instructions(self) -> str:
        return str(instructions(self.alarm))


def health(application: Application) -> Health:
    """The current health of the application's webhook. Uses no unbounded COUNT."""
    state = Feed.objects.filter(application=application).first() or Feed(application=application)
    now = timezone.now()
    newest = application.webhookdelivery_set.order_by("-received_at").values_list("received_at", flat=True).first()
    hours = {hour_of(now) - number * HOUR: number for number in range(25)}
    by_metric: dict[str, list[int]] = {metric: [0, 0] for metric in Metric}
    for hour, metric, number in FeedCount.objects.filter(application=application, hour__in=hours).values_list(
        "hour", "what", "number"
    ):
        if metric in by_metric:
            by_metric[metric][0] += number if hours[hour] <= 1 else 0
            by_metric[metric][1] += number
    usual_number = usual(state, hour_of(now))
    # A feed that began within the period is counted from its beginning.
    counted_from = max(hour_of(now) - HOUR, state.first_at or now)
    counted = (state.counted_until - counted_from) / timedelta(minutes=1) if state.counted_until else 0
    in_state = application.webhookdelivery_set.filter
    return Health(
        application=application,
        last_at=newest or state.last_at,
        rate=by_metric[Metric.DELIVERED][0] / counted if counted >= 1 else None,
        usual_rate=None if usual_number is None else usual_number / 60,
        counts=[
            (str(Metric(metric).label), lately, in_a_day)
            for metric, (lately, in_a_day) in by_metric.items()
            if in_a_day or metric == Metric.DELIVERED
        ],
        secret_problem=application.secret_problem,
        alarm=state.alarm,
        alarm_at=state.alarm_at,
        unread=unread_lately(application, now),
        has_unread=unread_deliveries(application).exists(),
        has_apart=any(by_metric[metric][1] for metric in (Metric.CUSTOMER_SERVICE, Metric.PUBSUB)),
        waiting=in_state(state=WebhookDelivery.State.WAITING).exists(),
    )


def state_of_all() -> str:
    """Machine-readable state of all feeds: "ok", or the alarms by application."""
    return "; ".join(f"{state.application.slug}: {state.alarm}" for state in alarms()) or "ok"
