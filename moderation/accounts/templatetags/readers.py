"""Readers who open more than is usual, for home."""

from django import template

from moderation.accounts.models import ReaderAlarm
from moderation.accounts.readers import alarms_of_late

register = template.Library()


@register.simple_tag
def reader_alarms() -> list[ReaderAlarm]:
    """Alarms of the last day, the latest first."""
    return alarms_of_late()
