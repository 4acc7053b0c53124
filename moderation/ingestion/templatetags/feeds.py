"""What home shows of the webhooks' feeds."""

from django import template

from moderation.ingestion import feed
from moderation.ingestion.models import Feed

register = template.Library()


@register.simple_tag
def feed_alarms() -> list[tuple[Feed, str]]:
    """The feeds that something is wrong with, each with what that is."""
    return [(state, str(feed.Alarm(state.alarm).label)) for state in feed.alarms()]
