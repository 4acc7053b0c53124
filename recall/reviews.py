"""Reviews of recalls and sweeps: what they show, and the messages when that has changed on confirmation.

A review is confirmed by its token (`moderation.reviewed`): without one that the page made for this person and this
form, nothing is carried out from the browser. The services look again under the application's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.archive.names import sender_names
from moderation.archive.rows import in_parts
from moderation.goeasy.client import Recaller
from moderation.reviewed import Aspects, Changed, Seen, aspect, not_shown_error
from recall.models import Recall, RecallBatch, RecallItem, RecallReason

if TYPE_CHECKING:
    from recall.sweeps import SweepPlan

# People named in the message about recalls that were requested meanwhile.
MAX_ACTORS_NAMED = 5
STATES = RecallBatch.State


def earlier_items(conversation: Conversation, timestamps: Sequence[int]) -> list[RecallItem]:
    """The timestamps of these (ms) that recalls name already, with their recall and batch; not what was cancelled."""
    items: list[RecallItem] = []
    for some in in_parts(timestamps):
        earlier = RecallItem.objects.filter(recall__conversation=conversation, timestamp__in=some)
        earlier = earlier.exclude(batch__state=STATES.CANCELLED).select_related("batch", "recall__actor")
        items += earlier.order_by("timestamp", "recall__created_at", "pk")
    return items


def of_recall(
    *,
    conversation: Conversation,
    timestamps: Sequence[int],
    reason: RecallReason,
    note: str,
    recaller: Recaller | None,
    is_overridden: bool,
    known: Sequence[Message],
    earlier: Iterable[RecallItem],
) -> Aspects:
    """What the review of a recall shows; `known`: the archive's messages at `timestamps` (ms)."""
    return {
        "request": aspect([conversation.pk, sorted(set(timestamps)), reason.pk, note]),
        "messages": aspect([[each.pk, each.timestamp, each.sha256] for each in known]),
        "recalled": aspect([each.pk for each in known if each.recalled]),
        "names": _names(conversation.application, {each.sender_id for each in known}),
        "earlier": aspect([[item.timestamp, str(item.recall_id), *_standing(item)] for item in earlier]),
        **_decided(reason, recaller, is_overridden),
    }


def _standing(item: RecallItem) -> list[str]:
    """What a review says of an earlier recall of a message: how far its call is does not matter before it is over."""
    under_way = item.batch.state in (STATES.PENDING, STATES.SENDING)
    return ["under way" if under_way else item.batch.state, item.batch.settlement, item.verification]


def of_sweep(
    *,
    application: Application,
    sender_id: str,
    since: int,
    until: int,
    reason: RecallReason,
    note: str,
    recaller: Recaller | None,
    is_overridden: bool,
    planned: SweepPlan,
) -> Aspects:
    """What the review of a sweep shows."""
    return {
        "request": aspect([application.pk, sender_id, since, until, reason.pk, note]),
        "swept": (planned.timestamps, planned.digest),
        "others": aspect(pk for part in planned.parts for pk in part.others),
        "left out": (planned.left_out, ""),
        "names": _names(application, {sender_id}),
        **_decided(reason, recaller, is_overridden),
    }


def _names(application: Application, senders: set[str]) -> tuple[int, str]:
    return aspect(sorted(sender_names(application, senders).items()))


def _decided(reason: RecallReason, recaller: Recaller | None, is_overridden: bool) -> Aspects:
    """The reason as it is in the list now, and what app users will see as the recaller."""
    names = ("code", "label_en", "label_zh", "is_active")
    return {
        "reason": aspect(RecallReason.objects.filter(pk=reason.pk).values_list(*names)),
        "recaller": aspect([recaller.as_field() if recaller else None, is_overridden]),
    }


def check(seen: Seen | None, now: Aspects, reason: RecallReason, new: Callable[[datetime], list[str]]) -> None:
    """Raise Changed with a message for each difference from `seen`; None: nobody was shown anything.

    `new` returns messages about recalls of the same messages that were requested since a time.
    """
    if seen is None or not (differences := seen.differences(now)):
        return
    if not seen.aspects:
        raise not_shown_error()
    changes = []
    for name, more in differences.items():
        if name in ("earlier", "left out") and (requests := new(seen.at)):
            changes += requests
        elif name == "reason" and not RecallReason.objects.filter(pk=reason.pk, is_active=True).exists():
            changes.append(_("The reason is no longer available: choose another."))
        else:
            changes.append(_change_message(name, more))
    raise Changed(changes)


def check_recall(
    seen: Seen,
    conversation: Conversation,
    timestamps: Sequence[int],
    known: Sequence[Message],
    *,
    reason: RecallReason,
    **decided: Any,
) -> None:
    """Raise Changed when the review of a recall would show something other than `seen`."""
    items = earlier_items(conversation, timestamps)
    now = of_recall(
        conversation=conversation, timestamps=timestamps, known=known, earlier=items, reason=reason, **decided
    )
    check(seen, now, reason, lambda since: requested_meanwhile(items, since))


def _change_message(name: str, more: int) -> str:
    """Message that an aspect changed; `more`: by how many things it grew."""
    if name in ("messages", "swept") and more:
        return _number_of_messages(name, more)
    if name == "recalled" and more > 0:
        text = ngettext(
            "%(n)d more message is marked as recalled.", "%(n)d more messages are marked as recalled.", more
        )
        return text % {"n": more}
    return {
        "request": _("This is not what you reviewed."),
        "messages": _("The text of some of these messages is not what you saw."),
        "recalled": _("Other messages than you saw are marked as recalled."),
        "names": _("A sender’s name has changed."),
        "earlier": _("Earlier recalls of these messages have a new outcome."),
        "swept": _("Some of the messages to recall are not those that you saw."),
        "others": _("Other people’s messages that would be recalled too have changed."),
        "left out": _("The number of messages left out has changed."),
        "reason": _("The reason’s wording has changed."),
        "recaller": _("What app users are shown as the recaller has changed."),
    }[name]


def _number_of_messages(name: str, more: int) -> str:
    """Message that more or fewer messages would go than the review showed."""
    if more < 0:
        text = ngettext("%(n)d message fewer would be recalled.", "%(n)d messages fewer would be recalled.", -more)
    elif name == "messages":
        text = ngettext(
            "%(n)d more message has the same millisecond as one of these: it would be recalled too.",
            "%(n)d more messages have the same millisecond as some of these: they would be recalled too.",
            more,
        )
    else:
        text = ngettext("%(n)d more message would be recalled.", "%(n)d more messages would be recalled.", more)
    return text % {"n": abs(more)}


def requested_meanwhile(items: Iterable[RecallItem], since: datetime) -> list[str]:
    """Messages about recalls of `items` that were requested after `since`: by whom, and how many timestamps."""
    return _request_messages(
        Counter(item.recall.actor.get_username() for item in items if item.recall.created_at > since)
    )


def requested_of_sender_meanwhile(application: Application, sender_id: str, since: datetime) -> list[str]:
    """Messages about recalls of the sender's messages that were requested after `since`."""
    recalls = Recall.objects.filter(application=application, created_at__gt=since)
    items = RecallItem.objects.filter(recall__in=recalls, evidence__sender_id=sender_id)
    return _request_messages(Counter(items.values_list("recall__actor__username", flat=True)))


def _request_messages(actors: Counter[str]) -> list[str]:
    return [
        ngettext(
            "%(who)s has requested a recall of %(n)d of these messages.",
            "%(who)s has requested a recall of %(n)d of these messages.",
            number,
        )
        % {"who": who, "n": number}
        for who, number in actors.most_common(MAX_ACTORS_NAMED)
    ]
