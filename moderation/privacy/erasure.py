"""Erasure of a sender's text on request: from the archive, evidence, and the erasable parts of the audit log.

The erasure itself is recorded in the log, which stays verifiable (docs/adr/0012). Copies that left the console before
(exports, backups) and GoEasy's own history are not affected.
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
# Rows of each kind erased in one transaction.
MAX_AT_ONCE = 2_000
# Conversations on hold that the refusal names.
MAX_HELD_NAMED = 5


@dataclass(frozen=True)
class ErasureScope:
    """Keys of the rows to erase. `searches` and `notes`: private parts of the log by entry, each with its seq.

    `recalls` named these messages; `notes` are the moderators' notes on them. `held`: conversations on hold, which
    prevent the erasure. `waiting`: number of deliveries that the worker has not read yet. `last_delivery`: key of the
    last one examined.
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
        """The number of rows of each kind; notes only if requested."""
        names = ("messages", "evidence", "deliveries", "searches")
        return {**{name: len(getattr(self, name)) for name in names}, "notes": len(self.notes) if with_notes else 0}

    def aspects(self) -> Aspects:
        """What the page shows before the erasure. Recorded searches are left out: viewing the sender adds to them."""
        names = ("messages", "evidence", "deliveries", "notes")
        return {name: aspect(sorted(getattr(self, name))) for name in names}


@dataclass(frozen=True)
class ErasureRequest:
    """A request to erase what `sender_id` wrote in the application: at `timestamps` (ms), or everything."""

    application: Application
    sender_id: str
    timestamps: Collection[int] = ()

    def evidence(self) -> QuerySet[Evidence]:
        """Evidence of these messages, erased or not."""
        evidence = Evidence.objects.filter(item__recall__application=self.application, sender_id=self.sender_id)
        return evidence.filter(item__timestamp__in=self.timestamps) if self.timestamps else evidence

    def deliveries(self, after: int = 0) -> tuple[dict[int, str], int]:
        """States, by key, of the deliveries after `after` with these messages; and the key of the last one examined."""
        last = WebhookDelivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        return deliveries_with(self.application, self.sender_id, self.timestamps, after=after), last


def scope_of(request: ErasureRequest) -> ErasureScope:
    """Find everything to erase. Reads every stored delivery."""
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
    """The next portion of `scope` that still exists, with what arrived since; locked, inside a transaction."""
    newer, last = request.deliveries(scope.last_delivery)
    messages = written(request.application, request.sender_id, request.timestamps).order_by("pk")
    locked = messages.select_for_update(of=("self",)).values_list("pk", "conversation_id")
    by_key = dict(locked[:MAX_AT_ONCE])
    names = ("pk", "item__recall__conversation")
    kept = dict(request.evidence().exclude(sha256="").order_by("pk").values_list(*names)[:MAX_AT_ONCE])
    # An entry that is not sealed yet has no number for the record of the erasure.
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
    """Recorded searches for the sender, among `parts`; none when only single messages are erased."""
    if request.timestamps:
        return {}
    sender_id, slug = request.sender_id, request.application.slug
    # A coarse filter on the JSON text; each match is checked below.
    about = parts.filter(entry__action=Action.SEARCHED, content__contains=json.dumps(sender_id)[1:-1])
    searches = {}
    for pk, seq, content in about.values_list("pk", "entry__seal__seq", "content").iterator():
        search = json.loads(content)["asked"]
        values = (each for value in search.values() for each in (value if isinstance(value, list) else [value]))
        # One search may name several senders, separated by commas.
        names_it = any(each == sender_id or sender_id in each.split(", ") for each in values if isinstance(each, str))
        of_app = search.get("app", slug)
        if names_it and slug in (of_app if isinstance(of_app, list) else [of_app]):
            searches[pk] = seq
    return searches


def _notes_of(recalls: Iterable[UUID], parts: QuerySet[AuditPrivate]) -> dict[int, int]:
    """Moderators' notes on these recalls and their settlement, among `parts`."""
    notes: dict[int, int] = {}
    for some in rows.in_parts(sorted(recalls)):
        notes |= dict(parts.filter(entry__recall__in=some).values_list("pk", "entry__seal__seq"))
    return notes


def _on_hold(conversations: Iterable[int], *, lock: bool = False) -> list[Conversation]:
    """The conversations on hold; `lock`: prevent new holds until the transaction ends."""
    held: list[Conversation] = []
    for some in rows.in_parts(sorted(conversations)):
        candidates = Conversation.objects.filter(pk__in=some).order_by("pk")
        candidates = candidates.select_for_update() if lock else candidates.filter(held_at__isnull=False)
        held += [each for each in candidates if each.held_at]
    return held


def problem_of(scope: ErasureScope, *, with_notes: bool) -> NotPossible | None:
    """Why the scope cannot be erased; None when it can."""
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
    """Erase everything that `scope_of()` returns; return the number of rows of each kind.

    Works in portions, each recorded before it is erased, so that other writers never wait long. `actor` is a user name;
    `reason`, a code or a reference, stays in the log for ever. `with_notes`: also erase moderators' notes on recalls of
    these messages. `shown`: what the page showed to the person. Raises Changed before anything is erased, and
    NotPossible, also when a conversation is put on hold meanwhile.
    """
    Sealer().seal()
    # The slow search runs before any lock is taken.
    scope = scope_of(request)
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
            # Serialise erasures, so that concurrent ones do not record the same rows twice.
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
    """Record the erasure of a portion, then erase it."""
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
