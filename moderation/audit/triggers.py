"""The database's own refusal to change the audit log: both engines' SQL side by side."""

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Each table with the condition under which a row that is inserted would take another's place.
TABLES = {
    "audit_auditentry": "rowid = NEW.rowid",
    "audit_auditseal": "seq = NEW.seq OR entry_id = NEW.entry_id OR prev_hash = NEW.prev_hash",
    "audit_auditcheckpoint": "size = NEW.size",
    "audit_auditprivate": "entry_id = NEW.entry_id",
}
# The one table of which a row may be changed, once, and how.
ERASABLE = "audit_auditprivate"
IS_ERASED = """NEW.entry_id = OLD.entry_id AND OLD.salt <> '' AND NEW.salt = '' AND NEW.content = ''
AND NEW.erasure_id IS NOT NULL"""

POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION audit_entries_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries never change: % refused', TG_OP;
END $$
"""


# ruff: noqa: S608 - the only things put into these statements are the constants above
def postgresql_install(table: str) -> tuple[str, ...]:
    # A trigger for both, or one for each of which one has a condition (which may name what a DELETE has not).
    name, row = "CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted", f"ON {table} FOR EACH ROW"
    refuse = "EXECUTE FUNCTION audit_entries_never_change()"
    erasable = (
        f"{name} BEFORE DELETE {row} {refuse}",
        f"""CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_otherwise
        BEFORE UPDATE {row} WHEN (NOT ({IS_ERASED})) {refuse}""",
    )
    return (
        POSTGRESQL_FUNCTION,
        *(erasable if table == ERASABLE else (f"{name} BEFORE UPDATE OR DELETE {row} {refuse}",)),
        f"""CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
        BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change()""",
    )


def postgresql_remove(table: str) -> tuple[str, ...]:
    return tuple(
        f"DROP TRIGGER IF EXISTS audit_entries_are_never_{what} ON {table}"
        for what in ("updated_or_deleted", "updated_otherwise", "truncated")
    )


# SQLite has no TRUNCATE: DELETE without a condition fires the row trigger. INSERT OR REPLACE deletes without
# firing it unless recursive_triggers is on, hence the third trigger.
def sqlite_install(table: str) -> tuple[str, ...]:
    refuse = "BEGIN SELECT RAISE(ABORT, 'audit entries never change: {} refused'); END"
    unless = f"WHEN NOT ({IS_ERASED})" if table == ERASABLE else ""
    return (
        f"""CREATE TRIGGER IF NOT EXISTS {table}_is_never_updated BEFORE UPDATE ON {table}
        {unless} {refuse.format("UPDATE")}""",
        f"CREATE TRIGGER IF NOT EXISTS {table}_is_never_deleted BEFORE DELETE ON {table} {refuse.format('DELETE')}",
        f"""CREATE TRIGGER IF NOT EXISTS {table}_is_never_replaced BEFORE INSERT ON {table}
        WHEN EXISTS (SELECT 1 FROM {table} WHERE {TABLES[table]}) {refuse.format("REPLACE")}""",
    )


def sqlite_remove(table: str) -> tuple[str, ...]:
    names = [f"{table}_is_never_{what}" for what in ("updated", "deleted", "replaced")]
    if table == "audit_auditentry":
        # As the first version of the log named them.
        names += [f"audit_entries_are_never_{what}" for what in ("updated", "deleted", "replaced")]
    return tuple(f"DROP TRIGGER IF EXISTS {name}" for name in names)


STATEMENTS = {
    "postgresql": (postgresql_install, postgresql_remove),
    "sqlite": (sqlite_install, sqlite_remove),
}


def _run(connection: BaseDatabaseWrapper, which: int) -> None:
    # A migration that comes before another's table finds it absent.
    present = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in TABLES:
            if table in present:
                for statement in STATEMENTS[connection.vendor][which](table):
                    cursor.execute(statement)


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the database refuse UPDATE, DELETE and TRUNCATE of the audit log (a migration's function)."""
    _run(schema_editor.connection, 0)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The way back, for migrations and for emptying a test database."""
    _run(schema_editor.connection, 1)
