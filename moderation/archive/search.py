"""Finding messages by their words. The answer is that of LIKE '%…%' over the normalised text, for any text.

Each message's text is kept normalised (`SearchText`), and an index knows which pairs of neighbouring characters are in
it. A text to search for has pairs, too: the messages that have all of these are few, and are then compared with it. So
nothing depends on what a word is, and neither engine needs an extension; Chinese has no spaces, and an index of three
characters would miss its many words of two.

SQLite: an FTS5 table that keeps nothing but, for each pair, the messages. PostgreSQL: a GIN index on a function of the
text. Both engines' SQL is here.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import connection, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex

from moderation.archive import payloads, rows
from moderation.archive.models import Message, SearchProgress, SearchText
from moderation.archive.timeline import Key

TABLE = SearchText._meta.db_table
MESSAGES = Message._meta.db_table
PAIRS = "archive_searchpairs"
MOST_PAIRS = 32
# What so few messages may hold is compared with them at once. Of what more do, the newest are mostly found sooner by
# looking through the newest messages; else it is compared with so many.
FEW_CANDIDATES, MOST_CANDIDATES = 2_000, 100_000
# So many are looked through for one page, in parts that grow: a page of what is frequent takes the first part alone.
PARTS = (1_000, 4_000, 16_000, 64_000)
# So many messages that were there before are made searchable in one transaction.
PIECE = 500

# What the index keeps of a pair: of its first character 12 bits, of the second 5.
FIRST, SECOND = 4095, 31

# What `_pair` says, of every character and the one after it; and the one question that is asked, by the index alone:
# left to choose, PostgreSQL asks every message about what is frequent, which takes seconds.
POSTGRESQL_INSTALL = f"""
CREATE OR REPLACE FUNCTION archive_pairs(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT chr(4096 + (ascii(sign) & {FIRST}))
            || coalesce(chr(256 + (ascii(lead(sign) OVER (ORDER BY place)) & {SECOND})), '')
        FROM unnest(string_to_array(words, NULL)) WITH ORDINALITY AS signs (sign, place)
    ));
END $$;
CREATE INDEX IF NOT EXISTS {PAIRS} ON {TABLE} USING gin (archive_pairs(text)) WITH (gin_pending_list_limit = 1024);
CREATE OR REPLACE FUNCTION archive_candidates(pairs tsquery, most bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT message_id FROM {TABLE} WHERE archive_pairs(text) @@ pairs LIMIT most
$$;
"""
POSTGRESQL_REMOVE = f"""
DROP FUNCTION IF EXISTS archive_candidates(tsquery, bigint);
DROP INDEX IF EXISTS {PAIRS};
DROP FUNCTION IF EXISTS archive_pairs(text);
"""
# ruff: noqa: S608 - the only thing put into statements is the names above
SQLITE_INSTALL = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {PAIRS} USING "
    "fts5(pairs, content='', detail=none, columnsize=0, tokenize='ascii')"
)
SQLITE_REMOVE = f"DROP TABLE IF EXISTS {PAIRS}"


def install(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the index (a migration's function)."""
    _run(schema_editor, POSTGRESQL_INSTALL, SQLITE_INSTALL)


def remove(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The way back."""
    _run(schema_editor, POSTGRESQL_REMOVE, SQLITE_REMOVE)


def _run(schema_editor: BaseDatabaseSchemaEditor, postgresql: str, sqlite: str) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(postgresql if schema_editor.connection.vendor == "postgresql" else sqlite)


# Words and their pairs


def normalised(text: str) -> str:
    """`text` as it is compared: forms of the same character are one, and so are capital and small letters."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        # Neither engine takes half of a surrogate pair.
        text = text.encode("utf-8", "replace").decode()
    # PostgreSQL takes no NUL.
    return text.replace("\x00", "\ufffd")


def text_of(message: Message) -> str:
    """The message's words as they are compared."""
    return normalised(payloads.text_of(payloads.read_value(message.data, message.raw)))


@lru_cache(maxsize=2**16)
def _pair(sign: str, following: str = "") -> str:
    """Two neighbouring characters as the index knows them.

    Were each pair of Chinese characters known by itself, most would be in a message or two, and the index would be some
    times as large as the texts. A pair begins with its first character, so that a search for this one finds it, too.
    Nothing in it means anything to an engine.
    """
    first = chr(4096 + (ord(sign) & FIRST))
    return first + chr(256 + (ord(following) & SECOND)) if following else first


def _pairs(text: str) -> set[str]:
    """The pairs in `text`."""
    return set(map(_pair, text, text[1:]))


# Writing


def add(messages: Sequence[Message]) -> None:
    """Make messages that are in the archive searchable, or tell what their words have become; in the transaction."""
    for some in rows.in_parts(sorted(messages, key=lambda message: message.pk)):
        _write([(message.pk, text_of(message)) for message in some], "DO UPDATE SET text = excluded.text")


def _write(texts: list[tuple[int, str]], on_conflict: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (message_id, text) VALUES {', '.join(['(%s, %s)'] * len(texts))} "
            f"ON CONFLICT (message_id) {on_conflict}",
            [value for row in texts for value in row],
        )
        if connection.vendor == "sqlite":
            # Pairs that a message had before stay known as its own: what is found is compared anyway.
            cursor.execute(
                f"INSERT INTO {PAIRS} (rowid, pairs) VALUES {', '.join(['(%s, %s)'] * len(texts))}",
                [value for pk, text in texts for value in (pk, _words(text))],
            )


def _words(text: str) -> str:
    """The pairs of `text`, and its last character, as words for FTS5."""
    return " ".join({*_pairs(text), *map(_pair, text[-1:])})


def forget(pks: Sequence[int]) -> None:
    """Let go of messages that are about to be deleted (so many at once as fit into a statement); in the transaction."""
    texts = SearchText.objects.filter(pk__in=pks)
    if connection.vendor == "sqlite":
        # The index has no copy of what it knows: it is told what to forget.
        known = [(pk, _words(text)) for pk, text in texts.values_list("pk", "text")]
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {PAIRS} ({PAIRS}, rowid, pairs) VALUES ('delete', %s, %s)", known)
    texts.delete()


def add_older(most: int = 10) -> int:
    """Make messages searchable that were there before: at most `most` pieces; returns how many messages.

    Any number of workers may do so at once. It goes on for ever: a console of an older version may still be running,
    and write messages that cannot be searched.
    """
    added = 0
    for _piece in range(most):
        # Nothing is locked for nothing.
        if not Message.objects.filter(pk__gt=_looked_at()).exists():
            break
        with rows.writing():
            progress, _new = SearchProgress.objects.select_for_update().get_or_create(pk=1)
            after = Message.objects.filter(pk__gt=progress.done).order_by("pk")
            pks = list(after.values_list("pk", flat=True)[:PIECE])
            missing = Message.objects.filter(pk__in=pks, searchtext=None).order_by("pk").defer("recalled_raw")
            # Nobody erases a text while it is read here.
            missing = missing.exclude(sha256="").select_for_update(of=("self",))
            if texts := [(message.pk, text_of(message)) for message in missing]:
                # A writer got there first: what it knew is newer.
                _write(texts, "DO NOTHING")
            progress.done = max([progress.done, *pks])
            progress.save(update_fields=["done"])
            added += len(texts)
    return added


def _looked_at() -> int:
    """The id of the message up to which all have been looked at."""
    return SearchProgress.objects.filter(pk=1).values_list("done", flat=True).first() or 0


def progress() -> SearchProgress | None:
    """How far the messages that were there before can be searched; None once all of them can."""
    return SearchProgress.objects.filter(done__lt=F("older")).first()


# Finding


@dataclass(frozen=True)
class Wanted:
    """What messages to find: all of it has to be true, and of several values one. Times are in ms, ends included."""

    text: str = ""
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


def find(wanted: Wanted, *, before: Key | None = None, limit: int = 50) -> Found:
    """At most `limit` messages that are `wanted`, newest first, from `before` on. Takes a bounded time."""
    text = normalised(wanted.text)
    if not text:
        return _look_through(wanted, text, before, limit, PARTS)
    # One character is in few pairs when it is rare, and on every page when it is not.
    if len(text) > 1 and len(candidates := candidates_for(text, FEW_CANDIDATES + 1)) <= FEW_CANDIDATES:
        return _among(candidates, wanted, text, before, limit)
    found = _look_through(wanted, text, before, limit, PARTS[:1])
    if found.looked_back_to is None:
        return found
    if len(candidates := candidates_for(text, MOST_CANDIDATES + 1)) <= MOST_CANDIDATES:
        return _among(candidates, wanted, text, before, limit)
    return _look_through(wanted, text, before, limit, PARTS)


def _among(candidates: list[int], wanted: Wanted, text: str, before: Key | None, limit: int) -> Found:
    """Those of the candidates that are wanted."""
    if not candidates:
        return Found()
    if wanted == Wanted(text=wanted.text):
        return _page(_holding(candidates, text, before, limit + 1), limit)
    holding = _holding(candidates, text, before, len(candidates))
    narrowed = _narrowed(wanted).filter(_rest(wanted), pk__in=_as_rows([pk for _timestamp, pk in holding]))
    keys: list[Key] = list(narrowed.order_by("-timestamp", "-id").values_list("timestamp", "pk")[: limit + 1])
    return _page(keys, limit)


def _holding(candidates: list[int], text: str, before: Key | None, most: int) -> list[Key]:
    """Of the candidates those that hold the text, newest first.

    Written out: to build the statement takes longer than to run it. Texts are compared before messages are looked up.
    """
    is_sqlite = connection.vendor == "sqlite"
    ids = "SELECT value FROM json_each(%s)" if is_sqlite else "SELECT unnest(%s::bigint[])"
    place = "instr(text, %s)" if is_sqlite else "strpos(text, %s)"
    earlier = "WHERE timestamp < %s OR (timestamp = %s AND id < %s)" if before else ""
    values: list[Any] = [json.dumps(candidates) if is_sqlite else candidates, text]
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


def _page(keys: list[Key], limit: int) -> Found:
    """A page out of one more than a page, if there is one more."""
    return Found(keys[:limit], _key(keys[limit - 1]) if len(keys) > limit else "")


def candidates_for(text: str, most: int) -> list[int]:
    """The ids of at most `most` messages that may hold the normalised `text`; when they are fewer, all that do."""
    # More of a long text's would narrow nothing down further.
    pairs = sorted(_pairs(text))[:MOST_PAIRS]
    if connection.vendor == "sqlite":
        words = " ".join(pairs) or f"{_pair(text)} *"
        statement = f"SELECT rowid FROM {PAIRS} WHERE {PAIRS} MATCH %s LIMIT %s"
    else:
        # In quotes: to PostgreSQL some sign of another script is a space.
        words = " & ".join(f"'{pair}'" for pair in pairs) or f"'{_pair(text)}':*"
        statement = "SELECT * FROM archive_candidates(%s::tsquery, %s)"
    with connection.cursor() as cursor:
        cursor.execute(statement, [words, most])
        return [pk for (pk,) in cursor.fetchall()]


def _as_rows(pks: list[int]) -> RawSQL:
    """The ids as one parameter, however many."""
    if connection.vendor == "sqlite":
        return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(pks)])
    return RawSQL("SELECT unnest(%s::bigint[])", [pks])


def _place(text: str) -> StrIndex:
    """Where in its text a message has `text`; 0 when it has not."""
    return StrIndex(F("searchtext__text"), Value(text))


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


def _look_through(wanted: Wanted, text: str, before: Key | None, limit: int, parts: Sequence[int]) -> Found:
    """Ask one message after the other, newest first, until there is a page or the parts are through."""
    keys: list[Key] = []
    rest, messages = _rest(wanted), _narrowed(wanted)
    if text:
        messages, rest = messages.annotate(place=_place(text)), rest & Q(place__gt=0)
    asked = Case(When(rest, then=1), default=0) if rest else Value(1, output_field=models.IntegerField())
    messages = messages.order_by("-timestamp", "-id")
    looked_back_to = None
    for part in parts:
        looked_at = list(_before(before, messages).values_list("timestamp", "pk", asked)[:part])
        keys += [(timestamp, pk) for timestamp, pk, is_wanted in looked_at if is_wanted]
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
