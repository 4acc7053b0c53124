"""Sealing: each entry, as it is read back from the database, gets its place in the hash chain.

Entries are written by many at once, so their ids become visible out of order and the chain cannot follow them. The
worker seals what it finds every second; commands seal before they read. One sealer works at a time.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef

from moderation.audit import verifier
from moderation.audit.ledger.export import ROWS_AT_ONCE
from moderation.audit.ledger.format import COLUMNS, as_dict
from moderation.audit.models import AuditEntry, AuditSeal

# The name of the lock, in PostgreSQL's one space of numbers: "seal" in ASCII.
LOCK = 0x7365616C
LOOK_BACK = 10_000
# A transaction that has written, or is about to write, holds this lock on the table until its end.
WRITERS = """
SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'
AND relation = 'audit_auditentry'::regclass
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# In the order of INSERT's columns: seq, the entry's id, prev_hash, hash.
Seal = tuple[int, int, str, str]
ARRAYS = "unnest({}::bigint[], {}::bigint[], {}, {})".replace("{}", "string_to_array(%s, ',')")
INSERT = f"INSERT INTO {AuditSeal._meta.db_table} (seq, entry_id, prev_hash, hash) "


class Sealer:
    """Seals entries. It remembers up to which id none can be missing, so that a look costs what is new.

    Its first look goes through the whole log.
    """

    def __init__(self) -> None:
        self._settled = 0
        self._mark: tuple[int, set[str]] | None = None

    @classmethod
    def near_the_end(cls) -> "Sealer":
        """One that begins LOOK_BACK seals before the end, for whoever cannot wait for a look at the whole log.

        An older entry that became visible only now is left to the worker's.
        """
        sealer = cls()
        oldest = AuditSeal.objects.filter(seq=head()[0] - LOOK_BACK).values_list("entry_id", flat=True).first()
        sealer._settled = oldest or 0
        return sealer

    def seal(self) -> int:
        """Seal every entry that is committed by now; returns how many were."""
        if self._mark is None:
            self._mark = (AuditEntry.objects.aggregate(last=Max("pk"))["last"] or 0, writers())
        else:
            self._mark = (self._mark[0], self._mark[1] & writers())
        sealed, after = 0, self._settled
        while True:
            more = self._seal_some(after)
            sealed += len(more)
            # The rest is not committed by now: whoever went on looking would have a few entries at a time, without end.
            if len(more) < ROWS_AT_ONCE:
                break
            after = more[-1][1]
        # Whoever had taken an id up to the mark and not committed is gone, and what they wrote was read above.
        if not self._mark[1]:
            self._settled, self._mark = self._mark[0], None
        return sealed

    def _seal_some(self, after: int) -> list[Seal]:
        """Seal some of the entries with ids beyond `after`."""
        seals: list[Seal] = []
        if connection.vendor == "sqlite":
            # Looked for first: the transaction below keeps writers out.
            first = unsealed(after).values_list("pk", flat=True).first()
            if first is None:
                return seals
            after = first - 1
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            seq, prev_hash = head()
            for pk, *columns in unsealed(after).values_list("pk", *COLUMNS)[:ROWS_AT_ONCE]:
                seq += 1
                hash_ = verifier.entry_hash(as_dict(columns, seq, prev_hash, None))
                seals.append((seq, pk, prev_hash, hash_))
                prev_hash = hash_
            # Another sealer may have been here since.
            if seals:
                write(seals)
        return seals


def unsealed(after: int) -> Any:
    """The entries with ids beyond `after` that have no seal, in the order of their ids."""
    sealed = AuditSeal.objects.filter(entry_id=OuterRef("pk"), entry_id__gt=after)
    return AuditEntry.objects.filter(~Exists(sealed), pk__gt=after).order_by("pk")


def write(seals: Sequence[Seal]) -> None:
    """Append seals. Written out: sealing goes on beside those who write the entries, and takes of their time."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Texts, which cost less than lists; none holds a comma.
            columns = [",".join(map(str, column)) for column in zip(*seals, strict=True)]
            cursor.execute(f"{INSERT} SELECT * FROM {ARRAYS}", columns)  # noqa: S608 - no value
        else:
            cursor.executemany(f"{INSERT} VALUES (%s, %s, %s, %s)", seals)


def writers() -> set[str]:
    """The transactions that may have taken an entry's id and not yet committed it; on SQLite never any."""
    if connection.vendor != "postgresql":
        return set()
    with connection.cursor() as cursor:
        cursor.execute(WRITERS)
        return {name for (name,) in cursor.fetchall()}


def head() -> tuple[int, str]:
    """`seq` and `hash` of the last seal; 0 and zeros before the first."""
    last = AuditSeal.objects.order_by("-seq").values_list("seq", "hash").first()
    return last or (0, verifier.FIRST_PREV_HASH)
