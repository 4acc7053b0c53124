"""The log cannot be changed by the ORM, by SQL or in Django admin, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from moderation.audit.ledger import triggers
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditCheckpoint, AuditEntriesNeverChange, AuditEntry, AuditSeal

from .entries import record

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry() -> AuditEntry:
    return record(actor="mo", action=Action.ANSWERED, app="default", response_code=200, timestamps=[1767323045123])


@pytest.fixture(autouse=True)
def the_entry_is_unchanged_afterwards(entry: AuditEntry) -> Any:
    before = AuditEntry.objects.values().get()
    yield
    assert AuditEntry.objects.values().get(pk=entry.pk) == before


def refused_by_the_program(change: Callable[[], object]) -> None:
    with pytest.raises(AuditEntriesNeverChange), transaction.atomic():
        change()


def refused_by_the_database(sql: str, *values: object) -> None:
    with (
        # PostgreSQL checks foreign keys before triggers.
        pytest.raises(DatabaseError, match="audit entries never change|cannot truncate a table referenced"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, values)


def test_an_entry_cannot_be_saved_again(entry: AuditEntry) -> None:
    entry.actor = "somebody else"
    refused_by_the_program(entry.save)
    refused_by_the_program(lambda: entry.save(update_fields=["actor"]))
    refused_by_the_program(lambda: entry.save(force_update=True))


def test_an_entry_read_back_cannot_be_saved(entry: AuditEntry) -> None:
    again = AuditEntry.objects.get(pk=entry.pk)
    again.actor = "somebody else"
    refused_by_the_program(again.save)
    refused_by_the_program(lambda: AuditEntry.objects.update_or_create(pk=entry.pk, defaults={"actor": "x"}))


def test_an_entry_cannot_be_deleted(entry: AuditEntry) -> None:
    refused_by_the_program(entry.delete)


def test_a_queryset_refuses_to_update_and_to_delete(entry: AuditEntry) -> None:
    entries = AuditEntry.objects.filter(pk=entry.pk)
    refused_by_the_program(lambda: entries.update(actor="x"))
    refused_by_the_program(entries.delete)
    refused_by_the_program(lambda: AuditEntry.objects.bulk_update([entry], ["actor"]))
    refused_by_the_program(lambda: AuditEntry.objects.all().delete())


def test_a_second_entry_cannot_take_the_number_of_the_first(entry: AuditEntry) -> None:
    impostor = AuditEntry(id=entry.pk, at=entry.at, actor="x", action=Action.ANSWERED)
    with pytest.raises(IntegrityError), transaction.atomic():
        impostor.save()


def test_bulk_create_cannot_overwrite(entry: AuditEntry) -> None:
    impostor = AuditEntry(id=entry.pk, at=entry.at, actor="x", action=Action.ANSWERED)
    with pytest.raises(DatabaseError, match="audit entries never change"), transaction.atomic():
        AuditEntry.objects.bulk_create([impostor], update_conflicts=True, unique_fields=["id"], update_fields=["actor"])


def test_the_ways_round_the_queryset_end_at_the_database(entry: AuditEntry) -> None:
    entries = AuditEntry.objects.filter(pk=entry.pk)
    with pytest.raises(DatabaseError, match="audit entries never change"), transaction.atomic():
        entries._raw_delete(using="default")
    with pytest.raises(DatabaseError, match="audit entries never change"), transaction.atomic():
        super(type(entries), entries).update(actor="x")


def test_sql_cannot_update_or_delete(entry: AuditEntry) -> None:
    refused_by_the_database("UPDATE audit_auditentry SET actor = %s", "x")
    refused_by_the_database("UPDATE audit_auditentry SET action = %s WHERE id = %s", "x", entry.pk)
    refused_by_the_database("DELETE FROM audit_auditentry WHERE id = %s", entry.pk)
    refused_by_the_database("DELETE FROM audit_auditentry")


@pytest.mark.parametrize("statement", ["TRUNCATE audit_auditentry", "TRUNCATE audit_auditentry CASCADE"])
def test_postgresql_refuses_to_truncate(statement: str) -> None:
    if connection.vendor != "postgresql":
        statement = "DELETE FROM audit_auditentry"  # SQLite's own way to empty a table
    # References that are not checked yet would refuse it, too.
    connection.check_constraints()
    refused_by_the_database(statement)


@pytest.mark.parametrize("table", ["audit_auditseal", "audit_auditcheckpoint"])
def test_seals_and_checkpoints_cannot_be_changed_either(entry: AuditEntry, table: str) -> None:
    Sealer().seal()
    AuditCheckpoint.objects.create(size=1, root="0" * 64, head="0" * 64, frontier=[], note="", at=entry.at)
    column = "hash" if table == "audit_auditseal" else "note"
    refused_by_the_database(f"UPDATE {table} SET {column} = %s", "x")
    refused_by_the_database(f"DELETE FROM {table}")
    if connection.vendor == "postgresql":
        refused_by_the_database(f"SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE {table}")
    else:
        seal = f"(seq, entry_id, prev_hash, hash) VALUES (2, {entry.pk}, 'x', 'y')"
        checkpoint = "(size, root, head, frontier, note, at) VALUES (1, 'x', 'x', '[]', 'y', '2026-01-01')"
        values = seal if table == "audit_auditseal" else checkpoint
        refused_by_the_database(f"INSERT OR REPLACE INTO {table} {values}")
        # Its primary key is not the rowid, so the rowid of another row could be used.
        (rowid,) = connection.cursor().execute(f"SELECT rowid FROM {table}").fetchone()
        columns, _, row = values.partition(") VALUES (")
        refused_by_the_database(f"INSERT OR REPLACE INTO {table} {columns}, rowid) VALUES (9{row[1:-1]}, {rowid})")
    for model in (AuditSeal, AuditCheckpoint):
        refused_by_the_program(model.objects.get().delete)
        refused_by_the_program(model.objects.all().delete)
        refused_by_the_program(model.objects.get().save)
        refused_by_the_program(lambda model=model: model.objects.update(pk=7))


def test_an_insert_cannot_replace(entry: AuditEntry) -> None:
    columns = "id, at, actor, action, app, kind, user_a, user_b, group_id, detail"
    values = f"{entry.pk}, '2026-01-02 03:04:05+00:00', 'x', 'y', '', '', '', '', '', '{{}}'"
    if connection.vendor == "sqlite":
        refused_by_the_database(f"INSERT OR REPLACE INTO audit_auditentry ({columns}) VALUES ({values})")
        refused_by_the_database(f"REPLACE INTO audit_auditentry ({columns}) VALUES ({values})")
    refused_by_the_database(
        f"INSERT INTO audit_auditentry ({columns}) VALUES ({values}) "
        "ON CONFLICT (id) DO UPDATE SET actor = excluded.actor"
    )


def test_the_admin_refuses_every_post_even_of_an_administrator(
    client: Client, administrator: Any, entry: AuditEntry
) -> None:
    administrator.is_superuser = True
    administrator.save()
    client.force_login(administrator)
    change = {"actor": "x", "action": "y", "_save": "Save"}
    action = {"action": "delete_selected", "_selected_action": entry.pk, "index": 0, "post": "yes"}
    for name, args, data in (
        ("add", [], change),
        ("change", [entry.pk], change),
        ("delete", [entry.pk], {"post": "yes"}),
        ("changelist", [], action),
        ("history", [entry.pk], {}),
        ("export", [], {}),
    ):
        url = reverse(f"admin:audit_auditentry_{name}", args=args)
        assert client.post(url, data).status_code == 403, name


def test_the_admin_offers_no_page_to_add_delete_or_rewrite(
    client: Client, administrator: Any, entry: AuditEntry
) -> None:
    client.force_login(administrator)
    for name, args in (("add", []), ("delete", [entry.pk]), ("history", [entry.pk])):
        assert client.get(reverse(f"admin:audit_auditentry_{name}", args=args)).status_code == 403, name
    page = client.get(reverse("admin:audit_auditentry_changelist")).content.decode()
    assert "delete_selected" not in page
    assert 'name="_selected_action"' not in page


def test_the_migration_installs_the_triggers_of_today() -> None:
    migration = import_module("moderation.audit.migrations.0001_initial")
    for vendor, (install, _remove) in triggers.STATEMENTS.items():
        today = {" ".join(statement.split()) for table in triggers.TABLES for statement in install(table)}
        assert {" ".join(statement.split()) for statement in migration.INSTALL[vendor]} == today
