"""Erasing what somebody wrote, on request: out of the archive, out of evidence, out of what the audit log may forget.

That it was erased, when, why and by whom, is an entry of the log, which stays whole (docs/adr/0012). What left the
console before (exports, backups, GoEasy's own history) is not reached.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.archive import rows
from moderation.archive.erasure import erase_messages, written
from moderation.archive.models import Conversation
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditPrivate
from moderation.audit.services import record
from moderation.ingestion.erasure import deliveries_with, erase_deliveries, still_there
from moderation.ingestion.models import WebhookDelivery
from moderation.privacy.events import TextErased
from moderation.reviewed import Aspects, Changed, Seen, aspect, not_shown_error
from recall.models import Evidence, Recall, RecallBatch
from recall.services import NotPossible

MAX_REASON_LENGTH = 200
LABELS = {
    "messages": _("Messages in the archive"),
    "evidence": _("Evidence of recalls"),
    "deliveries": _("Webhook deliveries"),
    "notes": _("What moderators noted about recalls of these messages"),
}
# Of each, in one transaction.
MAX_AT_ONCE = 2_000
# Of the conversations on hold, in the sentence that refuses.
MAX_HELD_NAMED = 5


@dataclass(frozen=True)
class ErasureScope:
    """What there is to erase, by key. `searches` and `notes`: private parts of the log by entry, each with its seq.

    `recalls` named these messages; `notes` are those of the people who recalled. `held`: conversations on hold, for
    which nothing is erased. `waiting`: deliveries that the worker has yet to read. `last_delivery`: the last one seen.
    """

    messages: list[int]
    evidence: list[int]
    deliveries: list[int]
    searches: dict[int, int]
    recalls: list[UUID]
    notes: dict[int, int]
    held: list[Conversation]
    waiting: int
    last_delivery: int

    def counts(self, *, with_notes: bool) -> dict[str, int]:
        """How much goes of each; notes only when they are asked for."""
        names = ("messages", "evidence", "deliveries", "searches")
        return {**{name: len(getattr(self, name)) for name in names}, "notes": len(self.notes) if with_notes else 0}

    def aspects(self) -> Aspects:
        """What a page shows to a person who erases it. Recorded searches are left out: looking adds to them."""
        names = ("messages", "evidence", "deliveries", "notes")
        return {name: aspect(sorted(getattr(self, name))) for name in names}


@dataclass(frozen=True)
class ErasureRequest:
    """Whose text is to be erased: what `sender_id` wrote in the application at `timestamps` (ms), or ever."""

    application: Application
    sender_id: str
    timestamps: Collection[int] = ()

    def evidence(self) -> QuerySet[Evidence]:
        """The evidence of it, erased or not."""
        evidence = Evidence.objects.filter(item__recall__application=self.application, sender_id=self.sender_id)
        return evidence.filter(item__timestamp__in=self.timestamps) if self.timestamps else evidence

    def deliveries(self, after: int = 0) -> tuple[dict[int, str], int]:
        """Deliveries with keys beyond `after` that hold it, each with its state; and the last that was looked at."""
        last = WebhookDelivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        return deliveries_with(self.application, self.sender_id, self.timestamps, after=after), last


def find(request: ErasureRequest) -> ErasureScope:
    """What there is to erase. Reads every kept delivery."""
    deliveries, last = request.deliveries()
    messages = written(request.application, request.sender_id, request.timestamps).order_by("pk")
    by_key = dict(messages.values_list("pk", "conversation_id"))
    conversations, kept, recalls = set(by_key.values()), [], set()
    names = ("pk", "sha256", "item__recall", "item__recall__conversation")
    for pk, sha256, recall, conversation in request.evidence().order_by("pk").values_list(*names):
        recalls.add(recall)
        if sha256:
            kept.append(pk)
            conversations.add(conversation)
    parts = AuditPrivate.objects.exclude(salt="")
    return ErasureScope(
        messages=list(by_key),
        evidence=kept,
        deliveries=list(deliveries),
        searches=_searches_for(request, parts),
        recalls=sorted(recalls),
        notes=_notes_of(recalls, parts),
        held=_on_hold(conversations),
        waiting=sum(state == WebhookDelivery.State.WAITING for state in deliveries.values()),
        last_delivery=last,
    )


def _portion(request: ErasureRequest, scope: ErasureScope) -> ErasureScope:
    """Some of what `find()` has seen and is still there, with what came since; locked, inside a transaction."""
    newer, last = request.deliveries(scope.last_delivery)
    messages = written(request.application, request.sender_id, request.timestamps).order_by("pk")
    locked = messages.select_for_update(of=("self",)).values_list("pk", "conversation_id")
    by_key = dict(locked[:MAX_AT_ONCE])
    names = ("pk", "item__recall__conversation")
    kept = dict(request.evidence().exclude(sha256="").order_by("pk").values_list(*names)[:MAX_AT_ONCE])
    # Before an entry is sealed it has no number by which it could be named.
    parts = AuditPrivate.objects.filter(entry__seal__isnull=False).exclude(salt="")
    return replace(
        scope,
        messages=list(by_key),
        evidence=list(kept),
        deliveries=[*still_there(scope.deliveries[:MAX_AT_ONCE]), *newer],
        searches=_searches_for(request, parts),
        notes=_notes_of(scope.recalls, parts),
        held=_on_hold({*by_key.values(), *kept.values()}, lock=True),
        waiting=sum(state == WebhookDelivery.State.WAITING for state in newer.values()),
        last_delivery=last,
    )


def _searches_for(request: ErasureRequest, parts: QuerySet[AuditPrivate]) -> dict[int, int]:
    """Recorded searches, those of `parts`, for all that the sender wrote."""
    if request.timestamps:
        return {}
    sender_id, slug = request.sender_id, request.application.slug
    # As JSON has it. The comparison is coarse, and what it finds is looked at.
    about = parts.filter(entry__action=Action.SEARCHED, content__contains=json.dumps(sender_id)[1:-1])
    searches = {}
    for pk, seq, content in about.values_list("pk", "entry__seal__seq", "content").iterator():
        search = json.loads(content)["asked"]
        values = (each for value in search.values() for each in (value if isinstance(value, list) else [value]))
        # Several senders of one search are written with commas between.
        names_it = any(each == sender_id or sender_id in each.split(", ") for each in values if isinstance(each, str))
        of_app = search.get("app", slug)
        if names_it and slug in (of_app if isinstance(of_app, list) else [of_app]):
            searches[pk] = seq
    return searches


def _notes_of(recalls: Iterable[UUID], parts: QuerySet[AuditPrivate]) -> dict[int, int]:
    """What people noted, of `parts`, when they asked for these recalls, or settled them."""
    notes: dict[int, int] = {}
    for some in rows.in_parts(sorted(recalls)):
        notes |= dict(parts.filter(entry__recall__in=some).values_list("pk", "entry__seal__seq"))
    return notes


def _on_hold(conversations: Iterable[int], *, lock: bool = False) -> list[Conversation]:
    """Those that are on hold; `lock`: nobody puts another of them on hold before the transaction ends."""
    held: list[Conversation] = []
    for some in rows.in_parts(sorted(conversations)):
        candidates = Conversation.objects.filter(pk__in=some).order_by("pk")
        candidates = candidates.select_for_update() if lock else candidates.filter(held_at__isnull=False)
        held += [each for each in candidates if each.held_at]
    return held


def problem_of(scope: ErasureScope, *, with_notes: bool) -> NotPossible | None:
    """Why what was found cannot be erased; None when it can."""
    if scope.held:
        names = ", ".join(map(str, scope.held[:MAX_HELD_NAMED])) + (" …" if scope.held[MAX_HELD_NAMED:] else "")
        return NotPossible(_("On hold, so that nothing is erased: %(names)s. End the hold first.") % {"names": names})
    if scope.waiting:
        return NotPossible(_("Deliveries that hold such messages wait for the worker. Try again in a minute."))
    if not any(scope.counts(with_notes=with_notes).values()):
        return NotPossible(_("There is nothing to erase."))
    return None


def erase(
    request: ErasureRequest, *, actor: str, reason: str, with_notes: bool = False, shown: Seen | None = None
) -> dict[str, int]:
    """Erase what `find()` finds; returns how much of each that was.

    In portions, each recorded by itself before it goes, so that nobody who writes has to wait for long. `actor` is a
    user name; `reason`, a code or a reference, stays in the log for ever. `with_notes`: also what people noted about
    recalls of these messages. `shown`: what the person was. Raises Changed before anything goes, and NotPossible, as
    soon as a conversation is put on hold.
    """
    Sealer().seal()
    # What takes long is done before anybody has to wait for it.
    scope = find(request)
    if problem := problem_of(scope, with_notes=with_notes):
        raise problem
    if shown and not shown.aspects:
        raise not_shown_error()
    if shown and (differences := shown.differences(scope.aspects())):
        raise Changed(
            [
                _("%(what)s: %(before)d when you looked, %(now)d now.")
                % {"what": LABELS[name], "before": len(getattr(scope, name)) - more, "now": len(getattr(scope, name))}
                for name, more in differences.items()
            ]
        )
    done: Counter[str] = Counter()
    while True:
        with rows.writing():
            # One at a time: what is asked for twice at once is told once.
            Application.objects.select_for_update(no_key=True).get(pk=request.application.pk)
            portion = _portion(request, scope)
            counts = portion.counts(with_notes=with_notes)
            is_over = bool(done) and not (any(counts.values()) or scope.deliveries)
            if not is_over:
                if problem := problem_of(portion, with_notes=with_notes):
                    raise problem
                _erase(request, portion, counts, actor=actor, reason=reason, with_notes=with_notes)
        done.update(counts)
        if is_over:
            return dict(done)
        scope = replace(scope, deliveries=scope.deliveries[MAX_AT_ONCE:], last_delivery=portion.last_delivery)


def _erase(
    request: ErasureRequest, portion: ErasureScope, counts: dict[str, int], *, actor: str, reason: str, with_notes: bool
) -> None:
    """Record that what was found is erased, and erase it."""
    parts = {**portion.searches, **(portion.notes if with_notes else {})}
    erasure_entry = record(
        TextErased(
            actor=actor,
            app=request.application.slug,
            timestamps=sorted(request.timestamps) or None,
            sender=request.sender_id,
            reason=reason,
            messages=counts["messages"],
            evidence=counts["evidence"],
            deliveries=counts["deliveries"],
            searches=counts["searches"],
            notes=counts["notes"],
            entries=sorted(parts.values()),
        )
    )
    erase_messages(portion.messages)
    erase_deliveries(portion.deliveries)
    for some in rows.in_parts(portion.evidence):
        Evidence.objects.filter(pk__in=some).update(raw="", salt="", sha256="")
    for some in rows.in_parts(sorted(parts)):
        AuditPrivate.objects.filter(pk__in=some).erase(erasure_entry)
    for some in rows.in_parts(portion.recalls if with_notes else []):
        Recall.objects.filter(pk__in=some).update(note="")
        RecallBatch.objects.filter(recall__in=some).update(settlement_note="")
