"""Erasing what somebody wrote, on request: out of the archive, out of evidence, out of what the audit log may forget.

That it was erased, when, why and by whom, is an entry of the log, which stays whole (docs/adr/0012). What left the
console before (exports, backups, GoEasy's own history) is not reached.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from moderation.archive import erasure
from moderation.archive.models import Application, Conversation, WebhookDelivery
from moderation.archive.rows import in_parts
from moderation.audit.chain import Sealer
from moderation.audit.models import Action, AuditPrivate
from moderation.audit.services import record
from recall.models import Evidence, Recall, RecallBatch
from recall.services import NotPossible

MAX_REASON_LENGTH = 200
# Of the conversations on hold, in the sentence that refuses.
HELD_TOLD = 5


@dataclass(frozen=True)
class Found:
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
    held: list[Conversation] = field(default_factory=list)
    waiting: int = 0
    last_delivery: int = 0

    def counts(self, *, with_notes: bool) -> dict[str, int]:
        """How much goes of each; notes only when they are asked for."""
        names = ("messages", "evidence", "deliveries", "searches")
        return {**{name: len(getattr(self, name)) for name in names}, "notes": len(self.notes) if with_notes else 0}


def find(
    application: Application,
    sender_id: str,
    timestamps: Collection[int] = (),
    *,
    seen: Found | None = None,
) -> Found:
    """What `sender_id` wrote in the application, at `timestamps` (ms) or ever. Reads every kept delivery.

    With `seen`, what was found before, only deliveries that came since are read, and inside a transaction what is found
    stays as it is until its end.
    """
    messages = erasure.written(application, sender_id, timestamps).order_by("pk")
    if seen:
        messages = messages.select_for_update(of=("self",))
    parts = AuditPrivate.objects.exclude(salt="")
    if seen:
        # Before an entry is sealed it has no number by which it could be named.
        parts = parts.filter(entry__seal__isnull=False)
    last = WebhookDelivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    deliveries = erasure.deliveries_with(application, sender_id, timestamps, after=seen.last_delivery if seen else 0)
    conversations: set[int] = set()
    pks = []
    for pk, conversation in messages.values_list("pk", "conversation_id"):
        pks.append(pk)
        conversations.add(conversation)
    evidence = Evidence.objects.filter(item__recall__application=application, sender_id=sender_id).order_by("pk")
    if timestamps:
        evidence = evidence.filter(item__timestamp__in=timestamps)
    kept, recalls = [], set()
    names = ("pk", "sha256", "item__recall", "item__recall__conversation")
    for pk, sha256, recall, conversation in evidence.values_list(*names):
        recalls.add(recall)
        if sha256:
            kept.append(pk)
            conversations.add(conversation)
    return Found(
        messages=pks,
        evidence=kept,
        deliveries=sorted({*(erasure.still_there(seen.deliveries) if seen else ()), *deliveries}),
        searches={} if timestamps else _searches_for(application, sender_id, parts),
        recalls=sorted(recalls),
        notes=_notes_of(recalls, parts),
        held=_on_hold(conversations, lock=seen is not None),
        waiting=sum(state == WebhookDelivery.State.WAITING for state in deliveries.values()),
        last_delivery=last,
    )


def _searches_for(application: Application, sender_id: str, parts: QuerySet[AuditPrivate]) -> dict[int, int]:
    """Recorded searches, those of `parts`, that asked for this sender."""
    # As JSON has it. The comparison is coarse, and what it finds is looked at.
    about = parts.filter(entry__action=Action.SEARCHED, content__contains=json.dumps(sender_id)[1:-1])
    found = {}
    for pk, seq, content in about.values_list("pk", "entry__seal__seq", "content").iterator():
        asked = json.loads(content)["asked"]
        values = (each for value in asked.values() for each in (value if isinstance(value, list) else [value]))
        # Several senders of one search are written with commas between.
        names_it = any(each == sender_id or sender_id in each.split(", ") for each in values if isinstance(each, str))
        of_app = asked.get("app", application.slug)
        if names_it and application.slug in (of_app if isinstance(of_app, list) else [of_app]):
            found[pk] = seq
    return found


def _notes_of(recalls: Iterable[UUID], parts: QuerySet[AuditPrivate]) -> dict[int, int]:
    """What people noted, of `parts`, when they asked for these recalls, or settled them."""
    found: dict[int, int] = {}
    for some in in_parts(sorted(recalls)):
        found |= dict(parts.filter(entry__recall__in=some).values_list("pk", "entry__seal__seq"))
    return found


def _on_hold(conversations: Iterable[int], *, lock: bool) -> list[Conversation]:
    """Those that are on hold; `lock`: nobody puts another of them on hold before the transaction ends."""
    held: list[Conversation] = []
    for some in in_parts(sorted(conversations)):
        found = Conversation.objects.filter(pk__in=some).order_by("pk")
        found = found.select_for_update() if lock else found.filter(held_at__isnull=False)
        held += [each for each in found if each.held_at]
    return held


def problem_of(found: Found, *, with_notes: bool) -> NotPossible | None:
    """Why what was found cannot be erased; None when it can."""
    if found.held:
        names = ", ".join(map(str, found.held[:HELD_TOLD])) + (" …" if found.held[HELD_TOLD:] else "")
        return NotPossible(_("On hold, so that nothing is erased: %(names)s. End the hold first.") % {"names": names})
    if found.waiting:
        return NotPossible(_("Deliveries that hold such messages wait for the worker. Try again in a minute."))
    if not any(found.counts(with_notes=with_notes).values()):
        return NotPossible(_("There is nothing to erase."))
    return None


def erase(
    *,
    application: Application,
    sender_id: str,
    actor: str,
    reason: str,
    timestamps: Collection[int] = (),
    with_notes: bool = False,
) -> Found:
    """Erase what `find()` finds, all of it or nothing; returns what that was.

    `actor` is a user name; `reason`, a code or a reference, stays in the log for ever. `with_notes`: also what people
    noted about recalls of these messages. Raises NotPossible.
    """
    Sealer().seal()
    # What takes long is done before anybody has to wait for it.
    seen = find(application, sender_id, timestamps)
    if problem := problem_of(seen, with_notes=with_notes):
        raise problem
    with transaction.atomic():
        # One at a time: what is asked for twice at once is told once.
        Application.objects.select_for_update(no_key=True).get(pk=application.pk)
        found = find(application, sender_id, timestamps, seen=seen)
        if problem := problem_of(found, with_notes=with_notes):
            raise problem
        parts = {**found.searches, **(found.notes if with_notes else {})}
        told = record(
            actor=actor,
            action=Action.TEXT_ERASED,
            app=application.slug,
            timestamps=sorted(timestamps) or None,
            detail={
                "sender": sender_id,
                "reason": reason,
                **found.counts(with_notes=with_notes),
                # Entries of which the private part is gone, by seq.
                "entries": sorted(parts.values()),
            },
        )
        erasure.erase_messages(found.messages)
        erasure.erase_deliveries(found.deliveries)
        for some in in_parts(found.evidence):
            Evidence.objects.filter(pk__in=some).update(raw="", salt="", sha256="")
        for some in in_parts(sorted(parts)):
            AuditPrivate.objects.filter(pk__in=some).erase(told)
        for some in in_parts(found.recalls if with_notes else []):
            Recall.objects.filter(pk__in=some).update(note="")
            RecallBatch.objects.filter(recall__in=some).update(settlement_note="")
    return found
