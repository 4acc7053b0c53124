"""An audit log of any size, written by the database itself: what benchmarks of reading it share.

The seals are numbered and linked and their hashes are made up: good for lists, not for verifying.
"""

from __future__ import annotations

from typing import Any

# Seconds since the epoch of the first entry; one every STEP seconds.
FIRST, STEP = 1_660_000_000, 10
COLUMNS = (
    "id, at, actor, action, app, kind, user_a, user_b, group_id, recall, batch, attempt, timestamps, request, "
    "http_status, response_code, response_content, latency_ms, detail"
)
# Of N entries the first sixth are by somebody who then left. What is seldom has some 150 entries however many there
# are: a page of it is full at every size, and alike.
VALUES = """
n, {at},
CASE WHEN n <= {rows} / 6 THEN 'left' WHEN n % ({rows} / 150) = 0 THEN 'seldom' ELSE 'mo-' || (n % 5) END,
CASE n % 10 WHEN 0 THEN 'recall.requested' WHEN 1 THEN 'auth.signed_in' WHEN 2 THEN 'messages.searched'
WHEN 3 THEN 'conversation.opened' WHEN 4 THEN 'recall.sending' WHEN 5 THEN 'recall.sending'
ELSE 'recall.answered' END,
CASE n % 3 WHEN 0 THEN 'default' WHEN 1 THEN 'shop' ELSE 'game' END,
CASE WHEN n % 3 < 2 THEN 'group' ELSE 'private' END,
CASE WHEN n % 3 < 2 THEN '' ELSE 'user-' || (n % ({rows} / 400)) END,
CASE WHEN n % 3 < 2 THEN '' ELSE 'user-' || (n % ({rows} / 400) + {rows}) END,
CASE WHEN n % 3 < 2 THEN 'group-' || (n / 3 % ({rows} / 225)) ELSE '' END,
{recall}, 0, 1, {timestamps}, {request},
CASE WHEN n % 10 > 5 THEN 200 END,
CASE WHEN n % ({rows} / 150) = 1 THEN 401 WHEN n % 10 > 5 THEN 200 END,
CASE WHEN n % 10 > 5 THEN 'OK' END, CASE WHEN n % 10 > 5 THEN 87 END, '{{}}'
"""  # noqa: S608 - constants
TIMESTAMPS, REQUEST = "[1700000000000, 1700000000001, 1700000000002]", '{"appkey": "BC-…cdef", "groupId": "group-1"}'


def fill(rows: int, connection: Any) -> None:
    """Write `rows` entries and seals into an empty, migrated log; indexes are built afterwards, as they were."""
    from moderation.audit.ledger import triggers

    is_postgresql = connection.vendor == "postgresql"
    how = {
        "rows": rows,
        "at": f"to_timestamp({FIRST} + n * {STEP}::bigint)"
        if is_postgresql
        else f"datetime({FIRST} + n * {STEP}, 'unixepoch')",
        "recall": "md5((n / 10)::text)::uuid" if is_postgresql else "printf('%032x', n / 10)",
        "timestamps": f"'{TIMESTAMPS}'::jsonb" if is_postgresql else f"'{TIMESTAMPS}'",
        "request": f"'{REQUEST}'::jsonb" if is_postgresql else f"'{REQUEST}'",
    }
    numbers = (
        f"SELECT n FROM generate_series(1, {rows}) n"
        if is_postgresql
        else f"WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {rows}) SELECT n FROM i"
    )
    hashed = "lpad(to_hex(n{}), 64, '0')" if is_postgresql else "printf('%064x', n{})"
    with connection.schema_editor(atomic=False) as editor:
        triggers.remove(None, editor)
    with connection.cursor() as cursor:
        if is_postgresql:
            cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'audit_by_%%'")
            # The seals' foreign key is not looked up ten million times.
            also = "SET session_replication_role = replica"
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'audit_by_%%'")
            also = "PRAGMA synchronous = OFF"
        indexes = cursor.fetchall()
        cursor.execute(also)
        for name, _definition in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute(
            f"INSERT INTO audit_auditentry ({COLUMNS}) SELECT {VALUES.format(**how)} FROM ({numbers}) AS numbers", None
        )
        cursor.execute(
            f"INSERT INTO audit_auditseal (seq, entry_id, prev_hash, hash) SELECT n, n, {hashed.format(' - 1')}, "
            f"{hashed.format('')} FROM ({numbers}) AS numbers",
            None,
        )
        for _name, definition in indexes:
            cursor.execute(definition)
        if is_postgresql:
            cursor.execute("SET session_replication_role = DEFAULT")
            cursor.execute("SELECT setval(pg_get_serial_sequence('audit_auditentry', 'id'), %s)", [rows])
            cursor.execute("VACUUM ANALYZE audit_auditentry")
            cursor.execute("VACUUM ANALYZE audit_auditseal")
    with connection.schema_editor(atomic=False) as editor:
        triggers.install(None, editor)
