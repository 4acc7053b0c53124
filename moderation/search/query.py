"""Finding messages by their words. The answer is that of LIKE '%…%' over the normalised text, for any text.

A text to search for has grams (`search/grams.py`): the messages that have all of these are few, and are then compared
with it. So nothing depends on what a word is, and neither engine needs an extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, models
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex

from moderation.archive.models import Message
from moderation.archive.timeline import Key
from moderation.search.grams import Needle, needle_of
from moderation.search.index import MESSAGES as INDEX
from moderation.search.index import TABLE, engine

MESSAGES = Message._meta.db_table
# What so few messages may hold is compared with them at once. Of what more do, the newest are mostly found sooner by
# looking through the newest messages; else it is compared with so many.
FEW_CANDIDATES, MAX_CANDIDATES = 2_000, 100_000
# So many are looked through for one page, in parts that grow: a page of what is frequent takes the first part alone.
PARTS = (1_000, 4_000, 16_000, 64_000)

# ruff: noqa: S608 - the only thing put into statements is the names above


@dataclass(frozen=True)
class Wanted:
    """What messages to find: all of it has to be true, and of several values one. Times are in ms, ends included."""

    text: str = ""
    # Whether white space and signs in messages and in `text` are ignored.
    loosely: bool = False
    senders: Sequence[str] = ()
    conversations: Sequence[int] = ()
    types: Sequence[str] = ()
    kinds: Sequence[str] = ()
    applications: Sequence[int] = ()
    recalled: bool | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class ResultPage:
    """Where messages are that were found, newest first. `older`: the key to go on from, empty when there are no more.

    `looked_back_to` (ms) is told when the search ended for the time that it took, with more to look through.
    """

    keys: list[Key] = field(default_factory=list)
    older: str = ""
    looked_back_to: int | None = None

    def messages(self) -> list[Message]:
        """The messages, with their conversations; one query."""
        pks = [pk for _timestamp, pk in self.keys]
        messages = Message.objects.select_related("conversation__application").in_bulk(pks)
        return [messages[pk] for pk in pks if pk in messages]


def find(wanted: Wanted, *, before: Key | None = None, limit: int = 50) -> ResultPage:
    """At most `limit` messages that are `wanted`, newest first, from `before` on. Takes a bounded time."""
    needle = needle_of(wanted.text, loosely=wanted.loosely)
    if not needle.is_in_index:
        return _look_through(wanted, needle, before, limit, PARTS)
    # What a gram begins with is in few messages when it is rare, and on every page when it is not.
    if needle.grams and len(candidates := _candidates(needle, FEW_CANDIDATES + 1)) <= FEW_CANDIDATES:
        return _among(candidates, wanted, needle, before, limit)
    page = _look_through(wanted, needle, before, limit, PARTS[:1])
    if page.looked_back_to is None:
        return page
    if len(candidates := _candidates(needle, MAX_CANDIDATES + 1)) <= MAX_CANDIDATES:
        return _among(candidates, wanted, needle, before, limit)
    return _look_through(wanted, needle, before, limit, PARTS)


def _among(candidates: list[int], wanted: Wanted, needle: Needle, before: Key | None, limit: int) -> ResultPage:
    """Those of the candidates that are wanted."""
    if not candidates:
        return ResultPage()
    if wanted == Wanted(text=wanted.text, loosely=wanted.loosely):
        return _page(_holding(candidates, needle, before, limit + 1), limit)
    holding = _holding(candidates, needle, before, len(candidates))
    narrowed = _narrowed(wanted).filter(_rest(wanted), pk__in=_as_rows([pk for _timestamp, pk in holding]))
    keys: list[Key] = list(narrowed.order_by("-timestamp", "-id").values_list("timestamp", "pk")[: limit + 1])
    return _page(keys, limit)


def _holding(candidates: list[int], needle: Needle, before: Key | None, most: int) -> list[Key]:
    """Of the candidates those that hold the text, newest first.

    Written out: to build the statement takes longer than to run it. Texts are compared before messages are looked up.
    """
    ids, place = engine().KEYS, engine().PLACE.format(column=needle.column)
    earlier = "WHERE timestamp < %s OR (timestamp = %s AND id < %s)" if before else ""
    values: list[Any] = [engine().keys(candidates), needle.text]
    if before:
        values += [before[0], *before]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH holding AS MATERIALIZED (SELECT message_id AS held FROM {TABLE} "
            f"WHERE message_id IN ({ids}) AND {place} > 0) "
            f"SELECT timestamp, id FROM holding JOIN {MESSAGES} ON id = held {earlier} "
            "ORDER BY timestamp DESC, id DESC LIMIT %s",
            [*values, most],
        )
        keys: list[Key] = cursor.fetchall()
    return keys


def _page(keys: list[Key], limit: int) -> ResultPage:
    """A page out of one more than a page, if there is one more."""
    return ResultPage(keys[:limit], _key(keys[limit - 1]) if len(keys) > limit else "")


def candidates_for(text: str, most: int, *, loosely: bool = False) -> list[int]:
    """The ids of at most `most` messages that may hold `text`; when they are fewer, all that do.

    Not of white space alone, which the index does not know.
    """
    return _candidates(needle_of(text, loosely=loosely), most)


def _candidates(needle: Needle, most: int) -> list[int]:
    pks: list[int] = engine().candidates(INDEX, needle, most)
    return pks


def _as_rows(pks: list[int]) -> RawSQL:
    """The ids as one parameter, however many."""
    return RawSQL(engine().KEYS, [engine().keys(pks)])  # noqa: S611 - one of two constants


def _place(needle: Needle) -> StrIndex:
    """Where in its text a message has what is searched for; 0 when it has not."""
    return StrIndex(F(f"searchtext__{needle.column}"), Value(needle.text))


def _narrowed(wanted: Wanted) -> QuerySet[Message]:
    """What an index of the messages answers."""
    messages = Message.objects.all()
    if wanted.conversations:
        messages = messages.filter(conversation__in=wanted.conversations)
    if wanted.senders:
        messages = messages.filter(sender_id__in=wanted.senders)
    if wanted.since is not None:
        messages = messages.filter(timestamp__gte=wanted.since)
    if wanted.until is not None:
        messages = messages.filter(timestamp__lte=wanted.until)
    return messages


def _rest(wanted: Wanted) -> Q:
    """What each message has to be asked for."""
    rest = Q()
    if wanted.types:
        rest &= Q(type__in=wanted.types)
    if wanted.kinds:
        rest &= Q(conversation__kind__in=wanted.kinds)
    if wanted.applications:
        rest &= Q(conversation__application__in=wanted.applications)
    if wanted.recalled is not None:
        rest &= Q(recalled=wanted.recalled)
    return rest


def _before(key: Key | None, messages: QuerySet[Message]) -> QuerySet[Message]:
    if key is None:
        return messages
    timestamp, pk = key
    # The plain comparison is what the index answers; the other one settles the millisecond.
    return messages.filter(timestamp__lte=timestamp).filter(Q(timestamp__lt=timestamp) | Q(id__lt=pk))


def _look_through(wanted: Wanted, needle: Needle, before: Key | None, limit: int, parts: Sequence[int]) -> ResultPage:
    """Ask one message after the other, newest first, until there is a page or the parts are through."""
    keys: list[Key] = []
    rest, messages = _rest(wanted), _narrowed(wanted)
    if needle.text:
        messages, rest = messages.annotate(place=_place(needle)), rest & Q(place__gt=0)
    is_match = Case(When(rest, then=1), default=0) if rest else Value(1, output_field=models.IntegerField())
    messages = messages.order_by("-timestamp", "-id")
    looked_back_to = None
    for part in parts:
        looked_at = list(_before(before, messages).values_list("timestamp", "pk", is_match)[:part])
        keys += [(timestamp, pk) for timestamp, pk, is_wanted in looked_at if is_wanted]
        if len(keys) > limit:
            return _page(keys, limit)
        if len(looked_at) < part:
            return ResultPage(keys)
        looked_back_to, last = looked_at[-1][:2]
        before = (looked_back_to, last)
    return ResultPage(keys, _key(before) if before else "", looked_back_to)


def _key(key: Key) -> str:
    """As `timeline.key_of` writes it."""
    return f"{key[0]}-{key[1]}"
