"""Audit events of recalls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from moderation.audit.events import Detail, Event, Private, RowChanged
from moderation.audit.models import Action
from moderation.outbox.models import Attempt
from recall.models import Recall, RecallBatch, RecallReason

if TYPE_CHECKING:
    from moderation.audit.sentences import Facts


def reason_labels() -> dict[str, str]:
    """The reasons' labels in the reader's language, by code."""
    return {reason.code: str(reason) for reason in RecallReason.objects.all()}


EVIDENCE = '`{"timestamp", "message_id", "commitment"}` of each; `"sha256"` for what has no salted commitment'


@dataclass(frozen=True, kw_only=True)
class ReasonChanged(RowChanged):
    """A reason for recalls was added, changed or deleted."""

    action = Action.REASON_CHANGED
    sentences = {
        "added": _("%(actor)s added the reason “%(name)s”"),
        "changed": _("%(actor)s changed the reason “%(name)s”"),
        "deleted": _("%(actor)s deleted the reason “%(name)s”"),
    }


@dataclass(frozen=True, kw_only=True)
class RecallEvent(Event):
    """A step of a recall; the first three are `Recall.for_audit()`."""

    app: str
    conversation: Mapping[str, str]
    recall: UUID


@dataclass(frozen=True, kw_only=True)
class CallEvent(RecallEvent):
    """A step of one call of a recall."""

    batch: int
    attempt: int
    timestamps: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class RecallRequested(RecallEvent):
    """Somebody wants messages recalled, or calls of a recall sent again."""

    action = Action.REQUESTED

    timestamps: Sequence[int]
    reason: Annotated[str | None, Detail(_("Reason"), live_values=reason_labels, is_searched=True)] = None
    recaller: Annotated[Mapping[str, Any] | None, Detail(_("Shown to app users as the recaller"))] = None
    recaller_overridden: Annotated[bool, Detail(_("Recaller changed for this recall"))] = False
    calls: Annotated[int | None, Detail(_("Requests"))] = None
    sweep: Annotated[UUID | None, Detail(_("Sweep"), is_searched=True)] = None
    reviewed: Annotated[str | None, Detail(_("Digest of what was reviewed"))] = None
    again: Annotated[bool, Detail(_("Sent again"))] = False
    batches: Annotated[Sequence[int] | None, Detail(_("Requests, counted from 0"))] = None
    note: Annotated[str, Private(_("Note"))] = ""

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "messages": facts.messages, "where": facts.where}
        if facts.has("again"):
            return gettext("%(actor)s retried %(messages)s in %(where)s") % said
        if facts.has("reason"):
            said["reason"] = facts.text("reason")
            return gettext("%(actor)s requested the recall of %(messages)s in %(where)s: %(reason)s") % said
        return gettext("%(actor)s requested the recall of %(messages)s in %(where)s") % said


@dataclass(frozen=True, kw_only=True)
class CallSending(CallEvent):
    """A call is about to leave: committed before the request."""

    action = Action.SENDING
    # A call that was about to be sent has an outcome, and its entry the same messages.
    is_indexed = False

    request: Mapping[str, object]
    worker: Annotated[str, Detail(_("Worker"))]
    evidence: Annotated[Sequence[Mapping[str, Any]], Detail(_("Evidence kept before"), meaning=EVIDENCE)]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"call": facts.call, "messages": facts.messages, "where": facts.where, "actor": facts.actor}
        return gettext("Request %(call)s of %(actor)s’s recall (%(messages)s in %(where)s) was about to be sent") % said


@dataclass(frozen=True, kw_only=True)
class CallOutcome(CallEvent):
    """How a call ended."""

    http_status: int | None = None
    latency_ms: int | None = None
    outcome: Annotated[str, Detail(_("Outcome"), Attempt.Outcome)]
    problem: Annotated[str | None, Detail(_("Problem"))] = None
    message: Annotated[str | None, Detail(_("What went wrong"))] = None
    sent_again_after_s: Annotated[float | None, Detail(_("Sent again after (s)"))] = None
    late: Annotated[bool, Detail(_("Came after its outcome was called unknown"))] = False


@dataclass(frozen=True, kw_only=True)
class CallAnswered(CallOutcome):
    """GoEasy answered a call."""

    action = Action.ANSWERED

    response_code: int | None
    response_content: str
    unusual: Annotated[bool, Detail(_("Accepted with an unusual answer"))] = False

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"call": facts.call, "where": facts.where, "outcome": facts.text("outcome"), "actor": facts.actor}
        if facts.entry.response_code is None:
            text = gettext("GoEasy answered request %(call)s of %(actor)s’s recall in %(where)s, no code: %(outcome)s")
            return text % said
        said["code"] = facts.entry.response_code
        text = gettext(
            "GoEasy answered request %(call)s of %(actor)s’s recall in %(where)s, code %(code)s: %(outcome)s"
        )
        return text % said


@dataclass(frozen=True, kw_only=True)
class CallUnanswered(CallOutcome):
    """No answer came to a call, or none that could be read."""

    action = Action.UNANSWERED

    worker: Annotated[str | None, Detail(_("Worker"))] = None

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"call": facts.call, "where": facts.where, "outcome": facts.text("outcome")}
        return gettext("No answer to request %(call)s in %(where)s: %(outcome)s") % said


@dataclass(frozen=True, kw_only=True)
class RecallCancelled(RecallEvent):
    """Somebody cancelled what had not left yet of a recall."""

    action = Action.CANCELLED

    timestamps: Sequence[int]
    batches: Annotated[Sequence[int], Detail(_("Requests, counted from 0"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "messages": facts.messages, "where": facts.where}
        return gettext("%(actor)s cancelled the recall of %(messages)s in %(where)s") % said


@dataclass(frozen=True, kw_only=True)
class RecallStopped(RecallEvent):
    """Nothing more of a recall is sent until a person acts."""

    action = Action.STOPPED

    timestamps: Sequence[int] | None = None
    reason: Annotated[str, Detail(_("Why"), Recall.StopReason, is_searched=True)]
    was: Annotated[str | None, Detail(_("State before"), Recall.State)] = None
    unknown: Annotated[Sequence[int] | None, Detail(_("Requests with an unknown outcome, from 0"))] = None

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"where": facts.where, "reason": facts.text("reason")}
        return gettext("The recall in %(where)s was stopped: %(reason)s") % said


@dataclass(frozen=True, kw_only=True)
class CallVerified(CallEvent):
    """History was read for what became of a call's messages."""

    action = Action.VERIFIED

    gone: Annotated[Sequence[int] | None, Detail(_("Verified as removed"))] = None
    still_visible: Annotated[Sequence[int] | None, Detail(_("Still visible"))] = None
    unknowable: Annotated[Sequence[int] | None, Detail(_("Cannot be verified"))] = None
    settlement: Annotated[str | None, Detail(_("What follows"), RecallBatch.Settlement)] = None
    problem: Annotated[str | None, Detail(_("Problem"))] = None
    seen_by_recall: Annotated[UUID | None, Detail(_("Seen by a later recall"), is_searched=True)] = None

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        numbers = {name: facts.number(name) for name in ("gone", "still_visible", "unknowable")}
        if not any(numbers.values()):
            return super().sentence(facts)
        return gettext(
            "History of %(where)s was read for request %(call)s: removed %(gone)s, still visible %(still_visible)s, "
            "cannot be verified %(unknowable)s"
        ) % {"call": facts.call, "where": facts.where, **numbers}


@dataclass(frozen=True, kw_only=True)
class RecallSettled(RecallEvent):
    """A person decided on calls of which nobody knows what became of them."""

    action = Action.SETTLED

    timestamps: Sequence[int]
    batches: Annotated[Sequence[int], Detail(_("Requests, counted from 0"))]
    send_again: Annotated[bool, Detail(_("Send again"))]
    note: Annotated[str, Private(_("Note"))]

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "messages": facts.messages, "where": facts.where}
        if facts.value("send_again"):
            return gettext("%(actor)s decided to retry %(messages)s in %(where)s") % said
        return gettext("%(actor)s decided to leave %(messages)s in %(where)s as they are") % said


@dataclass(frozen=True, kw_only=True)
class GoEasyChecked(Event):
    """A step of the check whether GoEasy behaves as the console assumes (`manage.py goeasy_check`)."""

    action = Action.GOEASY_CHECKED

    app: str
    conversation: Mapping[str, str]
    request: Mapping[str, object] | None = None
    http_status: int | None = None
    response_code: int | None = None
    latency_ms: int | None = None
    step: Annotated[str, Detail(_("Step"))]
    check: Annotated[str, Detail(_("Check"), is_searched=True)]
    messages: Annotated[int | None, Detail(_("Messages to send"))] = None
    problem: Annotated[str | None, Detail(_("Problem"))] = None
    results: Annotated[Mapping[str, Any] | None, Detail(_("Assumptions by result"))] = None
    measured: Annotated[Mapping[str, Any] | None, Detail(_("Measured (s)"))] = None
    file: Annotated[str | None, Detail(_("File with the answers"))] = None

    @classmethod
    def sentence(cls, facts: Facts) -> str:
        said = {"actor": facts.actor, "app": facts.entry.app, "step": facts.text("step")}
        return gettext("%(actor)s checked GoEasy for %(app)s: %(step)s") % said
