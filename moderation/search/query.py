"""Message search, with the results of LIKE '%…%' on the normalised text, for any search text.

The messages that have all grams of the search text (`search/grams.py`) are few, and are then compared with it. The
search needs no notion of a word, and no extension of either engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from django.db import connection, models
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex

from moderation.archive import timeline
from moderation.archive.models import Message
from moderation.archive.timeline import Key
from moderation.search.grams import Needle, needle_of
from moderation.search.index import MESSAGES as INDEX
from moderation.search.index import TABLE, engine

MESSAGES = Message._meta.db_table
# Up to FEW_CANDIDATES are compared at once. With more, a scan of the newest messages usually fills a page sooner; if it
# does not, up to MAX_CANDIDATES are compared.
FEW_CANDIDATES, MAX_CANDIDATES = 2_000, 100_000
# The most that are compared for results while somebody types.
QUICK_CANDIDATES = 5_000
# Messages scanned for one page, in growing parts: a page of a frequent text needs the first part alone.
PARTS = (1_000, 4_000, 16_000, 64_000)

# ruff: noqa: S608 - the only thing put into statements is the names above


@dataclass(frozen=True)
class Wanted:
    """Search criteria: all must be met, and one of several values. Times are in ms, ends included."""

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
    """Where messages are that were found, newest first: their places in the timeline, and ids.

    `older` is the key to go on from, empty when there are no more. `looked_back_to` (ms) is set when the search ended
    for the time that it took, with more to look through.
    """

    keys: list[Key] = field(default_factory=list)
    older: str = ""
    looked_back_to: int | None = None

    def messages(self) -> list[Message]:
        """The messages, with their conversations; one query."""
        pks = [pk for _place, pk in self.keys]
        messages = Message.objects.select_related("conversation__application").in_bulk(pks)
        return [messages[pk] for pk in pks if pk in messages]


def search(wanted: Wanted, *, before: Key | None = None, limit: int = 50, quickly: bool = False) -> ResultPage:
    """Find at most `limit` messages that are `wanted`, newest first, older than `before`. Takes a bounded time.

    `quickly`: while somebody types. Fewer messages are looked at, and a page is more often incomplete.
    """
    most, parts = (QUICK_CANDIDATES, PARTS[:1]) if quickly else (MAX_CANDIDATES, PARTS)
    needle = needle_of(wanted.text, loosely=wanted.loosely)
    if not needle.is_in_index:
        return _scan(wanted, needle, before, limit, parts)
    # The beginning of a gram needs no count: it is in few messages when it is rare, and on every page when it is not.
    if needle.grams and len(candidates := _candidates(needle, FEW_CANDIDATES + 1)) <= FEW_CANDIDATES:
        return _among(candidates, wanted, needle, before, limit)
    page = _scan(wanted, needle, before, limit, PARTS[:1])
    if page.looked_back_to is None:
        return page
    if len(candidates := _candidates(needle, most + 1)) <= most:
        return _among(candidates, wanted, needle, before, limit)
    return page if quickly else _scan(wanted, needle, before, limit, parts)


def _among(candidates: list[int], wanted: Wanted, needle: Needle, before: Key | None, limit: int) -> ResultPage:
    """A page of the candidates that are wanted."""
    if not candidates:
        return ResultPage()
    if wanted == Wanted(text=wanted.text, loosely=wanted.loosely):
        return _page(_holding(candidates, needle, before, limit + 1), limit)
    holding = _holding(candidates, needle, before, len(candidates))
    narrowed = _narrowed(wanted).filter(_rest(wanted), pk__in=_as_rows([pk for _place, pk in holding]))
    parts = timeline.newest_of_each(narrowed, since=wanted.since, until=wanted.until)
    keys: list[Key] = timeline.merged((part.values_list(field, "pk") for part, field in parts), tuple, limit + 1)
    return _page(keys, limit)


def _holding(candidates: list[int], needle: Needle, before: Key | None, most: int) -> list[Key]:
    """Keys of the candidates that contain the text, newest first.

    Hand-written SQL, because building the statement takes longer than running it. Texts are compared before messages
    are looked up.
    """
    ids, position = engine().KEYS, engine().POSITION.format(column=needle.column)
    earlier = "WHERE place < %s OR (place = %s AND held < %s)" if before else ""
    values: list[Any] = [engine().keys(candidates), needle.text]
    if before:
        values += [before[0], *before]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH holding AS MATERIALIZED (SELECT message_id AS held FROM {TABLE} "
            f"WHERE message_id IN ({ids}) AND {position} > 0), "
            "placed AS (SELECT COALESCE(placed_at, timestamp) AS place, held "
            f"FROM holding JOIN {MESSAGES} ON id = held) "
            f"SELECT place, held FROM placed {earlier} ORDER BY place DESC, held DESC LIMIT %s",
            [*values, most],
        )
        keys: list[Key] = cursor.fetchall()
    return keys


def _page(keys: list[Key], limit: int) -> ResultPage:
    """A page of `keys`, which has one more than `limit` when there are older ones."""
    return ResultPage(keys[:limit], _key(keys[limit - 1]) if len(keys) > limit else "")


def candidates_for(text: str, most: int, *, loosely: bool = False) -> list[int]:
    """Ids of at most `most` messages that may contain `text`; all of them when they are fewer.

    Not for white space alone, which is not indexed.
    """
    return _candidates(needle_of(text, loosely=loosely), most)


def _candidates(needle: Needle, most: int) -> list[int]:
    pks: list[int] = engine().candidates(INDEX, needle, most)
    return pks


def _as_rows(pks: list[int]) -> RawSQL:
    """Any number of ids as one parameter."""
    return RawSQL(engine().KEYS, [engine().keys(pks)])  # noqa: S611 - one of two constants


def _position(needle: Needle) -> StrIndex:
    """Where in its text a message has what is searched for; 0 when it has not."""
    return StrIndex(F(f"searchtext__{needle.column}"), Value(needle.text))


def _narrowed(wanted: Wanted) -> QuerySet[Message]:
    """What an index of the messages answers, besides the span of time."""
    messages = Message.objects.all()
    if wanted.conversations:
        messages = messages.filter(conversation__in=wanted.conversations)
    if wanted.senders:
        messages = messages.filter(sender_id__in=wanted.senders)
    return messages


def _rest(wanted: Wanted) -> Q:
    """The criteria that have to be checked for each message."""
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


def _scan(wanted: Wanted, needle: Needle, before: Key | None, limit: int, parts: Sequence[int]) -> ResultPage:
    """Scan messages, newest first, until a page is full or all parts are scanned."""
    keys: list[Key] = []
    rest, messages = _rest(wanted), _narrowed(wanted)
    if needle.text:
        messages, rest = messages.annotate(position=_position(needle)), rest & Q(position__gt=0)
    is_match = Case(When(rest, then=1), default=0) if rest else Value(1, output_field=models.IntegerField())
    looked_back_to = None
    for part in parts:
        both = timeline.newest_of_each(messages, before=before, since=wanted.since, until=wanted.until)
        rows_of_both = (some.values_list(field, "pk", is_match) for some, field in both)
        looked_at = timeline.merged(rows_of_both, itemgetter(0, 1), part)
        keys += [(place, pk) for place, pk, is_wanted in looked_at if is_wanted]
        if len(keys) > limit:
            return _page(keys, limit)
        if len(looked_at) < part:
            return ResultPage(keys)
        looked_back_to, last = looked_at[-1][:2]
        before = (looked_back_to, last)
    return ResultPage(keys, _key(before) if before else "", looked_back_to)


def _key(key: Key) -> str:
    """The key in the format of `timeline.key_of`."""
    return f"{key[0]}-{key[1]}"
