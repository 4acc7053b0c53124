"""The conversation page: timeline, selection, recall form, and the conversation's recalls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from csp.decorators import csp_update
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from moderation import reviewed
from moderation.accounts import unsent
from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.applications.problems import problem_message
from moderation.archive import retention, timeline
from moderation.archive.arrivals import MAX_NEWS, Mark, mark_of, news_since, read_mark
from moderation.archive.messages import read
from moderation.archive.messages.shown import Shown
from moderation.archive.models import Conversation, Message
from moderation.archive.names import Writer, writer_of
from moderation.archive.templatetags.moments import day, local
from moderation.desk import read_markers
from moderation.desk.conversation_rows import rows_of
from moderation.desk.views.conversation_rows import PANE_ROWS, newest_conversations, rows_address
from moderation.desk.views.selection import now_ms, typed_ms
from moderation.ingestion import unreadable
from moderation.ingestion.backfill import Reading, catch_up, read_before, read_latest
from recall.forms import RecallForm
from recall.models import MAX_TIMESTAMPS, Named, RecallBatch, RecallItem, named_by
from recall.progress import progress_of
from recall.services import recaller_for
from recall.timestamps import can_be_named, parse_timestamps, to_ms
from recall.views.toast import toast_for

PAGE = 60
# 90 messages minus the pages' overlap: a little more than PAGE, so that the page has no gap.
PAGES_READ = 3
# Pages read after a while without visitors, to reach the archived messages.
PAGES_TO_CATCH_UP = 10
SECONDS_BETWEEN_READS = 10
SECONDS_UNTIL_STALE = 60
# One sender's messages within this time stand under one header (ms).
UNDER_ONE_HEADER = 5 * 60 * 1000
RECALLS_SHOWN = 10
DAY = 24 * 3600 * 1000


@dataclass(frozen=True)
class Row:
    """A message as the timeline shows it. `shared`: how many messages have its millisecond, when several do."""

    message: Message
    shown: Shown
    writer: Writer
    shared: int
    named: Named | None
    checked: bool
    # Stands under the header of the row before it: the same sender, minutes later at most, on the same day.
    continues: bool = False

    @property
    def name(self) -> str:
        return self.writer.name

    @property
    def item(self) -> RecallItem | None:
        """The item of the latest recall that names the message."""
        return self.named.item if self.named else None

    @property
    def is_gone(self) -> bool:
        """Whether history has shown that it is gone."""
        return self.named is not None and self.named.is_gone

    @property
    def cannot_be_named(self) -> bool:
        """Whether no call can name it, because GoEasy identifies a message by its timestamp alone."""
        return not can_be_named(self.message.timestamp)

    @property
    def under_way(self) -> bool:
        """Whether a recall that names it is pending or being sent."""
        states = RecallBatch.State
        return self.item is not None and self.item.batch.state in {states.PENDING, states.SENDING}

    @property
    def may_be_selected(self) -> bool:
        return not (self.message.recalled or self.under_way or self.is_gone or self.cannot_be_named)


@dataclass(frozen=True)
class Window:
    """A part of the timeline. `older`, `newer`: the keys to continue from, empty when there is nothing more.

    `mark`: what had arrived by then, from which the page looks for new messages; None for a part requested without one.
    """

    messages: list[Message]
    reading: Reading
    older: str = ""
    newer: str = ""
    mark: Mark | None = None


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def conversation(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Show the page; for htmx, only older (`?before=`) or newer (`?after=`) messages. `?at=` shows those around a time.

    POST is the same page for a browser without scripts that turns pages, and keeps the ticked and typed values.
    """
    conversation = get_object_or_404(Conversation.objects.select_related("application"), pk=pk)
    parameters = request.POST if request.method == "POST" else request.GET
    if (chosen := typed_ms(request.GET.get("on", ""))) is not None:
        return redirect(f"{request.path}?at={chosen}")
    window = _part_of_page(conversation, parameters) if request.htmx else _whole_page(conversation, parameters)
    # Values typed before the session ended count like posted ones.
    typed = unsent.pop_fields(request, request.path, reverse("recall-new")) or request.POST
    kept = set(parse_timestamps(typed.getlist("timestamps"), now_ms=now_ms()).timestamps[:MAX_TIMESTAMPS])
    if window.mark is not None and not window.newer:
        # The page ends with the newest message.
        first = window.messages[0].sort_time if window.messages else 0
        start = _ms(parameters.get("from", "")) if request.htmx else None
        read_markers.remember(request.user, conversation, window.mark, since=first if start is None else start)
    context = {
        "conversation": conversation,
        "window": window,
        "rows": _rows(conversation, window.messages, kept),
        "problem": problem_message(window.reading.problem) if window.reading.problem else "",
        "may_recall": request.user.has_perm("recall.add_recall"),
        "at": _ms(parameters.get("at", "")),
        "with_older": not request.htmx or not ("after" in parameters or "arrived" in parameters),
        "with_newer": "before" not in parameters or not request.htmx,
    }
    # An open page requests messages before or after a message. The htmx header alone does not make it a part.
    if request.htmx and (read_mark(parameters.get("mark", "")) or _is_page_turn(parameters)):
        conversation.record_reading_on("conversation: part")
    else:
        conversation.record_opening("conversation")
    if request.htmx:
        return render(request, "desk/partials/_timeline.html", context)
    context |= _side_panes(request, conversation, typed) | _expiry(conversation, window.messages)
    toast = toast_for(request, conversation)
    context |= toast
    place = toast.get("toast_first")
    if place and window.messages and place < window.messages[0].sort_time and "at" not in parameters:
        # What was recalled is further up: stay there.
        return redirect(f"{request.path}?recall={parameters['recall']}&at={place}")
    context["unreadable"] = unreadable.count(conversation)
    context["hold_shown"] = reviewed.token(request.user, f"hold:{conversation.pk}", retention.to_hold(conversation))
    context["elsewhere"] = sorted(kept - {message.timestamp for message in window.messages})
    context["most"] = MAX_TIMESTAMPS
    response = render(request, "desk/pages/conversation.html", context)
    # Only this page may load media from the hosts of attachments.
    origins = conversation.application.allowed_media_origins
    csp_update({"img-src": origins, "media-src": origins})(lambda _request: response)(request)
    return response


def _is_page_turn(parameters: Mapping[str, Any]) -> bool:
    """Whether the request is for messages older or newer than a given one."""
    return any(timeline.read_key(parameters.get(way, "")) for way in ("before", "after"))


def _whole_page(conversation: Conversation, parameters: Mapping[str, Any]) -> Window:
    """The messages of a whole page, with the mark for its new messages."""
    mark = mark_of(conversation)
    window = _window(conversation, parameters)
    return replace(window, mark=mark.with_shown(message.pk for message in window.messages))


def _part_of_page(conversation: Conversation, parameters: Mapping[str, Any]) -> Window:
    """The requested part and the next mark for an open page with a `mark`, loaded from `from` to `to` (ms).

    `arrived`: requests the new messages of the loaded span; otherwise as `_window()`.
    """
    mark, start, end = (
        read_mark(parameters.get("mark", "")),
        _ms(parameters.get("from", "")),
        _ms(parameters.get("to", "")),
    )
    if mark is None:
        return _window(conversation, parameters)
    if "arrived" in parameters:
        pks = news_since(conversation, mark, start=start or 0).pks[:MAX_NEWS]
        messages = sorted(Message.objects.filter(pk__in=pks), key=attrgetter("sort_time", "pk"))
        window = Window(messages, Reading(problem=conversation.history_problem))
    else:
        window = _window(conversation, parameters)
        if window.messages and "before" in parameters:
            start = window.messages[0].sort_time
        elif window.messages:
            end = window.messages[-1].sort_time if window.newer else None
    news = news_since(conversation, mark, start=start or 0, end=end, shown=[message.pk for message in window.messages])
    return replace(window, mark=news.mark)


def _window(conversation: Conversation, parameters: Mapping[str, Any]) -> Window:
    """Read GoEasy's history as far as needed and return the requested messages."""
    if key := timeline.read_key(parameters.get("before", "")):
        # One past the key's millisecond, which may have messages that are not archived yet.
        reading = read_before(conversation, key[0] + 1, pages=PAGES_READ)
        messages, older = _older_page(timeline.page(conversation, before=key, limit=PAGE + 1), reading)
        newer = timeline.key_of(messages[-1]) if messages else f"{key[0]}-{key[1] - 1}"
        return Window(messages, reading, older, newer)
    if key := timeline.read_key(parameters.get("after", "")):
        return _after(conversation, key)
    if (at := _ms(parameters.get("at", ""))) is not None:
        return _around(conversation, at)
    reading = read_latest(conversation, pages=PAGES_READ)
    messages, older = _older_page(timeline.page(conversation, limit=PAGE + 1), reading)
    return Window(messages, reading, older)


def _older_page(fetched: list[Message], reading: Reading) -> tuple[list[Message], str]:
    """The last PAGE of at most PAGE + 1 messages, and the key before which there is, or may be, more."""
    messages = fetched[-PAGE:]
    more = len(fetched) > PAGE or may_know_more(reading)
    return messages, timeline.key_of(messages[0]) if messages and more else ""


def may_know_more(reading: Reading) -> bool:
    """Whether GoEasy may have older messages: history was read and its start was not reached."""
    return not (reading.problem or reading.reached_start or reading.is_blocked)


def _after(conversation: Conversation, key: timeline.Key) -> Window:
    """The messages after `key`. History can only be read backwards, so from the end of the archived page."""
    fetched = timeline.page(conversation, after=key, limit=PAGE + 1)
    if len(fetched) > PAGE:
        reading = read_before(conversation, fetched[-1].sort_time + 1, pages=PAGES_READ)
    else:
        reading = _catch_up(conversation)
    fetched = timeline.page(conversation, after=key, limit=PAGE + 1)
    messages = fetched[:PAGE]
    older = timeline.key_of(messages[0]) if messages else ""
    return Window(messages, reading, older, timeline.key_of(messages[-1]) if len(fetched) > PAGE else "")


def _around(conversation: Conversation, at: int) -> Window:
    """Half a page before `at` (ms) and half a page from it on."""
    half = PAGE // 2
    # Ids begin at 1, so this key precedes every message of its millisecond.
    edge = (at, 0)
    newer = timeline.page(conversation, after=edge, limit=half)
    reading = read_before(conversation, (newer[-1].sort_time if newer else at) + 1, pages=PAGES_READ)
    before = timeline.page(conversation, before=edge, limit=half)
    after = timeline.page(conversation, after=edge, limit=half + 1)
    messages = before + after[:half]
    more = len(before) == half or may_know_more(reading)
    return Window(
        messages,
        reading,
        timeline.key_of(messages[0]) if messages and more else "",
        timeline.key_of(messages[-1]) if len(after) > half else "",
    )


def _catch_up(conversation: Conversation) -> Reading:
    """Read new messages from GoEasy, unless read seconds ago; read further back after a longer pause."""
    read_at = conversation.history_read_at
    age = (timezone.now() - read_at).total_seconds() if read_at else SECONDS_UNTIL_STALE
    if age < SECONDS_BETWEEN_READS:
        return Reading(problem=conversation.history_problem)
    return catch_up(conversation, pages=PAGES_READ if age < SECONDS_UNTIL_STALE else PAGES_TO_CATCH_UP)


def _rows(conversation: Conversation, messages: list[Message], kept: set[int]) -> list[Row]:
    """Build the timeline's rows; three queries, however many messages."""
    timestamps = [message.timestamp for message in messages]
    senders = timeline.senders(conversation.application, {message.sender_id for message in messages})
    shared = timeline.sharing(conversation, timestamps)
    origins = conversation.application.allowed_media_origins
    named = named_by(RecallItem.objects.filter(recall__conversation=conversation, timestamp__in=timestamps))
    rows = [
        Row(
            message=message,
            shown=read(message.raw, origins),
            writer=writer_of(message, (sender := senders.get(message.sender_id)) and sender.name or ""),
            shared=shared.get(message.timestamp, 0),
            named=named.get((conversation.pk, message.timestamp)),
            checked=message.timestamp in kept,
        )
        for message in messages
    ]
    return [replace(row, continues=_continues(before, row)) for before, row in zip([None, *rows], rows, strict=False)]


def _continues(before: Row | None, row: Row) -> bool:
    """Whether `row` needs no header of its own after `before`. `static/js/groups.js` has the same rule for new rows."""
    if before is None or before.writer != row.writer or before.message.sender_id != row.message.sender_id:
        return False
    earlier, later = before.message.sort_time, row.message.sort_time
    return later - earlier < UNDER_ONE_HEADER and day(earlier) == day(later) and row.message.placed_at is None


def _expiry(conversation: Conversation, messages: list[Message]) -> dict[str, Any]:
    """When GoEasy and the archive delete the oldest shown message that each still has."""
    now = timezone.now()
    goeasy, here = conversation.application.history_days, conversation.application.keep_days
    # By arrival when their own timestamp is implausible.
    at_goeasy = [each.sort_time for each in messages if goeasy and each.sort_time > to_ms(now - timedelta(goeasy))]
    return {
        "gone_at_goeasy": local(min(at_goeasy) + goeasy * DAY) if goeasy and at_goeasy else None,
        "goeasy_has_since": to_ms(now - timedelta(goeasy)) if goeasy else None,
        "gone_here": local(messages[0].sort_time + here * DAY) if here and messages else None,
    }


def _side_panes(request: AuthenticatedRequest, conversation: Conversation, typed: QueryDict) -> dict[str, Any]:
    """The panes beside the timeline: recent conversations, the form, the conversation's recalls."""
    recent = newest_conversations()[:PANE_ROWS]
    latest = conversation.recall_set.select_related("actor", "reason").order_by("-created_at")
    recalls = list(latest[: RECALLS_SHOWN + 1])
    progress = progress_of(recalls)
    recaller = recaller_for(request.user, conversation.application)
    initial: dict[str, Any] = {
        "recaller_id": recaller.id if recaller else "",
        "recaller_data": json.dumps(recaller.data, ensure_ascii=False) if recaller and recaller.data else "",
        **typed.dict(),
    }
    return {
        "recent": rows_of(request.user, recent, also=[conversation]),
        "rows_address": rows_address("pane", open=conversation.pk),
        "many_apps": Application.objects.all()[:2].count() > 1,
        "recalls": [(recall, progress[recall.pk]) for recall in recalls[:RECALLS_SHOWN]],
        "more_recalls": len(recalls) > RECALLS_SHOWN,
        "form": RecallForm(initial=initial, auto_id="recall_%s", actor=request.user),
        "recaller": recaller.as_field() if recaller else None,
    }


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def conversation_news(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Show how many messages placed after `?from=` (ms) have arrived since `?mark=`.

    Returns 204 when the page already shows that (`?seen=`).
    """
    conversation = get_object_or_404(Conversation.objects.select_related("application"), pk=pk)
    reading = _catch_up(conversation)
    mark = read_mark(request.GET.get("mark", "")) or Mark()
    news = news_since(conversation, mark, start=_ms(request.GET.get("from", "")) or 0)
    seen = f"{len(news.pks)}-{sum(news.pks)}-{reading.problem}"
    if request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    context = {
        "conversation": conversation,
        "count": len(news.pks),
        "most": MAX_NEWS,
        "mark": news.mark,
        "seen": seen,
        "problem": problem_message(reading.problem) if reading.problem else "",
    }
    return render(request, "desk/partials/_news.html", context)


def _ms(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
