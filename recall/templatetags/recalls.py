"""What templates ask about recalls and about the raw messages that they keep."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django import template
from django.db.models import Exists, OuterRef, Q

from moderation.archive import payloads
from moderation.archive.models import Conversation
from moderation.archive.problems import problem_sentence
from recall.models import NEEDS_A_PERSON, Recall, RecallBatch
from recall.refusals import Refusal, RefusedMessages, refusals_of, refused_messages

register = template.Library()

UNFINISHED = (Recall.State.WAITING, Recall.State.SENDING, Recall.State.STOPPED)


@register.simple_tag
def unfinished_recalls(conversations: Iterable[Conversation]) -> set[int]:
    """The ids of those conversations that have a recall which is not over, or whose outcome nobody knows."""
    undecided = Exists(RecallBatch.objects.filter(NEEDS_A_PERSON, recall=OuterRef("pk")))
    return set(
        Recall.objects.filter(Q(state__in=UNFINISHED) | undecided, conversation__in=[each.pk for each in conversations])
        .order_by()
        .values_list("conversation_id", flat=True)
    )


@register.filter
def excerpt(raw: str, length: int = 160) -> str:
    """One line that tells a raw message (GoEasy's JSON text) from others."""
    return payloads.excerpt(payloads.read(raw), length)


@register.filter
def as_json(value: object) -> str:
    """`value` as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


@register.filter
def batch_state(state: str) -> str:
    """A batch's state in words."""
    return str(RecallBatch.State(state).label)


@register.filter
def in_order(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """What there is of each state, in the order in which a batch goes through them."""
    return [(state.value, sizes[state]) for state in RecallBatch.State if sizes.get(state)]


@register.filter
def problem_said(kind: str) -> str:
    """Why an attempt has no answer, or not a good one, as a sentence."""
    return str(problem_sentence(kind))


@register.simple_tag
def refusals(recall: Recall) -> list[Refusal]:
    """How GoEasy refused the recall's calls, what that means and what to do."""
    return refusals_of(recall)


@register.simple_tag
def messages_refused(recall: Recall) -> RefusedMessages:
    """What is known of the messages that GoEasy refused to take back."""
    return refused_messages(recall)
