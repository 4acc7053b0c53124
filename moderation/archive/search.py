"""Finding messages by their words. The answer is that of LIKE '%…%' over the normalised text, for any text.

Each message's text is kept normalised (`SearchText`), and an index knows which short pieces, its grams, are in it: an
ideograph and the next character, or of another letter three characters. A text to search for has grams, too: the
messages that have all of these are few, and are then compared with it. So nothing depends on what a word is, and
neither engine needs an extension; Chinese has no spaces, and an index of three characters would miss its many words of
two.

Grams are those of the text without white space and signs, so that one index serves the search that ignores these, too;
each sign is a gram of its own.

SQLite: an FTS5 table that keeps nothing but, for each gram, the messages. PostgreSQL: a GIN index on a function of the
text, which a migration makes (`archive/migrations/0013_grams.py`) and `grams_of` repeats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from django.db import connection, models
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex

from moderation.archive import payloads, rows, timeline
from moderation.archive.models import Message, SearchProgress, SearchText
from moderation.archive.normalise import MAX_KEPT, VERSION, normalise, signs_in, squeeze
from moderation.archive.timeline import Key

TABLE = SearchText._meta.db_table
MESSAGES = Message._meta.db_table
GRAMS = "archive_searchgrams"
MAX_GRAMS = 32
# What so few messages may hold is compared with them at once. Of what more do, the newest are mostly found sooner by
# looking through the newest messages; else it is compared with so many.
FEW_CANDIDATES, MOST_CANDIDATES = 2_000, 100_000
# So many are looked through for one page, in parts that grow: a page of what is frequent takes the first part alone.
PARTS = (1_000, 4_000, 16_000, 64_000)
# So many messages that were there before are made searchable in one transaction.
PIECE = 500

# ruff: noqa: S608 - the only thing put into statements is the names above

# Grams. What is here is what the function `archive_grams` of PostgreSQL does: change both, in a migration, or neither.

# From this character on two make a gram, and before it three: four of these would make an index twice as large, and
# half as fast to write, for searches that are not faster.
FIRST_IDEOGRAPH = "\u2e80"
LETTERS = 3
# Between the letters and the signs of `SearchText.words`; no normalised text has it.
SEPARATOR = "\x1f"


class _Shifted(dict[int, int]):
    """For `str.translate`: the lowest bits of a character, as a character that means nothing to an engine."""

    def __init__(self, first: int, mask: int) -> None:
        super().__init__()
        self._first, self._mask = first, mask

    def __missing__(self, code: int) -> int:
        shifted = self._first + (code & self._mask)
        if len(self) < MAX_KEPT:
            self[code] = shifted
        return shifted


# Were each pair of ideographs known by itself, most would be in a message or two, and the index would be some times as
# large as the texts. A gram begins with its first character, so that a search for this one finds it, too.
IDEOGRAPH, FOLLOWING = _Shifted(0x1000, 0xFFF), _Shifted(0x100, 0x1F)
LETTER = _Shifted(0x400, 0xFF)
SIGN = _Shifted(0x5000, 0x3FF)


def grams_of(words: str) -> set[str]:
    """All grams of `words`; near the end of its letters they are shorter."""
    squeezed, _separator, signs = words.partition(SEPARATOR)
    return {*_grams(squeezed, len(squeezed)), *signs.translate(SIGN)}


def _grams(squeezed: str, end: int) -> set[str]:
    """The grams that begin before `end`."""
    letters = squeezed.translate(LETTER)
    if squeezed.isascii():
        return {letters[place : place + LETTERS] for place in range(end)}
    first, following = squeezed.translate(IDEOGRAPH), squeezed.translate(FOLLOWING)
    return {
        letters[place : place + LETTERS]
        if squeezed[place] < FIRST_IDEOGRAPH
        else first[place] + following[place + 1 : place + 2]
        for place in range(end)
    }


def _grams_to_search(text: str, squeezed: str) -> tuple[set[str], str]:
    """The grams that every message has which holds the normalised `text`; for want of them, what one begins with."""
    signs = set(signs_in(text).translate(SIGN))
    whole = {gram for gram in _grams(squeezed, len(squeezed)) if len(gram) == (LETTERS if gram < chr(0x1000) else 2)}
    if whole or signs or not squeezed:
        return whole | signs, ""
    return set(), _grams(squeezed, 1).pop()


# Writing


def words_of(text: str) -> str:
    """What `SearchText.words` has of a normalised text: it without white space and signs, and then the signs."""
    squeezed = squeeze(text)
    return squeezed if squeezed == text else f"{squeezed}{SEPARATOR}{signs_in(text)}"


def text_of(message: Message) -> str:
    """The message's words as they are compared."""
    return normalise(payloads.text_of(payloads.read_value(message.data, message.raw)))


def add(messages: Sequence[Message]) -> None:
    """Make messages that are new in the archive searchable; in the transaction."""
    for some in rows.in_parts(sorted(messages, key=lambda message: message.pk)):
        _write([(message.pk, text_of(message)) for message in some])


def replace(messages: Sequence[Message]) -> None:
    """Make messages searchable by what their words have become; in the transaction."""
    for some in rows.in_parts(sorted(messages, key=lambda message: message.pk)):
        _remove_from_index([message.pk for message in some])
        _write([(message.pk, text_of(message)) for message in some])


def _write(texts: list[tuple[int, str]]) -> None:
    values = [(pk, text, words_of(text), VERSION) for pk, text in texts]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (message_id, text, words, rules) "
            f"VALUES {', '.join(['(%s, %s, %s, %s)'] * len(texts))} ON CONFLICT (message_id) DO UPDATE "
            "SET text = excluded.text, words = excluded.words, rules = excluded.rules",
            [value for row in values for value in row],
        )
        if connection.vendor == "sqlite":
            cursor.execute(
                f"INSERT INTO {GRAMS} (rowid, grams) VALUES {', '.join(['(%s, %s)'] * len(texts))}",
                [value for pk, _text, words, _rules in values for value in (pk, " ".join(grams_of(words)))],
            )


def _remove_from_index(pks: Sequence[int]) -> None:
    """Remove messages from SQLite's index, which keeps no copy of its content: it needs the grams to remove."""
    if connection.vendor == "sqlite":
        indexed = SearchText.objects.filter(pk__in=pks, rules__isnull=False).values_list("pk", "words")
        gone = [(pk, " ".join(grams_of(words or ""))) for pk, words in indexed]
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {GRAMS} ({GRAMS}, rowid, grams) VALUES ('delete', %s, %s)", gone)


def forget(pks: Sequence[int]) -> None:
    """Let go of messages that are about to be deleted (so many at once as fit into a statement); in the transaction."""
    _remove_from_index(pks)
    SearchText.objects.filter(pk__in=pks).delete()


def add_older(most: int = 10) -> int:
    """Index messages that are not yet, or by other rules (`normalise.VERSION`): at most `most` pieces; how many.

    Any number of workers may do so at once, and the next one goes on where one was ended. It goes on for ever: a
    console of an older version may still be running, and write messages by its own rules.
    """
    added = 0
    for _piece in range(most):
        # Skip the lock when there is no work.
        by_these_rules = SearchProgress.objects.filter(pk=1, rules=VERSION).values_list("done", flat=True).first()
        if by_these_rules is not None and not Message.objects.filter(pk__gt=by_these_rules).exists():
            break
        with rows.writing():
            progress, _new = SearchProgress.objects.select_for_update().get_or_create(pk=1)
            if progress.rules != VERSION:
                progress.rules, progress.done, progress.older = VERSION, 0, _newest() if _is_stale() else 0
            after = Message.objects.filter(pk__gt=progress.done).order_by("pk")
            pks = list(after.values_list("pk", flat=True)[:PIECE])
            current = SearchText.objects.filter(pk__in=pks, rules=VERSION).values_list("pk", flat=True)
            stale = Message.objects.filter(pk__in=set(pks) - set(current)).order_by("pk").defer("recalled_raw")
            # Nobody erases or changes a text while it is read here.
            messages = list(stale.exclude(sha256="").select_for_update())
            if messages:
                replace(messages)
            progress.done = max([progress.done, *pks])
            progress.save(update_fields=["rules", "done", "older"])
            added += len(messages)
    return added


def _newest() -> int:
    return Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _is_stale() -> bool:
    """Whether there are messages that were not indexed by these rules: the oldest ones are the last to be new."""
    oldest = Message.objects.exclude(sha256="").order_by("pk").values_list("searchtext__rules", flat=True)[:1]
    return any(rules != VERSION for rules in oldest)


def progress() -> SearchProgress | None:
    """How far the worker has come with messages to be indexed anew; None once all of them are."""
    row = SearchProgress.objects.first() or SearchProgress()
    if row.rules == VERSION:
        return row if row.done < row.older else None
    return SearchProgress(older=_newest()) if _is_stale() else None


# Finding


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
class Found:
    """Where messages are that were found, newest first: their places in the timeline, and ids.

    `older` is the key to go on from, empty when there are no more. `looked_back_to` (ms) is told when
    the search ended for the time that it took, with more to look through.
    """

    keys: list[Key] = field(default_factory=list)
    older: str = ""
    looked_back_to: int | None = None

    def messages(self) -> list[Message]:
        """The messages, with their conversations; one query."""
        pks = [pk for _place, pk in self.keys]
        messages = Message.objects.select_related("conversation__application").in_bulk(pks)
        return [messages[pk] for pk in pks if pk in messages]


@dataclass(frozen=True)
class Needle:
    """What is compared with each message's `column`, and what an index can be searched for."""

    text: str
    column: str
    grams: frozenset[str]
    beginning: str

    @property
    def is_in_index(self) -> bool:
        """Whether the index can be searched for it: white space is not in it."""
        return bool(self.grams or self.beginning)


def needle_of(text: str, *, loosely: bool = False) -> Needle:
    text = normalise(text)
    squeezed = squeeze(text)
    # Of signs alone nothing would be left.
    if loosely and squeezed:
        text = squeezed
    else:
        loosely = False
    grams, beginning = _grams_to_search(text, squeezed)
    return Needle(text, "words" if loosely else "text", frozenset(grams), beginning)


def find(wanted: Wanted, *, before: Key | None = None, limit: int = 50) -> Found:
    """At most `limit` messages that are `wanted`, newest first, from `before` on. Takes a bounded time."""
    needle = needle_of(wanted.text, loosely=wanted.loosely)
    if not needle.is_in_index:
        return _look_through(wanted, needle, before, limit, PARTS)
    # What a gram begins with is in few messages when it is rare, and on every page when it is not.
    if needle.grams and len(candidates := _candidates(needle, FEW_CANDIDATES + 1)) <= FEW_CANDIDATES:
        return _among(candidates, wanted, needle, before, limit)
    found = _look_through(wanted, needle, before, limit, PARTS[:1])
    if found.looked_back_to is None:
        return found
    if len(candidates := _candidates(needle, MOST_CANDIDATES + 1)) <= MOST_CANDIDATES:
        return _among(candidates, wanted, needle, before, limit)
    return _look_through(wanted, needle, before, limit, PARTS)


def _among(candidates: list[int], wanted: Wanted, needle: Needle, before: Key | None, limit: int) -> Found:
    """Those of the candidates that are wanted."""
    if not candidates:
        return Found()
    if wanted == Wanted(text=wanted.text, loosely=wanted.loosely):
        return _page(_holding(candidates, needle, before, limit + 1), limit)
    holding = _holding(candidates, needle, before, len(candidates))
    narrowed = _narrowed(wanted).filter(_rest(wanted), pk__in=_as_rows([pk for _place, pk in holding]))
    parts = timeline.newest_of_each(narrowed, since=wanted.since, until=wanted.until)
    keys: list[Key] = timeline.merged((part.values_list(field, "pk") for part, field in parts), tuple, limit + 1)
    return _page(keys, limit)


def _holding(candidates: list[int], needle: Needle, before: Key | None, most: int) -> list[Key]:
    """Of the candidates those that hold the text, newest first.

    Written out: to build the statement takes longer than to run it. Texts are compared before messages are looked up.
    """
    is_sqlite = connection.vendor == "sqlite"
    ids = "SELECT value FROM json_each(%s)" if is_sqlite else "SELECT unnest(%s::bigint[])"
    found_at = f"instr({needle.column}, %s)" if is_sqlite else f"strpos({needle.column}, %s)"
    earlier = "WHERE place < %s OR (place = %s AND held < %s)" if before else ""
    values: list[Any] = [json.dumps(candidates) if is_sqlite else candidates, needle.text]
    if before:
        values += [before[0], *before]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH holding AS MATERIALIZED (SELECT message_id AS held FROM {TABLE} "
            f"WHERE message_id IN ({ids}) AND {found_at} > 0), "
            "placed AS (SELECT COALESCE(placed_at, timestamp) AS place, held "
            f"FROM holding JOIN {MESSAGES} ON id = held) "
            f"SELECT place, held FROM placed {earlier} ORDER BY place DESC, held DESC LIMIT %s",
            [*values, most],
        )
        keys: list[Key] = cursor.fetchall()
    return keys


def _page(keys: list[Key], limit: int) -> Found:
    """A page out of one more than a page, if there is one more."""
    return Found(keys[:limit], _key(keys[limit - 1]) if len(keys) > limit else "")


def candidates_for(text: str, most: int, *, loosely: bool = False) -> list[int]:
    """The ids of at most `most` messages that may hold `text`; when they are fewer, all that do.

    Not of white space alone, which the index does not know.
    """
    return _candidates(needle_of(text, loosely=loosely), most)


def _candidates(needle: Needle, most: int) -> list[int]:
    if connection.vendor == "sqlite":
        statement, query = f"SELECT rowid FROM {GRAMS} WHERE {GRAMS} MATCH %s LIMIT %s", sqlite_query(needle)
    else:
        statement, query = "SELECT * FROM archive_messages_with(%s::tsquery, %s)", tsquery(needle)
    with connection.cursor() as cursor:
        cursor.execute(statement, [query, most])
        return [pk for (pk,) in cursor.fetchall()]


def sqlite_query(needle: Needle) -> str:
    """The needle as FTS5 is asked for it. More grams of a long text would narrow nothing down further."""
    return " ".join(sorted(needle.grams)[:MAX_GRAMS]) or f"{needle.beginning} *"


def tsquery(needle: Needle) -> str:
    """The needle as PostgreSQL is asked for it. In quotes: to it some sign of another script is a space."""
    grams = sorted(needle.grams)[:MAX_GRAMS]
    return " & ".join(f"'{gram}'" for gram in grams) or f"'{needle.beginning}':*"


def _as_rows(pks: list[int]) -> RawSQL:
    """The ids as one parameter, however many."""
    if connection.vendor == "sqlite":
        return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(pks)])
    return RawSQL("SELECT unnest(%s::bigint[])", [pks])


def _found_at(needle: Needle) -> StrIndex:
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


def _look_through(wanted: Wanted, needle: Needle, before: Key | None, limit: int, parts: Sequence[int]) -> Found:
    """Ask one message after the other, newest first, until there is a page or the parts are through."""
    keys: list[Key] = []
    rest, messages = _rest(wanted), _narrowed(wanted)
    if needle.text:
        messages, rest = messages.annotate(found_at=_found_at(needle)), rest & Q(found_at__gt=0)
    asked = Case(When(rest, then=1), default=0) if rest else Value(1, output_field=models.IntegerField())
    looked_back_to = None
    for part in parts:
        both = timeline.newest_of_each(messages, before=before, since=wanted.since, until=wanted.until)
        rows_of_both = (some.values_list(field, "pk", asked) for some, field in both)
        looked_at = timeline.merged(rows_of_both, itemgetter(0, 1), part)
        keys += [(place, pk) for place, pk, is_wanted in looked_at if is_wanted]
        if len(keys) > limit:
            return _page(keys, limit)
        if len(looked_at) < part:
            return Found(keys)
        looked_back_to, last = looked_at[-1][:2]
        before = (looked_back_to, last)
    return Found(keys, _key(before) if before else "", looked_back_to)


def _key(key: Key) -> str:
    """As `timeline.key_of` writes it."""
    return f"{key[0]}-{key[1]}"
