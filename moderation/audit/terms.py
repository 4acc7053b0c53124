"""The search index of the log: what each entry can be found by, beside its own columns.

A term is one letter for its kind, a colon and a value. `record_all()` writes an entry's terms in the transaction of the
entry. They are not sealed and prove nothing: they say where to look, and the entry says what happened. What may be
erased is never among them.
"""

import re
from collections.abc import Iterable
from itertools import chain

from django.db import connection

from moderation.audit.models import AuditEntry, AuditTerm

TIMESTAMP, SENDER, REQUEST_ID, WORD = "t", "s", "r", "w"
# A longer value is found by its beginning.
MAX_TERM = 300
MAX_WORDS = 20
ROWS_AT_ONCE = 500
# NUL, and lone surrogates.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def term(kind: str, value: object) -> str:
    """The term of a value; empty for a value that not every database can store."""
    text = f"{kind}:{value}"[:MAX_TERM]
    return "" if UNSTORABLE.search(text) else text


def word_terms(text: str) -> list[str]:
    """The terms of the words of a text, in lower case."""
    return [made for word in re.findall(r"\w+", text.casefold())[:MAX_WORDS] if (made := term(WORD, word))]


def whole_term(text: str) -> str:
    """The term of a text as a whole, in lower case."""
    return term(WORD, text.casefold())


def terms_of(entry: AuditEntry, senders: Iterable[str] = ()) -> set[str]:
    """The terms of an entry: timestamps, senders, the request's id, and the fields that its event class has searched.

    `senders`: of the messages that it is about, which the entry itself does not name.
    """
    from moderation.audit.events import EVENTS, fields_of

    event = EVENTS.get(entry.action)
    if event and not event.is_indexed:
        return set()
    detail = entry.detail if isinstance(entry.detail, dict) else {}
    found = {term(TIMESTAMP, timestamp) for timestamp in entry.timestamps or ()}
    found |= {term(SENDER, sender) for sender in senders if sender}
    origin = detail.get("from")
    if isinstance(origin, dict) and origin.get("request_id"):
        found.add(term(REQUEST_ID, origin["request_id"]))
    for field in fields_of(event) if event else ():  # type: ignore[arg-type]  # a class is hashable
        if field.meta is None or not field.meta.is_searched or not (value := detail.get(field.name)):
            continue
        if field.name == "sender":
            found.add(term(SENDER, value))
            continue
        for text in map(str, value if isinstance(value, list) else [value]):
            found |= {whole_term(text), *word_terms(text)}
    return found - {""}


def add_terms(entries: Iterable[AuditEntry]) -> None:
    """Write the terms of entries that were written in this transaction."""
    rows = [
        (each, connection.ops.adapt_datetimefield_value(entry.at), entry.pk)
        for entry in entries
        for each in sorted(terms_of(entry, getattr(entry, "senders", ())))
    ]
    table = AuditTerm._meta.db_table
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        # Not by `bulk_create()`: the objects would take longer than the rows, and every call to GoEasy waits for them.
        values = ", ".join(["(%s, %s, %s)"] * len(some))
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} (term, at, entry_id) VALUES {values}", [*chain(*some)])  # noqa: S608
