"""Template tag for the reader alarms on home."""

from django import template

from moderation.accounts.models import ReaderAlarm
from moderation.accounts.readers import recent_alarms

register = template.Library()


@register.simple_tag
def reader_alarms() -> list[ReaderAlarm]:
    """Alarms of the last day, the latest first."""
    return recent_alarms()
