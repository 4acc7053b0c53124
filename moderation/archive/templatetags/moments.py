"""Template filters for times, in the reader's zone with UTC as the title. Message times are ms since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from moderation.archive.models import Message

register = template.Library()

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local(ms: int) -> datetime | None:
    """`ms` as a datetime in the reader's zone; None when it is out of range."""
    try:
        return timezone.localtime(EPOCH + timedelta(milliseconds=ms))
    except (OverflowError, ValueError):
        return None


def _time(at: datetime, text: str) -> SafeString:
    utc = at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    markup = '<time datetime="{}Z" data-offset="{}" title="UTC {}">{}</time>'
    return format_html(markup, utc.replace(" ", "T"), _offset(at), utc, text)


def _offset(at: datetime) -> str:
    """Shown beside a time, because the offset from UTC changes with daylight saving."""
    return f"UTC{at:%z}"[:6] + ":" + f"{at:%z}"[3:5]


def _exactly(at: datetime) -> str:
    """As 2026-01-31 14:20:05.123 UTC+08:00."""
    return f"{at.replace(tzinfo=None).isoformat(sep=' ', timespec='milliseconds')} {_offset(at)}"


def implausible(timestamp: int) -> str:
    """Text for a timestamp at which no message can have been sent."""
    return _("time not plausible: %(timestamp)s") % {"timestamp": timestamp}


@register.filter
def sent(message: Message) -> SafeString | str:
    """`moment` of a message's own timestamp; the bare number when it is implausible."""
    return moment(message.timestamp) if message.placed_at is None else implausible(message.timestamp)


@register.filter
def sent_clock(message: Message) -> SafeString | str:
    """`clock` of a message's own timestamp; the bare number when it is implausible."""
    return clock(message.timestamp) if message.placed_at is None else implausible(message.timestamp)


@register.filter
def moment(value: int | datetime | None) -> SafeString | str:
    """A message time (ms) to the millisecond, or a datetime to the second; the bare number when it is out of range."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        at = timezone.localtime(value)
        return _time(at, at.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds"))
    if (local_time := local(value)) is None:
        return implausible(value)
    return _time(local_time, local_time.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds"))


@register.filter
def clock(value: int | datetime) -> SafeString | str:
    """`moment` without the date, for times shown under a date or of today."""
    if isinstance(value, datetime):
        at = timezone.localtime(value)
        return _time(at, at.time().isoformat(timespec="seconds"))
    if (local_time := local(value)) is None:
        return implausible(value)
    return _time(local_time, local_time.time().isoformat(timespec="milliseconds"))


@register.filter
def exactly(at: datetime) -> str:
    """A time as plain text with its offset, for what leaves the page: 2026-01-31 14:20:05 UTC+08:00."""
    here = timezone.localtime(at)
    return f"{here.replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')} {_offset(here)}"


@register.filter
def hour_and_minute(ms: int) -> SafeString | str:
    """The time of a message (ms) as 14:20, exactly and in ms in the title; the bare number when out of range.

    `static/js/rows.js` adds UTC to the title.
    """
    if (at := local(ms)) is None:
        return implausible(ms)
    return format_html('<time class="when" title="{} · {}">{}</time>', _exactly(at), ms, f"{at:%H:%M}")


@register.filter
def ago(ms: int) -> SafeString | str:
    """A past time (ms) as lists show it: "3 min", "14:20", "Mon", "2 Jan"; exactly, and in ms, on hover."""
    if (at := local(ms)) is None:
        return implausible(ms)
    return format_html('<time title="{} · {}">{}</time>', _exactly(at), ms, _in_short(at, timezone.localtime()))


def _in_short(at: datetime, now: datetime) -> str:
    """`at` in as few characters as tell it apart, both in the reader's zone."""
    minutes, days = (now - at).total_seconds() / 60, (now.date() - at.date()).days
    if -1 < minutes < 1:
        return _("now")
    if 0 < minutes < 60:
        return _("%(n)d min") % {"n": minutes}
    if days == 0:
        return f"{at:%H:%M}"
    if 0 < days < 7:
        return date_format(at, "D")
    # Django's format letters: the day and the short month.
    return date_format(at, _("j M") if at.year == now.year else _("j M Y"))


@register.filter
def day(ms: int) -> str:
    """The date of `ms` in the reader's zone, as 2026-01-31; empty when it is out of range."""
    at = local(ms)
    return at.date().isoformat() if at else ""


@register.filter
def weekday(ms: int) -> str:
    """The day of the week of `ms` in the reader's zone and language."""
    at = local(ms)
    return date_format(at, "l") if at else ""


@register.simple_tag
def zone() -> str:
    """The reader's zone and its current UTC offset, such as "Asia/Shanghai (UTC+08:00)"."""
    offset = f"{timezone.localtime():%z}"
    return f"{timezone.get_current_timezone_name()} (UTC{offset[:3]}:{offset[3:5]})"
