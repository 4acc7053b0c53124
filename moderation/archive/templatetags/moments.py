"""Times as people read them: in the reader's zone, with UTC at hand. Message times are ms since the epoch, UTC."""

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
    """The time of `ms` in the reader's zone; None when no calendar reaches that far."""
    try:
        return timezone.localtime(EPOCH + timedelta(milliseconds=ms))
    except (OverflowError, ValueError):
        return None


def _time(at: datetime, text: str) -> SafeString:
    utc = at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    # Printed beside it: the zone's distance from UTC differs by the season.
    offset = f"UTC{at:%z}"[:6] + ":" + f"{at:%z}"[3:5]
    markup = '<time datetime="{}Z" data-offset="{}" title="UTC {}">{}</time>'
    return format_html(markup, utc.replace(" ", "T"), offset, utc, text)


def implausible(timestamp: int) -> str:
    """That a number is no time at which a message can have been sent."""
    return _("time not plausible: %(timestamp)s") % {"timestamp": timestamp}


@register.filter
def sent(message: Message) -> SafeString | str:
    """`moment` of when a message was sent, as it says; never a date where the number is no plausible time."""
    return moment(message.timestamp) if message.placed_at is None else implausible(message.timestamp)


@register.filter
def sent_clock(message: Message) -> SafeString | str:
    """`clock` of when a message was sent, as it says; never a time where the number is no plausible one."""
    return clock(message.timestamp) if message.placed_at is None else implausible(message.timestamp)


@register.filter
def moment(value: int | datetime | None) -> SafeString | str:
    """A message's time (ms) to the millisecond, or another time to the second; a number that is no date as such."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        at = timezone.localtime(value)
        return _time(at, at.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds"))
    if (found := local(value)) is None:
        return implausible(value)
    return _time(found, found.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds"))


@register.filter
def clock(value: int | datetime) -> SafeString | str:
    """`moment` without the date: for what stands below its day, or is of today."""
    if isinstance(value, datetime):
        at = timezone.localtime(value)
        return _time(at, at.time().isoformat(timespec="seconds"))
    if (found := local(value)) is None:
        return implausible(value)
    return _time(found, found.time().isoformat(timespec="milliseconds"))


@register.filter
def day(ms: int) -> str:
    """The date of `ms` in the reader's zone, as 2026-01-31; empty when it is no date."""
    at = local(ms)
    return at.date().isoformat() if at else ""


@register.filter
def weekday(ms: int) -> str:
    """The day of the week of `ms` in the reader's zone and language."""
    at = local(ms)
    return date_format(at, "l") if at else ""


@register.simple_tag
def zone() -> str:
    """The reader's zone and its present distance from UTC, such as "Asia/Shanghai (UTC+08:00)"."""
    offset = f"{timezone.localtime():%z}"
    return f"{timezone.get_current_timezone_name()} (UTC{offset[:3]}:{offset[3:5]})"
