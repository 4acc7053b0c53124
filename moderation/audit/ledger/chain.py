"""Sealing: computes each entry's place in the hash chain from the entry as read back from the database.

Concurrent transactions write entries, so ids become visible out of order and the chain cannot follow them. The worker
seals new entries every second; commands seal before they read. One sealer writes at a time.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef

from moderation.audit import verifier
from moderation.audit.ledger.export import ROWS_AT_ONCE
from moderation.audit.ledger.format import COLUMNS, as_dict
from moderation.audit.models import AuditEntry, AuditSeal

# Key of the advisory lock: "seal" in ASCII.
LOCK = 0x7365616C
LOOK_BACK = 10_000
# A transaction that has written to the table, or is about to, holds this lock until its end.
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
    """Seals entries. Remembers the id up to which all entries are sealed for good, so that a run reads new ones only.

    The first run reads the whole log.
    """

    def __init__(self) -> None:
        self._settled = 0
        self._mark: tuple[int, set[str]] | None = None

    @classmethod
    def near_the_end(cls) -> "Sealer":
        """A sealer that begins LOOK_BACK seals before the end, for callers that cannot wait for the whole log.

        An older entry that has become visible only now is left to the worker's sealer.
        """
        sealer = cls()
        oldest = AuditSeal.objects.filter(seq=head()[0] - LOOK_BACK).values_list("entry_id", flat=True).first()
        sealer._settled = oldest or 0
        return sealer

    def seal(self) -> int:
        """Seal every committed entry. Returns their number."""
        if self._mark is None:
            self._mark = (AuditEntry.objects.aggregate(last=Max("pk"))["last"] or 0, writers())
        else:
            self._mark = (self._mark[0], self._mark[1] & writers())
        sealed, after = 0, self._settled
        while True:
            more = self._seal_some(after)
            sealed += len(more)
            # Stop here: with continuous writers, going on would find a few new entries each time, without end.
            if len(more) < ROWS_AT_ONCE:
                break
            after = more[-1][1]
        # All transactions that could have had an id up to the mark have ended, and their entries were read above.
        if not self._mark[1]:
            self._settled, self._mark = self._mark[0], None
        return sealed

    def _seal_some(self, after: int) -> list[Seal]:
        """Seal up to ROWS_AT_ONCE entries with ids beyond `after`."""
        seals: list[Seal] = []
        if connection.vendor == "sqlite":
            # Query before the transaction below, as that locks writers out.
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
            # Another sealer may have sealed them in the meantime.
            if seals:
                write(seals)
        return seals


def unsealed(after: int) -> Any:
    """Entries with ids beyond `after` and without a seal, in order of ids."""
    sealed = AuditSeal.objects.filter(entry_id=OuterRef("pk"), entry_id__gt=after)
    return AuditEntry.objects.filter(~Exists(sealed), pk__gt=after).order_by("pk")


def write(seals: Sequence[Seal]) -> None:
    """Append seals, in SQL for speed: sealing competes with the writers of entries."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Joined texts are faster than arrays; no value contains a comma.
            columns = [",".join(map(str, column)) for column in zip(*seals, strict=True)]
            cursor.execute(f"{INSERT} SELECT * FROM {ARRAYS}", columns)  # noqa: S608 - no value
        else:
            cursor.executemany(f"{INSERT} VALUES (%s, %s, %s, %s)", seals)


def writers() -> set[str]:
    """Open transactions that may have allocated an entry's id; on SQLite always none."""
    if connection.vendor != "postgresql":
        return set()
    with connection.cursor() as cursor:
        cursor.execute(WRITERS)
        return {name for (name,) in cursor.fetchall()}


def head() -> tuple[int, str]:
    """`seq` and `hash` of the last seal; 0 and zeros if there is none."""
    last = AuditSeal.objects.order_by("-seq").values_list("seq", "hash").first()
    return last or (0, verifier.FIRST_PREV_HASH)
