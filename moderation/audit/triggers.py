"""The database's own refusal to change the audit log: both engines' SQL side by side."""

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "audit_auditentry"

POSTGRESQL_INSTALL = f"""
CREATE OR REPLACE FUNCTION audit_entries_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries never change: % refused', TG_OP;
END $$;
CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted
    BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION audit_entries_never_change();
CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
    BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change();
"""

POSTGRESQL_REMOVE = f"""
DROP TRIGGER IF EXISTS audit_entries_are_never_updated_or_deleted ON {TABLE};
DROP TRIGGER IF EXISTS audit_entries_are_never_truncated ON {TABLE};
DROP FUNCTION IF EXISTS audit_entries_never_change();
"""

# ruff: noqa: S608 - the only thing put into these statements is the table's name above
# SQLite has no TRUNCATE: DELETE without a condition fires the row trigger. INSERT OR REPLACE deletes without
# firing it unless recursive_triggers is on, hence the third trigger.
SQLITE_INSTALL = (
    f"""CREATE TRIGGER IF NOT EXISTS audit_entries_are_never_updated BEFORE UPDATE ON {TABLE}
    BEGIN SELECT RAISE(ABORT, 'audit entries never change: UPDATE refused'); END""",
    f"""CREATE TRIGGER IF NOT EXISTS audit_entries_are_never_deleted BEFORE DELETE ON {TABLE}
    BEGIN SELECT RAISE(ABORT, 'audit entries never change: DELETE refused'); END""",
    f"""CREATE TRIGGER IF NOT EXISTS audit_entries_are_never_replaced BEFORE INSERT ON {TABLE}
    WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'audit entries never change: REPLACE refused'); END""",
)

SQLITE_REMOVE = tuple(
    f"DROP TRIGGER IF EXISTS audit_entries_are_never_{what}" for what in ("updated", "deleted", "replaced")
)


def _run(connection: BaseDatabaseWrapper, postgresql: str, sqlite: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        for statement in (postgresql,) if connection.vendor == "postgresql" else sqlite:
            cursor.execute(statement)


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the database refuse UPDATE, DELETE and TRUNCATE of the audit log (a migration's function)."""
    _run(schema_editor.connection, POSTGRESQL_INSTALL, SQLITE_INSTALL)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The way back, for migrations and for emptying a test database."""
    _run(schema_editor.connection, POSTGRESQL_REMOVE, SQLITE_REMOVE)
