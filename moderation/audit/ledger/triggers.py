"""Triggers that refuse changes of the audit log, for both engines."""

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Tables, each with the condition under which an INSERT OR REPLACE would replace a row.
TABLES = {
    "audit_auditentry": "rowid = NEW.rowid",
    "audit_auditseal": "rowid = NEW.rowid OR seq = NEW.seq OR entry_id = NEW.entry_id OR prev_hash = NEW.prev_hash",
    "audit_auditcheckpoint": "rowid = NEW.rowid OR size = NEW.size",
    "audit_auditprivate": "rowid = NEW.rowid OR entry_id = NEW.entry_id",
}
# The one table whose rows may change, once: to erase them. The entry that records the erasure must name the row's entry
# by its seq, and must itself be new, that is, not sealed yet.
ERASABLE = "audit_auditprivate"
IS_ERASED = """NEW.entry_id = OLD.entry_id AND OLD.salt <> '' AND NEW.salt = '' AND NEW.content = ''
AND NEW.erasure_id IS NOT NULL"""
IS_RECORDED = """EXISTS (SELECT 1 FROM {schema}audit_auditentry told, {schema}audit_auditseal mine
WHERE told.id = {new}.erasure_id AND told.action = 'text.erased' AND mine.entry_id = {old}.entry_id AND {named}
AND NOT EXISTS (SELECT 1 FROM {schema}audit_auditseal WHERE entry_id = told.id))"""
SQLITE_IS_RECORDED = IS_RECORDED.format(
    schema="",
    new="NEW",
    old="OLD",
    named="mine.seq IN (SELECT value FROM json_each(told.detail, '$.entries') WHERE type = 'integer')",
)

POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION audit_entries_never_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries never change: % refused', TG_OP;
END $$
"""
# Tables are named with their schema, as a temporary table of the same name would take precedence.
POSTGRESQL_ERASURE = f"""
CREATE OR REPLACE FUNCTION audit_private_parts_are_erased_and_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_told boolean;
BEGIN
    EXECUTE format($told$SELECT {
    IS_RECORDED.format(
        schema="%1$I.", new="($1)", old="($2)", named="told.detail -> 'entries' @> pg_catalog.to_jsonb(mine.seq)"
    )
}$told$, TG_TABLE_SCHEMA) INTO is_told USING NEW, OLD;
    IF NOT is_told THEN
        RAISE EXCEPTION 'audit entries never change: UPDATE refused';
    END IF;
    RETURN NEW;
END $$
"""


# ruff: noqa: S608 - the only things put into these statements are the constants above
def postgresql_install(table: str) -> tuple[str, ...]:
    # One trigger for UPDATE and DELETE, or one each where UPDATE has a condition, as that may name NEW.
    name, row = "CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_or_deleted", f"ON {table} FOR EACH ROW"
    refuse = "EXECUTE FUNCTION audit_entries_never_change()"
    erasable = (
        f"{name} BEFORE DELETE {row} {refuse}",
        f"""CREATE OR REPLACE TRIGGER audit_entries_are_never_updated_otherwise
        BEFORE UPDATE {row} WHEN (NOT ({IS_ERASED})) {refuse}""",
        POSTGRESQL_ERASURE,
        f"""CREATE OR REPLACE TRIGGER audit_private_parts_are_erased_and_told
        BEFORE UPDATE {row} EXECUTE FUNCTION audit_private_parts_are_erased_and_told()""",
    )
    return (
        POSTGRESQL_FUNCTION,
        *(erasable if table == ERASABLE else (f"{name} BEFORE UPDATE OR DELETE {row} {refuse}",)),
        f"""CREATE OR REPLACE TRIGGER audit_entries_are_never_truncated
        BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_never_change()""",
    )


def postgresql_remove(table: str) -> tuple[str, ...]:
    return tuple(
        f"DROP TRIGGER IF EXISTS {name} ON {table}"
        for name in (
            "audit_entries_are_never_updated_or_deleted",
            "audit_entries_are_never_updated_otherwise",
            "audit_entries_are_never_truncated",
            "audit_private_parts_are_erased_and_told",
        )
    )


# SQLite has no TRUNCATE: DELETE without a condition fires the row trigger. INSERT OR REPLACE deletes without
# firing it unless recursive_triggers is on, hence the third trigger.
def sqlite_install(table: str) -> tuple[str, ...]:
    refuse = "BEGIN SELECT RAISE(ABORT, 'audit entries never change: {} refused'); END"
    unless = f"WHEN NOT ({IS_ERASED} AND {SQLITE_IS_RECORDED})" if table == ERASABLE else ""
    return (
        f"""CREATE TRIGGER IF NOT EXISTS {table}_is_never_updated BEFORE UPDATE ON {table}
        {unless} {refuse.format("UPDATE")}""",
        f"CREATE TRIGGER IF NOT EXISTS {table}_is_never_deleted BEFORE DELETE ON {table} {refuse.format('DELETE')}",
        f"""CREATE TRIGGER IF NOT EXISTS {table}_is_never_replaced BEFORE INSERT ON {table}
        WHEN EXISTS (SELECT 1 FROM {table} WHERE {TABLES[table]}) {refuse.format("REPLACE")}""",
    )


def sqlite_remove(table: str) -> tuple[str, ...]:
    return tuple(f"DROP TRIGGER IF EXISTS {table}_is_never_{what}" for what in ("updated", "deleted", "replaced"))


STATEMENTS = {
    "postgresql": (postgresql_install, postgresql_remove),
    "sqlite": (sqlite_install, sqlite_remove),
}


def _run(connection: BaseDatabaseWrapper, which: int) -> None:
    with connection.cursor() as cursor:
        for table in TABLES:
            for statement in STATEMENTS[connection.vendor][which](table):
                cursor.execute(statement)


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the database refuse UPDATE, DELETE and TRUNCATE of the audit log, as the migration does."""
    _run(schema_editor.connection, 0)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the triggers, for emptying a test database."""
    _run(schema_editor.connection, 1)
