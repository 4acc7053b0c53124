"""Home: what needs somebody. Jump: anything by its id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from moderation.archive import people
from moderation.archive.models import Application, Conversation, Kind, Message
from moderation.archive.names import titled
from moderation.archive.problems import problem_sentence
from moderation.audit import alarms
from moderation.audit.requests import forwarding_is_ignored
from moderation.audit.services import record_search
from moderation.requests import SignedIn
from recall.models import BEING_CHECKED, LOOKED_FOR, NEEDS_A_PERSON, Recall, RecallBatch, RecallItem, Sweep
from recall.progress import progress_of, progress_of_sweeps
from recall.views.health import worker_is_alive

SHOWN = 12
CHECK_IS_OVERDUE = timedelta(minutes=2)
# Each slash in what is typed may be the one between two users' ids.
MOST_SLASHES = 8
TIMESTAMP = re.compile("[0-9]{13}")


@login_required
@permission_required("recall.view_recall", raise_exception=True)
@require_safe
def home(request: SignedIn) -> HttpResponse:
    """Recalls that need a person, recalls under way or being checked, recent conversations, and GoEasy's troubles."""
    recalls = Recall.objects.select_related("conversation__application", "actor", "reason").order_by("-created_at")
    # What history is about to tell needs nobody yet; unless it has not for a while.
    overdue = Q(check_at__isnull=True) | Q(check_at__lt=timezone.now() - CHECK_IS_OVERDUE)
    undecided = Exists(RecallBatch.objects.filter(NEEDS_A_PERSON, LOOKED_FOR | overdue, recall=OuterRef("pk")))
    checking = Exists(RecallBatch.objects.filter(BEING_CHECKED, recall=OuterRef("pk")))
    is_under_way = Q(state__in=[Recall.State.WAITING, Recall.State.SENDING]) | (
        Q(checking, state=Recall.State.FINISHED) & ~Q(undecided)
    )
    needs_somebody = Q(state=Recall.State.STOPPED) | Q(undecided, state=Recall.State.FINISHED)
    # Those of a sweep are told by the sweep, in one line.
    single = recalls.filter(sweep=None)
    needs = single.filter(needs_somebody)[: SHOWN + 1]
    newest = Conversation.objects.select_related("application").order_by("-last_timestamp", "-id")
    context = {
        "under_way": with_progress(single.filter(is_under_way)[:SHOWN]),
        "sweeps_under_way": sweeps_with(is_under_way),
        "sweeps_in_need": sweeps_with(needs_somebody),
        "needs": with_progress(needs)[:SHOWN],
        "more_needs": len(needs) > SHOWN,
        "conversations": titled(newest[:SHOWN]),
        "applications": [
            (application, health(application)) for application in Application.objects.select_related("circuit")
        ],
        "worker_is_alive": worker_is_alive(),
        "audit_alarms": alarms.live() if request.user.has_perm("audit.view_auditentry") else [],
        "forwarding_is_ignored": forwarding_is_ignored(),
    }
    return render(request, "recall/home.html", context)


def with_progress(recalls: Iterable[Recall]) -> list[Recall]:
    """The same recalls, each with `progress` and its conversation's title; two queries for all of them."""
    recalls = list(recalls)
    titled(recall.conversation for recall in recalls)
    progress = progress_of(recalls)
    for recall in recalls:
        recall.progress = progress[recall.pk]  # type: ignore[attr-defined]
    return recalls


def sweeps_with(which: Q) -> list[Sweep]:
    """The newest sweeps that have a recall `which` is true of, each with `progress`; two queries."""
    found = Exists(Recall.objects.filter(which, sweep=OuterRef("pk")))
    sweeps = list(Sweep.objects.filter(found).select_related("actor").order_by("-created_at", "-id")[:SHOWN])
    progress = progress_of_sweeps(sweeps)
    for sweep in sweeps:
        sweep.progress = progress[sweep.pk]  # type: ignore[attr-defined]
    return sweeps


def health(application: Application) -> tuple[str, Conversation | None]:
    """What is wrong with reaching GoEasy, as a sentence (empty: nothing known), and where it was met."""
    if problem := application.key_problem:
        return str(problem_sentence(problem)), None
    an_hour_ago = timezone.now() - timedelta(hours=1)
    latest = (
        Conversation.objects.filter(application=application, history_read_at__gte=an_hour_ago)
        .order_by("-history_read_at")
        .first()
    )
    if latest and latest.history_problem:
        return str(problem_sentence(latest.history_problem)), latest
    return "", None


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def jump(request: SignedIn) -> HttpResponse:
    """Open what an id or a name names: at once when it names one thing, else as a list to choose from.

    A person is one thing, with all conversations: their page lists these.
    """
    text = request.GET.get("q", "").replace("\0", "").strip()[:600]
    if text:
        record_search("open", q=text)
    found, more = find(text) if text else ([], False)
    if len(found) == 1 and not more:
        return redirect(found[0][0])
    pair = [side.strip() for side in text.split("/")] if text.count("/") == 1 else [text, ""]
    context = {
        "q": text,
        "found": found,
        "more": more,
        "many_apps": Application.objects.all()[:2].count() > 1,
        "user_a": pair[0],
        "user_b": pair[1],
    }
    return render(request, "recall/jump.html", context)


def find(text: str) -> tuple[list[tuple[str, object]], bool]:
    """What `text` names, as (address, thing): a recall, people, conversations, messages; and whether there is more."""
    if (uuid := _uuid(text)) and (recall := Recall.objects.filter(pk=uuid).first()):
        return [(recall.get_absolute_url(), recall)], False
    known = people.with_id(text)
    senders = known + [sender for sender in people.named(text) if sender.user_id != text]
    found: list[tuple[str, object]] = [(sender.get_absolute_url(), sender) for sender in senders[:SHOWN]]
    # Those with a person who wrote are on that person's page.
    conversations = list(_conversations(text, of_users=not known).select_related("application")[: SHOWN + 1])
    found += [(each.get_absolute_url(), each) for each in titled(conversations[:SHOWN])]
    messages = list(_messages(text).select_related("conversation__application")[: SHOWN + 1])
    titled(message.conversation for message in messages[:SHOWN])
    found += [(f"{each.conversation.get_absolute_url()}?at={each.sort_time}", each) for each in messages[:SHOWN]]
    more = any(len(things) > SHOWN for things in (senders, conversations, messages))
    # Recalled by hand, and never seen by the archive.
    if not found and TIMESTAMP.fullmatch(text):
        items = RecallItem.objects.filter(timestamp=int(text)).select_related("recall").order_by("-recall__created_at")
        found = [(item.recall.get_absolute_url(), item.recall) for item in items[:SHOWN]]
    return found, more


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _conversations(text: str, *, of_users: bool) -> QuerySet[Conversation]:
    """Conversations by a group's id or two users' with a slash between (ids may hold slashes); `of_users`: or one's."""
    named = Q(kind=Kind.GROUP, group_id=text)
    if of_users:
        named |= Q(user_a=text) | Q(user_b=text)
    for slash in list(re.finditer("/", text))[:MOST_SLASHES]:
        first, second = sorted((text[: slash.start()].strip(), text[slash.end() :].strip()))
        named |= Q(user_a=first, user_b=second)
    return Conversation.objects.filter(named).order_by("-last_timestamp", "-id")


def _messages(text: str) -> QuerySet[Message]:
    """Messages by GoEasy's id or by timestamp (13 digits)."""
    named = Q(message_id=text)
    if TIMESTAMP.fullmatch(text):
        named |= Q(timestamp=int(text))
    return Message.objects.filter(named).order_by(Coalesce("placed_at", "timestamp").desc(), "-id")
