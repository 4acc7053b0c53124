"""Template tags for the webhook feeds on the home page."""

from django import template

from moderation.ingestion import feed
from moderation.ingestion.models import Feed

register = template.Library()


@register.simple_tag
def feed_alarms() -> list[tuple[Feed, str]]:
    """The feeds with an alarm, each with the alarm's text."""
    return [(state, str(feed.Alarm(state.alarm).label)) for state in feed.alarms()]
