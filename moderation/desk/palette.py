"""What a text may mean: conversations, people, messages, recalls and actions, a few of each.

It is read while somebody types, and has to be quick whatever the size of the archive: every query here is answered by
an index and has a limit. What is not found here may be found by the search page, which takes its time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from moderation.accounts.models import User
from moderation.applications.models import Application
from moderation.archive.messages import read
from moderation.archive.models import Conversation, Kind, Message, Sender
from moderation.archive.names import titled, with_writers
from moderation.desk import actions
from moderation.desk.hits import pieces_of
from moderation.desk.results import Group, Line, Lookup, Results, search_page
from moderation.goeasy.client import MAX_ID_LENGTH
from moderation.search import people, query
from recall.models import Recall, RecallItem, Sweep
from recall.progress import with_progress

TIMESTAMP = re.compile("[0-9]{13}")
TIMESTAMP_IN_SECONDS = re.compile("[0-9]{10}")
# The first characters of a recall's id, enough to tell it from others.
BEGINNING_OF_ID = re.compile("[0-9a-f]{8}[0-9a-f-]*")
ID_DIGITS = 32
# Two ids and the slash between them.
MAX_LENGTH = 2 * MAX_ID_LENGTH + 1
# Each of the first slashes may separate two users' ids.
MAX_SLASHES = 8
# One character is in too many messages to mean one.
MIN_TEXT = 2
# Names compared: of people that may match, of the latest conversations, and of the latest recalls and sweeps.
MAX_PEOPLE, MAX_CONVERSATIONS, MAX_RECALLS = 200, 1_000, 200
# Conversations that are looked at for those of a person with the latest messages.
MAX_OF_PERSON = 200
# The part of a message before the match: one line has to show the match.
BEFORE = 16


class SweepName(NamedTuple):
    """Whose messages a sweep took back, by the name of then."""

    pk: UUID
    application_id: int
    sender_id: str
    sender_name: str


def results_for(text: str, user: User, *, shown: int) -> Results:
    """Results for `text`, at most `shown` of each kind and only of kinds that `user` may see; without text, actions."""
    if problem := _problem(text):
        return Results(text, problem=problem)
    if not text:
        return Results(text, _actions(Lookup(text, shown, ()), user))
    lookup = Lookup(text, shown, list(Application.objects.all()))
    sweeps = _latest_sweeps() if user.has_perm("recall.view_recall") else []
    persons = _people(lookup, sweeps) if user.has_perm("archive.view_message") else []
    conversations = _conversations(lookup, persons) if user.has_perm("archive.view_conversation") else []
    messages, more_messages = _messages(lookup) if user.has_perm("archive.view_message") else ([], False)
    recalls = _recalls(lookup, sweeps, persons, conversations, messages) if user.has_perm("recall.view_recall") else []
    groups = [
        *_group(lookup, "conversations", gettext_lazy("Conversations"), conversations),
        *_group(lookup, "people", gettext_lazy("People"), persons),
        *_group(lookup, "messages", gettext_lazy("Messages"), messages, has_more=more_messages),
        *_group(lookup, "recalls", gettext_lazy("Recalls"), recalls, address=_all_recalls(conversations)),
    ]
    groups += _actions(lookup, user)
    is_exact = any(line.is_exact for group in groups for line in group.lines)
    if not is_exact and (not groups or not re.search(r"\s", text)):
        groups += _opening(text, user)
    # What is named exactly comes first; `sorted` keeps the order of the others.
    groups = sorted(groups, key=lambda group: not any(line.is_exact for line in group.lines))
    return Results(text, groups, note=_note(text), many_apps=len(lookup.applications) > 1)


def _problem(text: str) -> str:
    limit = MAX_LENGTH if "/" in text else MAX_ID_LENGTH
    if len(text) <= limit:
        return ""
    return _(
        "Nothing was searched for: this text has %(show_value)d characters, and a search at most "
        "%(limit_value)d. Take a part of it."
    ) % {"show_value": len(text), "limit_value": limit}


def _note(text: str) -> str:
    if not TIMESTAMP_IN_SECONDS.fullmatch(text):
        return ""
    return _("If this is a time in seconds: a message’s timestamp is in milliseconds and has 13 digits.")


def _group(
    lookup: Lookup, name: str, title: Promise, lines: list[Line], *, address: str = "", has_more: bool = False
) -> list[Group]:
    """The group of `lines`, exact ones first, unless there are none. `address`: where all of them are."""
    if not lines:
        return []
    lines = sorted(lines, key=lambda line: not line.is_exact)
    all_results = address or (search_page(lookup.text) if len(lookup.text) <= MAX_ID_LENGTH else "")
    has_more = has_more or len(lines) > lookup.shown
    return [Group(name, title, lines[: lookup.shown], all_results if has_more else "")]


def _actions(lookup: Lookup, user: User) -> list[Group]:
    """Actions that match the text; all of them without text."""
    offered = actions.matching(lookup.text, user)
    lines = [Line(action.address, action, lookup.equals(str(action.label))) for action in offered]
    return [Group("actions", gettext_lazy("Actions"), lines[: lookup.shown] if lookup.text else lines)] if lines else []


def _opening(text: str, user: User) -> list[Group]:
    """Actions that take the text for the ids of a conversation that only GoEasy may know."""
    lines = [Line(action.address, action) for action in actions.opening(text, user)]
    return [Group("opening", gettext_lazy("Open by ids"), lines)] if lines else []


# People


def _people(lookup: Lookup, sweeps: Sequence[SweepName]) -> list[Line]:
    """People by id or a part of it, by a part of their name, or of the name that a sweep has kept.

    At most one more than is shown, exact ones first.
    """
    if len(lookup.text) > MAX_ID_LENGTH:
        return []
    # Each with whether the text is the whole id or name, whether it is in the name, and the earlier name.
    matching = [(sender, True, True, "") for sender in people.with_id(lookup.text, lookup.applications)]
    for sender in people.named(lookup.text, or_with_id=True, most=MAX_PEOPLE):
        matching.append((sender, lookup.equals(sender.name), lookup.is_in(sender.name), ""))
    for sender, name in _people_of_sweeps(lookup, sweeps):
        matching.append((sender, lookup.equals(name), False, name))
    # The first entry of a person is the one that counts.
    unique: dict[tuple[int, str], tuple[Sender, bool, bool, str]] = {}
    for entry in matching:
        unique.setdefault((entry[0].application_id, entry[0].user_id), entry)
    chosen = sorted(unique.values(), key=lambda entry: not entry[1])
    return [
        Line(sender.get_absolute_url(), sender, is_exact=is_exact, opens=is_in_name, earlier_name=earlier_name)
        for sender, is_exact, is_in_name, earlier_name in chosen[: lookup.shown + 1]
    ]


def _people_of_sweeps(lookup: Lookup, sweeps: Sequence[SweepName]) -> list[tuple[Sender, str]]:
    """People whose name contained the text when a sweep was decided, each with that name; one query."""
    names = {
        (each.application_id, each.sender_id): each.sender_name for each in sweeps if lookup.is_in(each.sender_name)
    }
    if not names:
        return []
    users = {user_id for _application, user_id in names}
    senders = Sender.objects.select_related("application").filter(
        user_id__in=users, application__in=lookup.applications
    )
    return [(each, names[key]) for each in senders if (key := (each.application_id, each.user_id)) in names]


# Conversations


def _conversations(lookup: Lookup, persons: Sequence[Line]) -> list[Line]:
    """Conversations by their ids, by one of their users, or by a part of the name or id of one of the latest.

    At most one more than is shown, exact ones first, then by latest message.
    """
    named = _named(lookup)
    # By latest message and key.
    others: dict[int, int] = {}
    if len(lookup.text) <= MAX_ID_LENGTH:
        users = list(dict.fromkeys([lookup.text, *(line.thing.user_id for line in persons)]))[: lookup.shown + 1]
        of_them = Conversation.objects.filter(Q(user_a__in=users) | Q(user_b__in=users))
        # Unordered, so that the database stops at the limit for somebody who has very many; the newest are below.
        others |= dict(of_them.order_by().values_list("pk", "last_timestamp")[:MAX_OF_PERSON])
        latest = Conversation.objects.order_by("-last_timestamp", "-id")
        for pk, last, *names in latest.values_list("pk", "last_timestamp", "name", "group_id", "user_a", "user_b")[
            :MAX_CONVERSATIONS
        ]:
            if any(map(lookup.is_in, filter(None, names))):
                others[pk] = last
    newest = sorted(others.keys() - set(named), key=lambda pk: (others[pk], pk), reverse=True)
    pks = [*named, *newest][: lookup.shown + 1]
    if not pks:
        return []
    by_pk = Conversation.objects.select_related("application").in_bulk(pks)
    is_person = any(line.thing.user_id == lookup.text for line in persons)
    return [
        Line(
            each.get_absolute_url(),
            each,
            is_exact=each.pk in named or lookup.equals(each.name),
            # A person's conversations are on that person's page.
            opens=each.pk in named or (not is_person and lookup.text in {each.user_a, each.user_b}),
        )
        for each in titled(by_pk[pk] for pk in pks if pk in by_pk)
    ]


def _named(lookup: Lookup) -> list[int]:
    """Keys of the conversations whose group id, or two user ids around a slash, the text is; the newest first.

    Ids may contain slashes themselves.
    """
    text = lookup.text
    named = Q(application__in=lookup.applications, kind=Kind.GROUP, group_id=text)
    for slash in list(re.finditer("/", text))[:MAX_SLASHES]:
        first, second = sorted((text[: slash.start()].strip(), text[slash.end() :].strip()))
        # A group's conversation has no user, and is not named by nobody.
        if first and second:
            named |= Q(user_a=first, user_b=second)
    keys = Conversation.objects.filter(named).order_by("-last_timestamp", "-id").values_list("pk", flat=True)
    return list(keys[: lookup.shown + 1])


# Messages


def _messages(lookup: Lookup) -> tuple[list[Line], bool]:
    """Messages by GoEasy's id, by timestamp (13 digits) or by text, newest first; and whether there may be more."""
    if len(lookup.text) > MAX_ID_LENGTH:
        return [], False
    named = _with_id_or_timestamp(lookup.text, lookup.shown + 1)
    messages, has_more, wanted = named, len(named) > lookup.shown, query.Wanted(text=lookup.text)
    if len("".join(lookup.needle.split())) >= MIN_TEXT and not has_more:
        page = query.search(wanted, limit=lookup.shown, quickly=True)
        messages = named + [each for each in page.messages() if each not in named]
        has_more = bool(page.older)
    if not messages:
        return [], has_more
    lines = [
        Line(
            f"{each.conversation.get_absolute_url()}?at={each.sort_time}",
            each,
            is_exact=each in named,
            opens=each in named,
            pieces=pieces_of(read(each.raw), wanted, before=BEFORE),
        )
        for each in with_writers(messages)
    ]
    return lines, has_more


def _with_id_or_timestamp(text: str, most: int) -> list[Message]:
    """At most `most` messages of each, newest first."""
    messages = Message.objects.select_related("conversation__application").defer("recalled_raw")
    messages = messages.order_by(Coalesce("placed_at", "timestamp").desc(), "-id")
    # Excluding empty ids lets the database use its partial index.
    named = list(messages.filter(message_id=text).exclude(message_id="")[:most])
    if TIMESTAMP.fullmatch(text):
        named += [each for each in messages.filter(timestamp=int(text))[:most] if each not in named]
    return sorted(named, key=attrgetter("sort_time", "pk"), reverse=True)


# Recalls and sweeps


def _latest_sweeps() -> list[SweepName]:
    sweeps = Sweep.objects.order_by("-created_at", "-id").values_list(*SweepName._fields)
    return [SweepName(*row) for row in sweeps[:MAX_RECALLS]]


def _recalls(
    lookup: Lookup,
    sweeps: Sequence[SweepName],
    persons: Sequence[Line],
    conversations: Sequence[Line],
    messages: Sequence[Line],
) -> list[Line]:
    """Recalls and sweeps by id or its beginning, by timestamp, by conversation or person, or by a part of the name that
    one of the latest has kept; exact ones first, then by time.
    """
    recalls = Recall.objects.order_by("-created_at", "-id")
    named: set[UUID] = set()
    named_sweeps: set[UUID] = set()
    if ids := _ids(lookup.text):
        named = set(recalls.filter(pk__range=ids).values_list("pk", flat=True)[: lookup.shown + 1])
        named_sweeps = set(Sweep.objects.filter(pk__range=ids).values_list("pk", flat=True)[: lookup.shown + 1])
    by_timestamp: set[UUID] = set()
    if TIMESTAMP.fullmatch(lookup.text):
        items = RecallItem.objects.filter(timestamp=int(lookup.text)).order_by("-pk")
        by_timestamp = set(items.values_list("recall", flat=True)[: lookup.shown + 1])
    latest = recalls.values_list("pk", "conversation_title", "sweep")[:MAX_RECALLS]
    # The recalls of a sweep are shown as one line, the sweep's.
    others = [pk for pk, title, sweep in latest if sweep is None and lookup.is_in(title)][: lookup.shown + 1]
    others += _of_conversations([line.thing.pk for line in conversations], lookup.shown + 1)
    users = {(line.thing.application_id, line.thing.user_id) for line in persons}
    of_them = [
        sweep.pk
        for sweep in sweeps
        if lookup.is_in(sweep.sender_name) or (sweep.application_id, sweep.sender_id) in users
    ]
    exact = named | by_timestamp | named_sweeps
    things: list[Recall | Sweep] = []
    if swept := {*named_sweeps, *of_them[: lookup.shown + 1]}:
        things += Sweep.objects.filter(pk__in=swept).select_related("actor")
    if recalled := {*named, *by_timestamp, *others}:
        things += with_progress(recalls.filter(pk__in=recalled).select_related("conversation__application", "actor"))
    # A message that is archived is opened itself.
    opening = exact - by_timestamp if any(line.opens for line in messages) else exact
    return [
        Line(thing.get_absolute_url(), thing, is_exact=thing.pk in exact, opens=thing.pk in opening)
        for thing in sorted(things, key=attrgetter("created_at"), reverse=True)
    ]


def _ids(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin with `text`; None when too little of an id is there."""
    try:
        return UUID(text), UUID(text)
    except ValueError:
        digits = text.lower().replace("-", "")
        if len(digits) > ID_DIGITS or not BEGINNING_OF_ID.fullmatch(text.lower()):
            return None
        return UUID(digits.ljust(ID_DIGITS, "0")), UUID(digits.ljust(ID_DIGITS, "f"))


def _of_conversations(pks: Sequence[int], most: int) -> list[UUID]:
    """The latest recalls of these conversations, without those of sweeps."""
    recalls = Recall.objects.filter(conversation__in=pks).order_by("-created_at")
    return [pk for pk, sweep in recalls.values_list("pk", "sweep")[: 2 * most] if sweep is None][:most]


def _all_recalls(conversations: Sequence[Line]) -> str:
    """Address of the list of recalls: of the only conversation, if there is one."""
    narrowed = f"?{urlencode({'conversation': conversations[0].thing.pk})}" if len(conversations) == 1 else ""
    return reverse("recalls") + narrowed
