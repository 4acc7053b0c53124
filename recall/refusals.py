"""Meanings of GoEasy's refusals and advice for each; equal refusals of a recall are grouped.

A refusal says that GoEasy did not carry out a call. Only history shows whether the messages are still there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.db.models import Count
from django.db.models.functions import Left
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.outbox.models import Attempt
from recall.models import BEING_CHECKED, Recall, RecallBatch, RecallItem

# Characters shown of an answer's content, which may be a whole page of HTML.
SHOWN = 200

# GoEasy documents 401 alone; the others are what HTTP means by them.
MEANINGS: dict[int, tuple[str | Promise, str | Promise]] = {
    401: (
        _("GoEasy does not accept the application's key."),
        _("An admin sets a common key (BC-…) or a REST key of this application; then send it again."),
    ),
    403: (
        _("The key may not do this."),
        _("An admin checks that it is a common key (BC-…) or a REST key of this application; then send it again."),
    ),
    404: (
        _("There is no such service at that address."),
        _("An admin checks GOEASY_REST_HOST, or the application's region; then send it again."),
    ),
    429: (_("Too many requests in a short time."), _("Wait a minute, then send it again.")),
}
BUSY = (_("GoEasy cannot serve requests at the moment."), _("Wait a few minutes, then send it again."))
OTHER = (
    _("GoEasy does not document this code; its answer says what is wrong."),
    _("Compare the conversation’s ids and the application with GoEasy’s. Sent again as it is, it may be refused."),
)


@dataclass(frozen=True)
class Refusal:
    """One way in which calls were refused. `code` is the answer's own, or else `http_status` stands for it."""

    code: int | None
    http_status: int | None
    content: str
    calls: int

    @property
    def _number(self) -> int:
        return self.code or self.http_status or 0

    @property
    def meaning(self) -> str:
        return str(self._sentences[0])

    @property
    def advice(self) -> str:
        return str(self._sentences[1])

    @property
    def _sentences(self) -> tuple[str | Promise, str | Promise]:
        return MEANINGS.get(self._number, BUSY if 500 <= self._number <= 599 else OTHER)


@dataclass(frozen=True)
class RefusedMessages:
    """Numbers of the refused calls' timestamps by what history shows; `checking`: it is about to be read."""

    checking: bool
    gone: int
    visible: int
    unknown: int


def refused_messages(recall: Recall) -> RefusedMessages:
    """Count the messages of the recall's refused calls by what history shows."""
    batches = recall.batches.filter(state=RecallBatch.State.REFUSED)
    counted = Counter(
        dict(recall.items.filter(batch__in=batches).order_by().values_list("verification").annotate(n=Count("pk")))
    )
    states = RecallItem.Verification
    return RefusedMessages(
        checking=batches.filter(BEING_CHECKED).exists(),
        gone=counted.pop(states.GONE, 0),
        visible=counted.pop(states.STILL_VISIBLE, 0),
        unknown=counted.total(),
    )


def refusals_of(recall: Recall) -> list[Refusal]:
    """Refusals of the recall's calls, the most frequent first; only the last refusal of each call counts."""
    rows = (
        Attempt.objects.filter(
            call__recall_batch__recall=recall,
            call__recall_batch__state=RecallBatch.State.REFUSED,
            outcome=Attempt.Outcome.REFUSED,
        )
        .order_by("number")
        .values_list("call_id", "response_code", "http_status", Left("response_content", SHOWN))
    )
    last = {batch: tuple(answer) for batch, *answer in rows}
    contents_of: dict[tuple[int | None, int | None], list[str]] = {}
    for code, http_status, content in last.values():
        contents_of.setdefault((code, http_status), []).append(content)
    refusals = [Refusal(*answer, contents[0], len(contents)) for answer, contents in contents_of.items()]
    return sorted(refusals, key=lambda refusal: -refusal.calls)
