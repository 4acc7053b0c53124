"""Template tags for recalls and for the raw messages that they keep."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django import template

from moderation.applications.problems import problem_message
from moderation.archive.messages import read
from moderation.archive.models import Message
from moderation.archive.rows import in_parts
from recall.models import Named, Recall, RecallBatch, RecallItem, named_by
from recall.refusals import Refusal, RefusedMessages, refusals_of, refused_messages
from recall.timestamps import can_be_named

register = template.Library()


@register.simple_tag
def recalls_of(hits: Iterable[Any]) -> dict[tuple[int, int], Named]:
    """Our recalls of the hits' messages, by conversation and timestamp (ms); one query."""
    # Filter by time alone: few messages share a millisecond.
    return named_by(RecallItem.objects.filter(timestamp__in={hit.message.timestamp for hit in hits}))


@register.simple_tag
def gone_besides(messages: Iterable[Message]) -> int:
    """Number of `messages` that are not marked as recalled although history showed that they are gone."""
    unmarked = [message for message in messages if not message.recalled]
    named: dict[tuple[int, int], Named] = {}
    for some in in_parts([message.timestamp for message in unmarked]):
        named |= named_by(RecallItem.objects.filter(timestamp__in=some))
    return sum(each is not None and each.is_gone for each in (of(named, message) for message in unmarked))


@register.filter
def of(named: dict[tuple[int, int], Named], message: Message) -> Named | None:
    """The entry of `recalls_of` for this message."""
    return named.get((message.conversation_id, message.timestamp))


@register.filter
def nameable(message: Message) -> bool:
    """Whether a recall can name the message: GoEasy knows it by its time alone."""
    return can_be_named(message.timestamp)


@register.filter
def excerpt(raw: str, length: int = 160) -> str:
    """A one-line excerpt of a raw message (GoEasy's JSON text)."""
    return read(raw).line(length)


@register.filter
def as_json(value: object) -> str:
    """`value` as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


@register.filter
def batch_state(state: str) -> str:
    """Label of a batch's state."""
    return str(RecallBatch.State(state).label)


@register.filter
def in_order(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """The sizes by state, in the order in which a batch goes through the states."""
    return [(state.value, sizes[state]) for state in RecallBatch.State if sizes.get(state)]


@register.filter
def problem_said(kind: str) -> str:
    """Message for an attempt's problem."""
    return str(problem_message(kind))


@register.simple_tag
def refusals(recall: Recall) -> list[Refusal]:
    """GoEasy's refusals of the recall's calls, with meaning and advice."""
    return refusals_of(recall)


@register.simple_tag
def messages_refused(recall: Recall) -> RefusedMessages:
    """Numbers of the refused messages by what history shows."""
    return refused_messages(recall)
